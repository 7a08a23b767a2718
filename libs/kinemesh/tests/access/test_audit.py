"""What changes something and what is refused leaves a line, with ids and without secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from kinemesh.access import audit
from kinemesh.access.gate import Gate
from kinemesh.access.identity import READ, WRITE, Identity
from kinemesh.access.tokens import Tokens
from kinemesh.access.v1 import access_pb2
from kinemesh.errors import NotFound
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.serving.channel import open_channel
from kinemesh.serving.interceptor import CallInterceptor

TOKENS = Tokens("0123456789abcdef" * 2)
PROGRAM = """
import sys
from pathlib import Path
from kinemesh.access import audit
from kinemesh.access.identity import Identity
from kinemesh.settings import LogSettings
from kinemesh.telemetry.logging import configure_logging
configure_logging("demo", LogSettings(level="ERROR"), Path(sys.argv[1]))
audit.note("DELETE /x", "OK", Identity("ada", key_id="k1"), "192.0.2.1", {"job_id": "j"})
"""


class Jobs(job_pb2_grpc.JobServiceServicer):
    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        return job_pb2.GetJobResponse()

    async def DeleteJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.job_id == "unknown":
            raise NotFound("JOB_NOT_FOUND", "There is no such job.", job_id=request.job_id)
        return job_pb2.DeleteJobResponse()

    async def CreateJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        return job_pb2.CreateJobResponse(job=job_pb2.Job(job_id="new", owner="ada"))


async def test_mutations_and_refusals_leave_a_line_each() -> None:
    server = grpc.aio.server(interceptors=[CallInterceptor(Gate(TOKENS))])
    jobs: Any = Jobs  # what the test does not call is left out
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with structlog.testing.capture_logs() as logs:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = job_pb2_grpc.JobServiceStub(channel)
            sent: list[str] = []

            async def ask(method: Any, request: Any, *scopes: str) -> None:
                token = TOKENS.issue(Identity("ada", frozenset(scopes), "k1"), 60) if scopes else "garbage"
                sent.append(token)
                metadata = (("authorization", f"Bearer {token}"), ("x-request-id", "r1"))
                try:
                    await method(request, metadata=metadata, timeout=10)
                except grpc.aio.AioRpcError:
                    return

            await ask(stub.GetJob, job_pb2.GetJobRequest(job_id="j"), READ)
            await ask(stub.CreateJob, job_pb2.CreateJobRequest(), WRITE)
            await ask(stub.DeleteJob, job_pb2.DeleteJobRequest(job_id="j"), WRITE)
            await ask(stub.DeleteJob, job_pb2.DeleteJobRequest(job_id="unknown"), WRITE)
            await ask(stub.DeleteJob, job_pb2.DeleteJobRequest(job_id="j"), READ)
            await ask(stub.GetJob, job_pb2.GetJobRequest(job_id="j"))
        await server.stop(0)
    lines = [line for line in logs if line["event"] == "audit"]
    assert [
        (line["action"].rpartition("/")[2], line["outcome"], line["owner"], line["key_id"], line["resources"])
        for line in lines
    ] == [
        ("CreateJob", "OK", "ada", "k1", {"job_id": "new"}),
        ("DeleteJob", "OK", "ada", "k1", {"job_id": "j"}),
        ("DeleteJob", "JOB_NOT_FOUND", "ada", "k1", {"job_id": "unknown"}),
        ("DeleteJob", "SCOPE_MISSING", "ada", "k1", {}),
        ("GetJob", "TOKEN_INVALID", "", "", {}),
    ]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert not any(token in json.dumps(logs, default=str) for token in sent if token != "garbage")


def test_ids_are_told_and_nothing_else() -> None:
    key = access_pb2.Key(key_id="k", owner="ada", display_name="secret name")
    made = access_pb2.CreateKeyResponse(key=key, api_key="km_secret")
    assert audit.ids_of(access_pb2.CreateKeyRequest(request_id="r"), made) == {"key_id": "k"}
    assert audit.ids_of(access_pb2.ExchangeKeyRequest(api_key="km_secret"), None) == {}
    assert audit.ids_of(job_pb2.GetJobRequest(job_id="x" * 1000)) == {}


def test_a_file_of_its_own_for_its_owners_eyes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path)], check=True, capture_output=True, text=True, timeout=60
        )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert {name: lines[0][name] for name in ("service", "owner", "key_id", "action", "outcome", "address")} == {
        "service": "demo",
        "owner": "ada",
        "key_id": "k1",
        "action": "DELETE /x",
        "outcome": "OK",
        "address": "192.0.2.1",
    }
    assert json.loads(done.stdout)["event"] == "audit", "in the log too, though little else is"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_named() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
    ended = subprocess.run(
        [sys.executable, "-m", "kinemesh_render"],
        env={**env, "KINEMESH_AUDIT__FILE": "/nowhere/audit.jsonl"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("KINEMESH_AUDIT__FILE: ")


@pytest.mark.parametrize(("outcome", "noted"), [("OK", False), ("TOKEN_MISSING", True), ("JOB_NOT_FOUND", False)])
def test_reading_is_not_noted_unless_it_is_refused(outcome: str, noted: bool) -> None:
    assert audit.is_worth_noting("/kinemesh.job.v1.JobService/GetJob", outcome) is noted
