"""What callers may send, at a real mesh: every call is answered, and every refusal has a reason."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import sysconfig
import time
from itertools import islice
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from kinemesh.embedded.environment import SERVICES

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
Metadata = list[tuple[str, str]]
WATCHED_S = 1.0


@pytest.mark.parametrize("caller", CALLERS)
async def test_rest_answers_as_its_document_says(caller: str, guarded: Guarded, effort: Effort, tmp_path: Path) -> None:
    examples = "2" if effort.cases else "1000"
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
    ports = guarded.mesh.ports.grpc
    token = guarded.tokens[caller]
    metadata = [("authorization", f"Bearer {token}")] if token else []
    rng = random.Random(effort.seed)
    deadline = time.monotonic() + effort.seconds
    defects: list[str] = []
    called = 0
    for round_ in range(sys.maxsize if effort.cases is None else 2):
        for service in SERVICES:
            with grpc.insecure_channel(f"127.0.0.1:{ports[service]}") as channel:
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
