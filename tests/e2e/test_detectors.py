"""Real detectors on real footage: fetched by the manifest, or brought as a user's own weights."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until

pytestmark = pytest.mark.data

# Counted by eye in supervision_crowd_walking.mp4: people of whom more than a foot is in the picture, by frame, and how
# many there are in all.
CROWD = {0: 45, 170: 37, 340: 39}
CROWD_IN_ALL = 75
COCO = 80
EMBEDDED, ADDED = "person_detector", "rtmdet_nano_person"


async def model_ready(rest: Rest, name: str) -> dict[str, Any]:
    model: dict[str, Any] = {}

    async def has_settled() -> bool:
        nonlocal model
        model = (await rest.call("GET", f"/api/v1/models/{name}")).json()
        return bool(model["state"] != "IMPORTING")

    await until(has_settled, within_s=300)
    return model


async def add(rest: Rest, name: str) -> None:
    """Have a detector of the manifest served, if it is not yet."""
    answer = await rest.call("POST", "/api/v1/models/add", json={"model": name})
    assert answer.status_code in (202, 409), answer.text
    model = await model_ready(rest, name)
    assert model["state"] == "READY", model


async def tracks(rest: Rest, clip: Path, model: str, **parameters: Any) -> Any:
    """The table of tracks that the instructor job leaves."""
    if model != EMBEDDED:
        await add(rest, model)
    job = await rest.run(await asyncio.to_thread(clip.read_bytes), "instructor", model=model, **parameters)
    return pq.read_table(io.BytesIO(await rest.output(job["job_id"], "tracks.parquet")))


def people(table: Any) -> int:
    """How many a table of tracks tells apart."""
    return len(set(table["track_id"].to_pylist()))


@pytest.mark.parametrize("model", [EMBEDDED, ADDED])
async def test_who_comes_one_by_one_is_counted(rest: Rest, media_data: Path, model: str) -> None:
    table = await tracks(rest, media_data / "intel_one-by-one-person.mp4", model)
    assert people(table) == 6


@pytest.mark.parametrize(("model", "off"), [(EMBEDDED, 0.15), (ADDED, 0.1)])
async def test_a_crowd_is_counted(rest: Rest, media_data: Path, model: str, off: float) -> None:
    clip = media_data / "supervision_crowd_walking.mp4"
    table = await tracks(rest, clip, model, input_size=832)
    counts = np.bincount(table["frame_index"].to_numpy(), minlength=341)
    seen, there = sum(int(counts[frame]) for frame in CROWD), sum(CROWD.values())
    assert abs(seen - there) <= off * there
    assert abs(people(table) - CROWD_IN_ALL) <= off * CROWD_IN_ALL


async def test_the_embedded_detector_counts_as_many_as_the_added_one(rest: Rest, media_data: Path) -> None:
    """Each at the size that it has when nobody asks for another."""
    clip = media_data / "supervision_crowd_walking.mp4"
    ours, theirs = [people(await tracks(rest, clip, model)) for model in (EMBEDDED, ADDED)]
    assert abs(ours - theirs) <= 0.15 * theirs


async def test_a_users_own_weights_serve_a_pit_stop(rest: Rest, media_data: Path) -> None:
    weights = await asyncio.to_thread((media_data.parent / "models" / "yolox_nano_416x416.onnx").read_bytes)
    asset_id = await rest.upload(weights, "best.onnx", kind="WEIGHTS")
    wanted = {"asset_id": asset_id, "model": "own_yolox"}
    assert (await rest.call("POST", "/api/v1/models/import", json=wanted)).status_code == 202
    refused = await model_ready(rest, "own_yolox")
    assert (refused["state"], refused["failure"]["reason"]) == ("REJECTED", "LABELS_NEEDED")

    labels = ["person", "bicycle", "car", *(f"thing {number}" for number in range(3, COCO))]
    again = await rest.call("POST", "/api/v1/models/import", json={**wanted, "labels": labels})
    assert again.status_code == 202, again.text
    assert (await model_ready(rest, "own_yolox"))["state"] == "READY"

    clip = await asyncio.to_thread((media_data / "sports2d_demo.mp4").read_bytes)
    job = await rest.run(clip, "pitstop", model="own_yolox")
    assert job["summary"]["classes"]["person"] >= 2
    assert (await rest.call("DELETE", "/api/v1/models/own_yolox")).status_code == 204
    assert (await rest.call("GET", "/api/v1/models/own_yolox")).status_code == 404
