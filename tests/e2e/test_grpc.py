"""Every service can be explored and called by reflection, as grpcurl and `buf curl` do."""

from __future__ import annotations

import asyncio
import base64
import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2

from kinemesh.embedded.mesh import Mesh

BUF = str(Path(sysconfig.get_path("scripts")) / "buf")
SIZES = {"image_width": 480, "image_height": 640, "reference_width": 1080, "reference_height": 1440}
HORIZON = [1, 0, 0, 0, 1, 0, -1 / 240, 0, 1]
HEALTH = "grpc.health.v1.Health"
SERVED = {
    "detect_track": {"kinemesh.detect_track.v1.DetectTrackService"},
    "gateway": set(),
    "ingest": {
        "kinemesh.asset.v1.AssetService",
        "kinemesh.environment.v1.EnvironmentService",
        "kinemesh.job.v1.JobService",
        "kinemesh.model.v1.ModelService",
        "kinemesh.route.v1.RouteService",
        "kinemesh.session.v1.SessionService",
    },
    "matcher": {"kinemesh.matcher.v1.MatcherService"},
    "pose": {"kinemesh.pose.v1.PoseService"},
    "render": {"kinemesh.render.v1.RenderService"},
}


async def buf_curl(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def reason(answer: str) -> str:
    """The reason in the ErrorInfo, which buf prints as base64."""
    value = json.loads(answer)["details"][0]["value"]
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))
    return str(info.reason)


@pytest.mark.parametrize("service", SERVED)
async def test_reflection_lists_and_health_answers(service: str, mesh: Mesh) -> None:
    url = f"http://127.0.0.1:{mesh.ports.grpc[service]}"
    code, listed = await buf_curl("--list-services", url)
    assert code == 0, listed
    assert {*SERVED[service], HEALTH} <= set(listed.split())
    code, health = await buf_curl("--data", "{}", f"{url}/{HEALTH}/Check")
    assert (code, json.loads(health)) == (0, {"status": "SERVING"})


async def test_calls_by_reflection(mesh: Mesh) -> None:
    url = f"http://127.0.0.1:{mesh.ports.grpc['ingest']}"
    code, answer = await buf_curl("--data", "{}", f"{url}/kinemesh.job.v1.JobService/ListPipelines")
    assert code == 0, answer
    named = [pipeline["pipeline"] for pipeline in json.loads(answer)["pipelines"]]
    assert named == ["pose", "pitstop", "instructor", "multi_camera", "route_match"]
    code, answer = await buf_curl("--data", "{}", f"{url}/kinemesh.model.v1.ModelService/ListModels")
    assert {model["model"] for model in json.loads(answer)["models"]} >= {"pose_detector", "pose_landmarks"}
    code, answer = await buf_curl("--data", '{"job_id": "nope"}', f"{url}/kinemesh.job.v1.JobService/GetJob")
    assert code != 0
    assert reason(answer) == "JOB_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "request_", "why"),
    [
        ("Match", {}, "MISSING_FIELD"),
        ("Match", {"reference": {"reference_id": "nope"}}, "REFERENCE_NOT_FOUND"),
        ("Match", {"reference": {"reference_id": "a\0"}}, "INVALID_TEXT"),
        ("Match", {"reference": {"reference_id": "wall-vertical"}, "options": {"model": 9}}, "UNKNOWN_VALUE"),
        ("TransferPose", {}, "MISSING_FIELD"),
        ("TransferPose", {"poses": [{}], "known": {}}, "INVALID_POSE"),
        ("TransferPose", {"known": {**SIZES, "image_to_reference": {"values": [0] * 9}}}, "MATRIX_SINGULAR"),
        ("TransferPose", {"known": {**SIZES, "image_to_reference": {"values": HORIZON}}}, "POINTS_INCONSISTENT"),
    ],
)
async def test_nonsense_about_pictures_of_walls_is_refused(
    method: str, request_: dict[str, Any], why: str, mesh: Mesh
) -> None:
    url = f"http://127.0.0.1:{mesh.ports.grpc['matcher']}"
    code, answer = await buf_curl("--data", json.dumps(request_), f"{url}/kinemesh.matcher.v1.MatcherService/{method}")
    assert code != 0
    assert reason(answer) == why


@pytest.mark.parametrize(
    ("method", "request_", "why"),
    [
        ("QueryTracks", '{"environment_id": "nowhere"}', "ENVIRONMENT_NOT_FOUND"),
        ("QueryTracks", "{}", "SITE_OR_JOBS_NEEDED"),
        ("WatchTracking", '{"job_id": "nope"}', "JOB_NOT_FOUND"),
    ],
)
async def test_sites_are_asked_by_reflection(method: str, request_: str, why: str, mesh: Mesh) -> None:
    url = f"http://127.0.0.1:{mesh.ports.grpc['detect_track']}"
    code, answer = await buf_curl("--data", request_, f"{url}/kinemesh.detect_track.v1.DetectTrackService/{method}")
    assert code != 0
    assert reason(answer) == why
