"""What a job can be asked for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kinemesh.media import build_index
from kinemesh.testing.rest import Rest


async def test_style_smoothing_and_blurring(rest: Rest, person_clip: bytes, tmp_path: Path) -> None:
    style = {"side_by_side": True, "trail_sec": 1.0, "colors": ["#ff0000"], "hide_labels": True}
    job = await rest.run(person_clip, smooth=True, blur_faces=True, style=style, max_persons=1)
    video = build_index(await rest.save(job["job_id"], "annotated.mp4", tmp_path))
    assert (video.width, video.height, video.frame_count) == (1280, 480, 90)
    table = pq.read_table(io.BytesIO(await rest.output(job["job_id"], "landmarks.parquet")))
    assert {"smooth_x", "smooth_y", "smooth_z"} <= set(table.column_names)
    document = json.loads(await rest.output(job["job_id"], "landmarks.json"))
    seen = [frame for frame in document["frames"] if frame["persons"]]
    assert len(seen) > 80
    assert table.num_rows == 33 * sum(len(frame["persons"]) for frame in seen)
    metrics = json.loads(await rest.output(job["job_id"], "metrics.json"))
    assert [person["person_id"] for person in metrics["persons"]] == job["summary"]["persons"] == [1]


@pytest.mark.parametrize("subject", [{"subject": "MAIN"}, {"subject": "AT_POINT", "x": 0.5, "y": 0.6}])
async def test_the_subject_is_who_was_asked_for(rest: Rest, person_clip: bytes, subject: dict[str, Any]) -> None:
    parameters: dict[str, Any] = {"subject": subject["subject"]}
    if "x" in subject:
        parameters["subject_point"] = {"time_sec": 1.0, "point": {"x": subject["x"], "y": subject["y"]}}
    job = await rest.run(person_clip, **parameters)
    assert job["summary"]["persons"] == [1]
