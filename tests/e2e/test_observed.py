"""What an operator sees of a job: one trace through the whole mesh, and metrics of every service."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import httpx
import pytest_asyncio

from kinemesh.embedded.mesh import Mesh
from kinemesh.embedded.running import running_mesh
from kinemesh.testing.otlp import Collector
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until

CHOSEN = "chosen-by-a-user"

_SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


async def scrape(mesh: Mesh) -> dict[str, str]:
    """What Prometheus would read, by the name of the server that says it."""
    described = running_mesh(mesh.layout.root)
    assert described is not None
    urls = {name: row["metrics"] for name, row in described["servers"].items() if "metrics" in row}
    async with httpx.AsyncClient(timeout=30) as http:
        answers = await asyncio.gather(*(http.get(url) for url in urls.values()))
    return {name: answer.raise_for_status().text for name, answer in zip(urls, answers, strict=True)}


def samples(text: str) -> Samples:
    """By name and labels. The client library's own parser gives counters the names that they ought to have."""
    found: Samples = defaultdict(dict)
    for name, labels, value in _SAMPLE.findall(text):
        found[name][frozenset(_LABEL.findall(labels))] = float(value)
    return found


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum over all samples that have these labels."""
    return sum(value for named, value in found[name].items() if labels.items() <= dict(named).items())


async def scraped(mesh: Mesh) -> dict[str, Samples]:
    return {name: samples(text) for name, text in (await scrape(mesh)).items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def observed(
    mesh: Mesh, spans: Collector, person_clip: bytes
) -> tuple[str, dict[str, Any], dict[str, Samples], dict[str, Samples]]:
    """The id of a trace, the job that it is of, and what was measured before and after."""
    trace_id = secrets.token_hex(16)
    async with httpx.AsyncClient(timeout=60) as http:
        rest = Rest(http, mesh.http_url)
        before = await scraped(mesh)
        asset_id = await rest.upload(person_clip)
        headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        body = {"pipeline": "pose", "asset_id": asset_id}
        answer = await rest.call("POST", "/api/v1/jobs", json=body, headers=headers)
        job = await rest.ended(answer.json()["job_id"])
    assert job["state"] == "SUCCEEDED"
    return trace_id, job, before, await scraped(mesh)


Observed = tuple[str, dict[str, Any], dict[str, Samples], dict[str, Samples]]


async def test_one_trace_crosses_the_mesh(observed: Observed, spans: Collector) -> None:
    trace_id = observed[0]
    tasks = {
        ("kinemesh-ingest", "task split"),
        ("kinemesh-pose", "task pose"),
        ("kinemesh-pose", "task stitch"),
        ("kinemesh-pose", "task movement"),
        ("kinemesh-render", "task render"),
        ("kinemesh-render", "task finalize"),
    }
    request = ("kinemesh-gateway", "POST /api/v1/jobs")
    call = ("kinemesh-ingest", "kinemesh.job.v1.JobService/CreateJob")
    inference = ("kinemesh-triton", "pose_landmarks")

    def ours() -> list[tuple[str, Any]]:
        return [(service, span) for service, span in spans.spans if span.trace_id.hex() == trace_id]

    async def all_came() -> bool:
        # A span comes when it has ended, which is after those below it; only the caller's own never does.
        missing = {span.parent_span_id for _, span in ours()} - {span.span_id for _, span in ours()}
        return len(missing) == 1 and {request, call, inference, *tasks} <= {
            (service, span.name) for service, span in ours()
        }

    await until(all_came)
    by_id = {span.span_id: (service, span) for service, span in ours()}

    def names_above(span: Any) -> Iterable[tuple[str, str]]:
        while (above := by_id.get(span.parent_span_id)) is not None:
            yield above[0], above[1].name
            span = above[1]

    for service, span in ours():
        above = list(names_above(span))
        if (service, span.name) == call:
            assert above[-1] == request
            assert above[0][0] == "kinemesh-gateway"
        elif (service, span.name) in tasks:
            assert above[0] == call, "its message was written to the outbox in that call"
        elif (service, span.name) == inference:
            assert above[0] == ("kinemesh-triton", "InferRequest")
            assert above[1] in tasks, "the request was made in the task"
            assert above[-1] == request


async def test_every_service_measures_its_part_of_a_job(observed: Observed, mesh: Mesh) -> None:
    _, _, before, after = observed
    assert set(after) == {"ingest", "detect_track", "pose", "matcher", "render", "gateway", "triton"}

    def grown(service: str, name: str, **labels: str) -> float:
        return total(after[service], name, **labels) - total(before[service], name, **labels)

    for service, found in after.items():
        if service != "triton":
            assert total(found, "process_resident_memory_bytes") > 0
            assert total(found, "process_open_fds") > 0
            assert min(found["kinemesh_dependency_up"].values()) == 1, service
    frames = {"split": ("ingest", 90), "stitch": ("pose", 90), "render": ("render", 90), "finalize": ("render", 90)}
    for stage, (service, count) in frames.items():
        assert grown(service, "kinemesh_task_frames_total", stage=stage) == count, stage
        assert grown(service, "kinemesh_task_seconds_count", stage=stage, ending="done") >= 1
    assert grown("pose", "kinemesh_task_frames_total", stage="pose") >= 90, "warm-up is work too"
    for model in ("pose_detector", "pose_landmarks"):
        sent = grown("pose", "kinemesh_inference_seconds_count", model=model, outcome="ok")
        assert sent > 0
        assert grown("triton", "nv_inference_request_success", model=model) >= sent
        assert grown("pose", "kinemesh_inference_wait_seconds_count", model=model) == sent
    assert grown("render", "kinemesh_storage_seconds_count", operation="get", status="206") > 0
    assert grown("render", "kinemesh_storage_seconds_count", operation="put", status="200") > 0
    assert grown("ingest", "kinemesh_job_seconds_count", pipeline="pose", state="SUCCEEDED") == 1
    assert grown("ingest", "kinemesh_uploads_settled_total", kind="VIDEO", state="READY") == 1
    assert grown("ingest", "kinemesh_database_seconds_count", operation="insert", outcome="ok") > 0
    assert grown("ingest", "kinemesh_rpc_seconds_count", method="/kinemesh.job.v1.JobService/CreateJob", code="OK") == 1
    route = {"method": "POST", "route": "/api/v1/jobs"}
    assert grown("gateway", "kinemesh_http_seconds_count", **route, status="202") == 1
    assert grown("gateway", "kinemesh_websocket_closed_total", kind="jobs", code="1000") == 1
    assert grown("gateway", "kinemesh_websocket_behind_seconds_count", kind="jobs") > 3


async def test_ingest_tells_of_the_whole_mesh(observed: Observed, mesh: Mesh) -> None:
    async def all_done() -> bool:
        found = (await scraped(mesh))["ingest"]
        return (
            total(found, "kinemesh_jobs", pipeline="pose") == 0
            and total(found, "kinemesh_queue_tasks") == 0
            and total(found, "kinemesh_outcomes") == 0
            and total(found, "kinemesh_outbox_messages") == 0
        )

    await until(all_done, 60)
    found = (await scraped(mesh))["ingest"]
    assert total(found, "kinemesh_stream_bytes", stream="KINEMESH_EVENTS") > 1000
    assert {dict(labels)["source"] for labels in found["kinemesh_gathered_timestamp_seconds"]} == {"broker", "database"}


async def test_no_label_holds_what_a_user_chose(rest: Rest, mesh: Mesh, person_clip: bytes) -> None:
    asset_id = await rest.upload(person_clip, filename=f"{CHOSEN}.mp4")
    parameters = {"model": CHOSEN, "classes": [CHOSEN]}
    await rest.call(
        "POST", "/api/v1/jobs", json={"pipeline": "pitstop", "asset_id": asset_id, "parameters": parameters}
    )
    await rest.call("POST", f"/api/v1/models/{CHOSEN}/test", files={"file": ("a.png", b"x", "image/png")})
    await rest.call("POST", "/api/v1/environments", json={"environment_id": CHOSEN, "display_name": CHOSEN})
    await rest.call("POST", "/api/v1/routes/areas", json={"display_name": CHOSEN})
    await rest.call("GET", f"/{CHOSEN}", headers={"X-Request-ID": CHOSEN, "X-Kinemesh-Owner": CHOSEN})
    shown = json.dumps(await scrape(mesh))
    assert CHOSEN not in shown
    assert "kinemesh_http_seconds_count" in shown
