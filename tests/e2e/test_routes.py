"""Surface E from a catalogue and a hand-held clip to climbers on the picture of the wall, as a climber's client calls
it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh.embedded.mesh import Mesh
from kinemesh.media import build_index, plays_in_browsers
from kinemesh.media.picture import decode_picture, encode_picture
from kinemesh.nv12 import Image
from kinemesh.results.poses import rows_from_parquet
from kinemesh.testing.climbs import RATE, camera, climb, write_climb
from kinemesh.testing.rest import Rest

FRAMES = 90
SIZE = (480, 640)
HIDDEN = {*range(34, 40), *range(61, 66)}
OUTPUTS = {
    "annotated.mp4",
    "contact_sheet.jpg",
    "landmarks.json",
    "landmarks.parquet",
    "match.json",
    "matches.parquet",
    "metrics.json",
}
NEAR = 0.005  # of the reference's width
Floats = NDArray[np.float64]


async def call(rest: Rest, method: str, path: str, **how: Any) -> dict[str, Any]:
    answer = await rest.call(method, path, **how)
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def matched(rest: Rest, **asked: Any) -> dict[str, Any]:
    """The ended job of a call of /api/v1/match."""
    started = await call(rest, "POST", "/api/v1/match", json=asked)
    assert started["status"] == "queued"
    return await rest.ended(started["job_id"])


async def table(rest: Rest, job_id: str, name: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pq.read_table(io.BytesIO(await rest.output(job_id, name))).to_pydict()
    return columns


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def climber(mesh: Mesh) -> AsyncIterator[Rest]:
    async with httpx.AsyncClient(timeout=60) as http:
        yield Rest(http, mesh.http_url, owner="climber")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def attempts(climber: Rest, climb_clip: bytes) -> list[str]:
    """Two attempts at a route that has a reference image."""
    area = await call(climber, "POST", "/api/v1/routes/areas", json={"display_name": "Hall"})
    described = {
        "area_id": area["area_id"],
        "display_name": "Left arête",
        "grade": "6b+",
        "reference_id": "wall-vertical",
    }
    route = await call(climber, "POST", "/api/v1/routes", json=described)
    made = []
    for name in ("Monday", "Friday"):
        asset_id = await climber.upload(climb_clip, f"{name}.mp4")
        body = {"asset_id": asset_id, "display_name": name, "attempt_time": "2026-03-02T18:00:00Z"}
        attempt = await call(climber, "POST", f"/api/v1/routes/{route['route_id']}/attempts", json=body)
        assert (attempt["has_poses"], attempt["metrics"]) == (False, None)
        made.append(attempt["attempt_id"])
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def compared(climber: Rest, attempts: list[str]) -> dict[str, Any]:
    job = await matched(climber, attempt_ids=attempts, mode="multi", alignment="path", style={"trail": 2})
    assert job["state"] == "SUCCEEDED", job["failure"]
    return job


def true_transform(frame: int, wall: Image) -> Floats:
    """From pixels of a frame of the clip to pixels of the wall's picture."""
    height, width = wall.shape[:2]
    return np.asarray(np.linalg.inv(camera(frame / RATE, (width, height), SIZE)), np.float64)


def through(matrix: Floats, points: Floats) -> Floats:
    return np.asarray(cv2.perspectiveTransform(points[None].astype(np.float64), matrix)[0], np.float64)


async def test_every_frame_lies_where_the_camera_was(climber: Rest, compared: dict[str, Any], wall: Image) -> None:
    found = await table(climber, compared["job_id"], "matches.parquet")
    grid = np.array([(x * SIZE[0], y * SIZE[1]) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)])
    for row, frame in enumerate(found["frame_index"]):
        matrix = np.array([found[f"h{i}{j}"][row] for i in range(3) for j in range(3)], np.float64).reshape(3, 3)
        away = np.linalg.norm(through(matrix, grid) - through(true_transform(frame, wall), grid), axis=1)
        assert away.max() < NEAR * wall.shape[1], (frame, away.max())
    filled = {
        (attempt, frame)
        for attempt, frame, source in zip(found["attempt"], found["frame_index"], found["source"], strict=True)
        if source == "interpolated"
    }
    assert filled == {(attempt, frame) for attempt in (1, 2) for frame in HIDDEN}
    quality = await call(climber, "GET", f"/api/v1/match/{compared['job_id']}/result")
    assert [each["interpolated_frames"] for each in quality["quality"]] == [len(HIDDEN)] * 2
    page = await call(climber, "GET", f"/api/v1/match/{compared['job_id']}/frames?offset=30&limit=10")
    assert page["total"] == 2 * FRAMES
    assert [each["frame_index"] for each in page["frames"]] == list(range(30, 40))


async def test_the_climber_comes_back_where_they_are(
    climber: Rest, attempts: list[str], compared: dict[str, Any], wall: Image
) -> None:
    """The poses that are kept with the attempt, put through what the camera did, are those on the reference."""
    answer = await climber.call("GET", f"/api/v1/routes/attempts/{attempts[0]}/poses")
    poses = rows_from_parquet(answer.raise_for_status().content)
    landmarks = await table(climber, compared["job_id"], "landmarks.parquet")
    height, width = wall.shape[:2]
    rows = np.array([landmarks[name] for name in ("frame_index", "person_id", "x", "y")], np.float64).T
    first = rows[rows[:, 1] == 1]
    assert np.array_equal(np.unique(first[:, 0]), np.arange(FRAMES))
    errors = []
    for frame, image in zip(poses.frame_index, poses.image, strict=True):
        truth = through(true_transform(int(frame), wall), image[:, :2] * SIZE)
        here = first[first[:, 0] == frame][:, 2:] * (width, height)
        errors.append(np.linalg.norm(here - truth, axis=1))
    assert len(errors) > FRAMES - len(HIDDEN) - 5
    assert np.concatenate(errors).max() < NEAR * width


async def test_a_comparison_leaves_a_video_figures_and_data(
    climber: Rest, attempts: list[str], compared: dict[str, Any], tmp_path: Path
) -> None:
    job_id = compared["job_id"]
    assert {output["name"] for output in compared["outputs"]} == OUTPUTS
    video = await climber.save(job_id, "annotated.mp4", tmp_path)
    index = await asyncio.to_thread(build_index, video)
    assert (index.frame_count, index.width, index.height) == (FRAMES, 1080, 1440)
    assert await asyncio.to_thread(plays_in_browsers, video, index)
    sheet = decode_picture(await climber.output(job_id, "contact_sheet.jpg"), max_pixels=10_000_000)
    assert sheet.std() > 10

    route_id = (await call(climber, "GET", f"/api/v1/routes/attempts/{attempts[0]}"))["route_id"]
    told = await call(
        climber, "GET", f"/api/v1/routes/{route_id}/compare", params=[("attempt_id", each) for each in attempts]
    )
    rows = {row["metric"]: row["values"] for row in told["rows"]}
    assert rows["path_length"][0] == pytest.approx(rows["path_length"][1])
    assert 0.1 < rows["path_length"][0] < 0.35  # of the wall's height; the climber rises by 0.24
    assert rows["straightness"][0] > 0.6
    recent = await call(climber, "GET", "/api/v1/routes/attempts/recent")
    assert {each["attempt_id"] for each in recent["attempts"]} == set(attempts)
    for attempt_id in attempts:
        attempt = await call(climber, "GET", f"/api/v1/routes/attempts/{attempt_id}")
        assert (attempt["job_id"], attempt["has_poses"], attempt["has_features"]) == (job_id, True, True)
        features = await climber.call("GET", f"/api/v1/routes/attempts/{attempt_id}/features")
        assert pq.read_metadata(io.BytesIO(features.content)).num_rows > 100
    assert (await call(climber, "GET", "/api/v1/routes/references/wall-vertical"))["features"] > 1000


async def test_what_is_not_theirs_is_not_there(rest: Rest, attempts: list[str], compared: dict[str, Any]) -> None:
    for path in (f"/api/v1/routes/attempts/{attempts[0]}", f"/api/v1/match/{compared['job_id']}"):
        assert (await rest.call("GET", path)).status_code == 404
    started = await rest.call("POST", "/api/v1/match", json={"attempt_id": attempts[0], "mode": "multi"})
    assert (started.status_code, started.json()["error"]["reason"]) == (404, "ATTEMPT_NOT_FOUND")


async def test_another_wall_cannot_be_matched(climber: Rest, climb_clip: bytes) -> None:
    asset_id = await climber.upload(climb_clip)
    for mode in ("single", "multi"):
        job = await matched(climber, asset_id=asset_id, reference="wall-competition", mode=mode)
        assert (job["state"], job["failure"]["reason"]) == ("FAILED", "NOT_ENOUGH_MATCHES")
        assert job["outputs"] == []
        counts = job["failure"]["metadata"]
        assert int(counts["matched_frames"]) == 0
        assert int(counts["best_inliers"]) < 16
        answer = await climber.call("GET", f"/api/v1/match/{job['job_id']}/result")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "NOT_ENOUGH_MATCHES")


async def test_one_transform_is_enough_for_a_camera_that_stands(
    climber: Rest, wall: Image, person_photo: Image, tmp_path: Path
) -> None:
    clip = tmp_path / "still.mp4"
    frames = climb(wall, person_photo, 60, SIZE, still=True)
    await asyncio.to_thread(write_climb, clip, frames, SIZE)
    asset_id = await climber.upload(clip.read_bytes())
    job = await matched(
        climber, asset_id=asset_id, reference="wall-vertical", mode="single", model="homography", fps=15
    )
    assert job["state"] == "SUCCEEDED", job["failure"]
    (attempt,) = job["summary"]["attempts"]
    assert attempt["verdict"] == "MATCHED"
    found = await table(climber, job["job_id"], "matches.parquet")
    matrices = np.array([found[f"h{i}{j}"] for i in range(3) for j in range(3)])
    assert np.ptp(matrices, axis=1).max() == 0
    corners = np.array([(0.0, 0.0), (SIZE[0], 0), SIZE, (0, SIZE[1])])
    away = through(matrices[:, 0].reshape(3, 3), corners) - through(true_transform(0, wall), corners)
    assert np.linalg.norm(away, axis=1).max() < NEAR * wall.shape[1]
    video = await climber.save(job["job_id"], "annotated.mp4", tmp_path)
    index = await asyncio.to_thread(build_index, video)
    assert index.frame_count == 30
    assert float(index.frame_rate) == pytest.approx(15)


@pytest.mark.data
async def test_a_person_on_real_pictures_comes_back(climber: Rest, media_data: Path, tmp_path: Path) -> None:
    """A picture of graffiti as the wall, and somebody photographed outdoors on it."""
    wall = decode_picture((media_data.parent / "geometry/matching/grafA.png").read_bytes(), 4_000_000)
    person = decode_picture((media_data / "stills/person_image.jpg").read_bytes(), 4_000_000)[140:390, 245:385]
    upload = {"file": ("graf.png", encode_picture(wall, ".png", 100), "image/png")}
    reference = await call(
        climber, "POST", "/api/v1/routes/references", files=upload, data={"display_name": "Graffiti"}
    )
    clip, size = tmp_path / "graf.mp4", (800, 640)
    frames = climb(wall, np.ascontiguousarray(person), FRAMES, size, blurred=range(34, 40), occluded=range(61, 66))
    await asyncio.to_thread(write_climb, clip, frames, size)
    asset_id = await climber.upload(clip.read_bytes())
    job = await matched(climber, asset_id=asset_id, image_id=reference["image_id"], mode="multi")
    assert job["state"] == "SUCCEEDED", job["failure"]
    found = await table(climber, job["job_id"], "matches.parquet")
    shown = zip(found["frame_index"], found["source"], strict=True)
    assert {frame for frame, source in shown if source == "interpolated"} == HIDDEN
    grid = np.array([(x * size[0], y * size[1]) for x in (0.2, 0.5, 0.8) for y in (0.2, 0.5, 0.8)])
    for row, frame in enumerate(found["frame_index"]):
        matrix = np.array([found[f"h{i}{j}"][row] for i in range(3) for j in range(3)], np.float64).reshape(3, 3)
        truth = np.linalg.inv(camera(frame / RATE, (wall.shape[1], wall.shape[0]), size))
        away = np.linalg.norm(through(matrix, grid) - through(np.asarray(truth), grid), axis=1)
        assert away.max() < NEAR * wall.shape[1], (frame, away.max())
    landmarks = await table(climber, job["job_id"], "landmarks.parquet")
    assert len(set(landmarks["frame_index"])) > FRAMES // 2
