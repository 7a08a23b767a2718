"""What callers may send, at a real mesh: every call is answered, and every refusal has a reason."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import trustme
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from kinemesh.access.tls import Tls
from kinemesh.detect_track.v1 import detect_track_pb2, detect_track_pb2_grpc
from kinemesh.embedded.environment import SERVICES
from kinemesh.embedded.grpc_checks import grpc_serving
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.matcher.v1 import matcher_pb2, matcher_pb2_grpc
from kinemesh.media.synthetic import write_clip
from kinemesh.serving.channel import open_channel
from kinemesh.serving.status import from_rpc_error
from kinemesh.testing.certificates import certificate
from kinemesh_client import KinemeshClient

from .conftest import CALLERS, Effort, Guarded
from .messages import random_message

DOCUMENT = Path(__file__).parents[1] / "contract" / "openapi.json"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance",
)  # fmt: skip
DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
DEADLINE_S = 60
ANSWERS = 3
SITE = detect_track_pb2.QueryTracksRequest(environment_id="nowhere")
PICTURES = matcher_pb2.MatchRequest(reference=matcher_pb2.Reference(reference_id="nowhere"))
Metadata = list[tuple[str, str]]
WATCHED_S = 1.0


async def test_a_job_is_done_by_services_that_show_certificates(guarded: Guarded, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, pts=[3000 * n for n in range(24)])

    async def token() -> tuple[str, float]:
        return guarded.tokens["everything"], 3600

    async with KinemeshClient(guarded.mesh.http_url, tokens=token) as client:
        asset = await client.upload(clip)
        job = await client.create_job("pose", asset.asset_id, {})
        events = [event async for event in client.watch(job.job_id)]
        job = await client.get_job(job.job_id)
        health = await client.health()
    assert (job.state, job.failure) == ("SUCCEEDED", None)
    assert events
    assert {name: part["status"] for name, part in health["services"].items() if part["status"] != "ok"} == {}


@pytest.mark.parametrize("service", SERVICES)
async def test_who_shows_no_certificate_of_the_mesh_does_not_get_in(service: str, guarded: Guarded) -> None:
    address = f"127.0.0.1:{guarded.mesh.ports.grpc[service]}"
    stranger = certificate(trustme.CA())
    for tls in (None, Tls(stranger.certificate, stranger.key, guarded.tls.authority)):
        assert not await grpc_serving(address, tls=tls)()
    assert await grpc_serving(address, tls=guarded.tls)()


@pytest.mark.parametrize(
    ("service", "stub", "request_", "said"),
    [
        ("ingest", job_pb2_grpc.JobServiceStub, job_pb2.ListPipelinesRequest(), ""),
        # What these are asked about, they ask ingest in the caller's name.
        ("detect_track", detect_track_pb2_grpc.DetectTrackServiceStub, SITE, "ENVIRONMENT_NOT_FOUND"),
        ("matcher", matcher_pb2_grpc.MatcherServiceStub, PICTURES, "REFERENCE_NOT_FOUND"),
    ],
)
async def test_who_shows_a_certificate_and_a_token_is_answered(
    service: str, stub: Callable[..., Any], request_: Message, said: str, guarded: Guarded
) -> None:
    name = type(request_).__name__.removesuffix("Request")
    async with open_channel(f"127.0.0.1:{guarded.mesh.ports.grpc[service]}", guarded.tls) as channel:
        for token, reason in (("", "TOKEN_MISSING"), (guarded.tokens["everything"], said)):
            metadata = [("authorization", f"Bearer {token}")] if token else []
            told = ""
            try:
                await getattr(stub(channel), name)(request_, metadata=metadata, timeout=DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                told = from_rpc_error(error).reason
            assert told == reason


@pytest.mark.parametrize("caller", CALLERS)
async def test_rest_answers_as_its_document_says(caller: str, guarded: Guarded, effort: Effort, tmp_path: Path) -> None:
    examples = "2" if effort.bounded else "1000"
    seconds = effort.seconds if caller == "everything" else effort.seconds / 3
    token = guarded.tokens[caller]
    command = [
        *(str(Path(sysconfig.get_path("scripts")) / "schemathesis"), "run", str(DOCUMENT)),
        *("--url", guarded.mesh.http_url, *(("--header", f"Authorization: Bearer {token}") if token else ())),
        *("--phases", "examples,fuzzing", "--max-examples", examples, "--max-time", str(int(seconds))),
        *("--checks", ",".join(CHECKS), "--seed", str(effort.seed), "--request-timeout", str(DEADLINE_S)),
        *("--generation-database", "none", "--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off"),
    ]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=effort.seconds + 300, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "Tested: 0" not in done.stdout


@pytest.mark.parametrize("caller", CALLERS)
def test_grpc_refuses_with_a_reason(caller: str, guarded: Guarded, effort: Effort) -> None:
    ports, credentials = guarded.mesh.ports.grpc, guarded.tls.channel()
    token = guarded.tokens[caller]
    metadata = [("authorization", f"Bearer {token}")] if token else []
    rng = random.Random(effort.seed)
    deadline = time.monotonic() + effort.seconds
    defects: list[str] = []
    called = 0
    for round_ in range(2 if effort.bounded else sys.maxsize):
        for service in SERVICES:
            with grpc.secure_channel(f"127.0.0.1:{ports[service]}", credentials) as channel:
                for method in _methods(channel):
                    if time.monotonic() > deadline and round_:
                        break
                    defects += _fuzzed(channel, method, metadata, rng)
                    called += 1
        if time.monotonic() > deadline:
            break
    assert not defects, "\n".join(defects)
    assert called > 50


def _methods(channel: grpc.Channel) -> list[MethodDescriptor]:
    """All methods of a service, as its reflection tells them."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    names = [name for name in database.get_services() if name.startswith("kinemesh.")]
    return [method for name in names for method in pool.FindServiceByName(name).methods]


def _fuzzed(channel: grpc.Channel, method: MethodDescriptor, metadata: Metadata, rng: random.Random) -> list[str]:
    requests = [random_message(method.input_type, rng) for _ in range(2 if method.client_streaming else 1)]
    watches = method.server_streaming and not method.client_streaming
    try:
        _call(channel, method, metadata, requests, WATCHED_S if watches else DEADLINE_S)
    except grpc.RpcError as error:
        if watches and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return []  # a watcher may wait as long as it likes
        trailing = cast("list[tuple[str, bytes]]", list(error.trailing_metadata() or ()))
        told = [value for key, value in trailing if key == "grpc-status-details-bin"]
        reasons = [_reason(detail) for value in told for detail in status_pb2.Status.FromString(value).details]
        if error.code() in DEFECTS or not any(reasons):
            return [f"{method.full_name}: {error.code()} {error.details()} {reasons}: {_shown(requests)}"]
    return []


def _call(
    channel: grpc.Channel, method: MethodDescriptor, metadata: Metadata, requests: list[Any], timeout_s: float
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    coding = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    made = getattr(channel, "_".join(kind))(path, **coding)
    sent = iter(requests) if method.client_streaming else requests[0]
    call = made(sent, metadata=metadata, timeout=timeout_s)
    if method.server_streaming:
        for _ in islice(call, ANSWERS):
            pass
        call.cancel()


def _reason(detail: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    return str(info.reason) if detail.Unpack(info) else ""


def _shown(requests: list[Any]) -> str:
    return " | ".join(request.SerializeToString().hex()[:2000] for request in requests)
