"""Reference images, with the real object store."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from kinemesh import errors
from kinemesh.storage import ObjectStore, keys
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh_matcher import features_parquet, references
from kinemesh_matcher.domain.features import Features, detect, grey_of
from kinemesh_matcher.references import References

from . import walls

SIZE = (320, 240)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many features were asked for, each time that any were computed."""
    asked: list[int] = []

    def counted(grey: walls.Grey, most: int, *more: Any) -> Features:
        asked.append(most)
        return detect(grey, most, *more)

    monkeypatch.setattr(references, "detect", counted)
    return asked


async def put(store: ObjectStore, name: str, seed: int = 1) -> walls.Grey:
    picture = walls.wall(seed, SIZE)
    await store.put_bytes(keys.asset_source(name), walls.png(picture))
    return grey_of(picture)


async def test_features_are_computed_once_and_kept_in_the_store(s3_store: ObjectStore, computed: list[int]) -> None:
    grey = await put(s3_store, "ref-once")
    first = await References(s3_store, IN_PROCESS, 10**6, 4).stored("ref-once")
    assert (first.width, first.height) == SIZE
    assert len(computed) == 1
    kept = await s3_store.get_bytes(keys.asset_features("ref-once"))
    assert kept == features_parquet.to_bytes(detect(grey))

    second = await References(s3_store, IN_PROCESS, 10**6, 4).stored("ref-once")
    assert len(computed) == 1
    for name in ("points", "size", "looks"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    assert await s3_store.get_bytes(keys.asset_features("ref-once")) == kept


async def test_what_the_store_has_is_what_is_used(s3_store: ObjectStore) -> None:
    grey = await put(s3_store, "ref-stored")
    few = detect(grey, 17)
    await s3_store.put_bytes(keys.asset_features("ref-stored"), features_parquet.to_bytes(few))
    side = await References(s3_store, IN_PROCESS, 10**6, 4).stored("ref-stored")
    np.testing.assert_array_equal(side.points, few.points)


async def test_who_asks_at_the_same_time_waits_for_the_first(s3_store: ObjectStore, computed: list[int]) -> None:
    await put(s3_store, "ref-rush")
    await put(s3_store, "ref-other", 2)
    held = References(s3_store, IN_PROCESS, 10**6, 4)
    names = ["ref-rush", "ref-other"] * 6
    sides = await asyncio.gather(*(held.stored(name) for name in names))
    assert len(computed) == 2
    assert len({id(side) for side in sides}) == 2
    given = walls.png(walls.wall(3, SIZE))
    await asyncio.gather(*(held.given(given, 500) for _ in range(5)))
    assert computed[2:] == [500]


async def test_one_that_fails_does_not_stand_in_the_way(s3_store: ObjectStore) -> None:
    held = References(s3_store, IN_PROCESS, 10**6, 4)
    with pytest.raises(errors.NotFound):
        await held.stored("ref-late")
    await put(s3_store, "ref-late")
    assert len((await held.stored("ref-late")).points) > 50


async def test_so_many_are_kept_and_the_longest_unused_goes_first(s3_store: ObjectStore, computed: list[int]) -> None:
    held = References(s3_store, IN_PROCESS, 10**6, 2)
    pictures = [walls.png(walls.wall(seed, SIZE)) for seed in range(3)]
    one, two, _ = [await held.given(picture, 300) for picture in (pictures[0], pictures[1], pictures[0])]
    assert len(computed) == 2
    await held.given(pictures[2], 300)
    assert await held.given(pictures[0], 300) is one
    assert len(computed) == 3
    assert await held.given(pictures[1], 300) is not two
    assert len(computed) == 4


async def test_another_number_of_features_is_another_reference(s3_store: ObjectStore) -> None:
    held = References(s3_store, IN_PROCESS, 10**6, 4)
    picture = walls.png(walls.wall(1, SIZE))
    assert [len((await held.given(picture, most)).points) for most in (100, 200, 100)] == [100, 200, 100]


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"no picture", errors.UnsupportedMedia, "NOT_A_PICTURE"),
        (walls.png(walls.wall(1, SIZE))[:40], errors.UnsupportedMedia, "CORRUPT_PICTURE"),
        (walls.png(walls.wall(1, (1200, 900))), errors.TooLarge, "TOO_MANY_PIXELS"),
    ],
)
async def test_what_is_no_reference_is_refused(
    s3_store: ObjectStore, data: bytes, kind: type[errors.KinemeshError], reason: str
) -> None:
    name = f"ref-bad-{reason.lower().replace('_', '-')}"
    await s3_store.put_bytes(keys.asset_source(name), data)
    held = References(s3_store, IN_PROCESS, 10**6, 4)
    for asked in (held.stored(name), held.given(data, 500)):
        with pytest.raises(kind) as refused:
            await asked
        assert refused.value.reason == reason
    with pytest.raises(errors.NotFound):
        await s3_store.stat(keys.asset_features(name))


async def test_nothing_is_no_picture_and_nobody_is_not_found(s3_store: ObjectStore) -> None:
    held = References(s3_store, IN_PROCESS, 10**6, 4)
    with pytest.raises(errors.InvalidArgument) as refused:
        await held.given(b"", 500)
    assert refused.value.reason == "EMPTY_PICTURE"
    with pytest.raises(errors.NotFound) as missing:
        await held.stored("ref-nobody")
    assert missing.value.reason == "OBJECT_NOT_FOUND"


async def test_a_reference_without_features_is_kept_as_such(s3_store: ObjectStore, computed: list[int]) -> None:
    await s3_store.put_bytes(keys.asset_source("ref-even"), walls.png(np.full((90, 120, 3), 80, np.uint8)))
    for _ in range(2):
        side = await References(s3_store, IN_PROCESS, 10**6, 4).stored("ref-even")
        assert side.points.shape == (0, 2)
        assert side.looks.shape == (0, 128)
    assert len(computed) == 1
