from __future__ import annotations

import pytest

from kinemesh.errors import InvalidArgument
from kinemesh.storage import keys


def test_layout() -> None:
    assert keys.asset_source("a1") == "assets/a1/source"
    assert keys.asset_index("a1") == "assets/a1/index"
    assert keys.stage_result("j1", "pose", "main", 7) == "jobs/j1/pose/main/000007.parquet"
    assert keys.stage_result("j1", "render", "c09", "all", "mp4") == "jobs/j1/render/c09/all.mp4"
    assert keys.output("j1", "video.mp4") == "jobs/j1/output/video.mp4"


def test_listing_order_is_segment_order() -> None:
    results = [keys.stage_result("j", "pose", "c", segment) for segment in (0, 2, 9, 10, 99, 100, 12345)]
    assert sorted(results) == results


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "a\n", "ä", "a" * 129, "%2e"])
def test_no_id_reaches_out_of_its_folder(bad: str) -> None:
    for build in (
        keys.asset_source,
        keys.job_prefix,
        lambda value: keys.stage_result("j", value, "c", 0),
        lambda value: keys.stage_result("j", "s", value, 0),
        lambda value: keys.stage_result("j", "s", "c", value),
        lambda value: keys.output("j", value),
    ):
        with pytest.raises(InvalidArgument) as caught:
            build(bad)
        assert caught.value.reason == "INVALID_ID"
