"""Surface B from the description of a site to who was where, as an operator's client calls it."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest_asyncio
from websockets.asyncio.client import connect

from kinemesh.media import build_index
from kinemesh.testing.rest import Rest

FRAMES = 90
OUTPUTS = {
    "c09.mp4",
    "c12.mp4",
    "heatmap.png",
    "identities.json",
    "mosaic.mp4",
    "sightings.parquet",
    "trajectories.csv",
    "trajectories.geojson",
    "trajectories.parquet",
    "zones.csv",
    "zones.json",
}


def square(left: float, top: float) -> dict[str, Any]:
    """A picture of 640 × 480 whose pixels are centimetres of the floor, from a corner on."""
    corners = [(0, 0), (640, 0), (640, 480), (0, 480)]
    pairs = [{"image": {"x": x, "y": y}, "map": {"x": left + x / 100, "y": top + y / 100}} for x, y in corners]
    return {"points": {"pairs": pairs}}


async def call(rest: Rest, method: str, path: str, **how: Any) -> dict[str, Any]:
    answer = await rest.call(method, path, **how)
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def messages(rest: Rest, path: str) -> list[dict[str, Any]]:
    """All that a socket says up to its end."""
    address = rest.url.replace("http", "ws", 1) + path
    async with connect(address, additional_headers={"X-Kinemesh-Owner": rest.owner}, max_size=None) as socket:
        return [json.loads(message) async for message in socket]


@pytest_asyncio.fixture(loop_scope="session")
async def site(rest: Rest, person_clip: bytes) -> str:
    """Two cameras that look at one floor; the second sees the same through a homography that a file brings."""
    asset_id = await rest.upload(person_clip)
    first = {"camera": "c09", "sub_videos": [{"asset_id": asset_id}], "homography": {"source": square(0, 0)}}
    second = {"camera": "c12", "sub_videos": [{"asset_id": asset_id, "start_sec": 0.1}]}
    # Down to where the feet would be: pictures end at the waist.
    corners = [{"x": 1, "y": 1}, {"x": 5, "y": 1}, {"x": 5, "y": 15}, {"x": 1, "y": 15}]
    described = {"cameras": [first, second], "zones": [{"zone": "middle", "map": {"corners": corners}}]}
    environment = await call(rest, "POST", "/api/v1/environments", json=described)
    environment_id: str = environment["environment_id"]
    points = io.BytesIO()
    image = np.array([[0.0, 0], [640, 0], [640, 480], [0, 480]])
    np.savez(points, image_points=image, map_points=image / 100)
    files = {"file": ("homography_points_c12_scene_s10.npz", points.getvalue())}
    given = await call(rest, "POST", f"/api/v1/environments/{environment_id}/homographies", files=files)
    assert given["camera"] == "c12"
    assert given["homography"]["quality"]["rms_error_map"] < 1e-6
    return environment_id


async def test_a_person_whom_two_cameras_see_is_one(rest: Rest, site: str, tmp_path: Path) -> None:
    started = await call(rest, "POST", "/api/v1/processing-tasks/start", json={"environment_id": site, "render": True})
    task = started["task_id"]
    assert started["status_url"] == f"/api/v1/processing-tasks/{task}/status"
    assert started["websocket_url"] == f"/ws/tracking/{task}"
    live = await messages(rest, started["websocket_url"])
    status = await call(rest, "GET", started["status_url"])
    assert (status["status"], status["progress"]) == ("COMPLETED", 1), status

    assert {message["type"] for message in live} == {"status_update", "tracking_update"}
    assert live[-1]["type"] == "status_update"
    assert live[-1]["payload"]["status"] == "COMPLETED"
    steps = [message["payload"] for message in live if message["type"] == "tracking_update"]
    assert [step["global_frame_index"] for step in steps] == list(range(FRAMES + 3))
    middle = steps[50]
    assert middle.keys() == {"frame_index", "global_frame_index", "scene_id", "timestamp_processed_utc", "cameras"}
    assert middle["scene_id"] == site
    assert {name: seen["image_source"] for name, seen in middle["cameras"].items()} == {
        "c09": "000050.jpg",
        "c12": "000047.jpg",
    }
    (track,) = middle["cameras"]["c09"]["tracks"]
    assert track.keys() == {"track_id", "global_id", "bbox_xyxy", "confidence", "class_id", "map_coords"}
    assert {t["global_id"] for seen in middle["cameras"].values() for t in seen["tracks"]} == {track["global_id"]}

    again = await messages(rest, started["websocket_url"])
    assert [m["payload"] for m in again if m["type"] == "tracking_update"] == steps
    rest_of_it = await messages(rest, f"{started['websocket_url']}?since_frame=40")
    assert [m["payload"] for m in rest_of_it if m["type"] == "tracking_update"] == steps[40:]

    job = await rest.job(task)
    assert {output["name"] for output in job["outputs"]} >= OUTPUTS
    sightings = pq.read_table(io.BytesIO(await rest.output(task, "sightings.parquet")))
    assert set(sightings["global_id"].to_pylist()) == {track["global_id"]}
    assert set(sightings["camera"].to_pylist()) == {"c09", "c12"}
    paths = pq.read_table(io.BytesIO(await rest.output(task, "trajectories.parquet")))
    assert 1 < np.mean(paths["x"].to_numpy()) < 5
    for name in ("c09.mp4", "mosaic.mp4"):
        path = await rest.save(task, name, tmp_path)
        assert (await asyncio.to_thread(build_index, path)).frame_count > 20

    asked = {"environment_id": site, "zones": ["middle"], "cameras": ["c12"]}
    found = await call(rest, "POST", "/api/v1/tracks/query", json=asked)
    assert found["total"] == 1
    (presence,) = found["presences"]
    assert (presence["global_id"], presence["zone"]) == (track["global_id"], "middle")


async def test_the_same_site_gives_the_same_paths(rest: Rest, site: str) -> None:
    """Jobs that run at once take the processor from one another, so that segments finish in other orders."""
    tables = []
    for together in (1, 2):
        started = [
            await call(rest, "POST", "/api/v1/processing-tasks/start", json={"environment_id": site})
            for _ in range(together)
        ]
        for task in started:
            job = await rest.ended(task["task_id"])
            assert job["state"] == "SUCCEEDED", job["failure"]
            table = pq.read_table(io.BytesIO(await rest.output(task["task_id"], "trajectories.parquet")))
            tables.append(table.drop_columns(["global_id"]))
    assert tables[0].num_rows > FRAMES
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
