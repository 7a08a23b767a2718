"""The commands that look at jobs, assets, models and the mesh itself."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from kinemesh_client.cli.queues import parse_queues
from kinemesh_client.testing import Cli, one_object


@pytest.fixture(scope="module")
def job_ids() -> list[str]:
    return []


@pytest.fixture
def job_id(cli: Cli, video: Path, tmp_path: Path, job_ids: list[str]) -> str:
    """A job that succeeded, made once."""
    if not job_ids:
        done = cli("run", "pose", str(video), "--json", f"--out={tmp_path}")
        job_ids.append(json.loads(done.stdout)["job"]["job_id"])
    return job_ids[0]


def test_a_job_is_listed_shown_watched_and_has_a_log(cli: Cli, job_id: str) -> None:
    listed = cli("jobs", "list")
    assert job_id in listed.stdout
    assert job_id in json.dumps(one_object(cli("jobs", "list", "--json", "--state=SUCCEEDED").stdout))
    assert job_id not in cli("jobs", "list", "--state=FAILED").stdout
    shown = cli("jobs", "show", job_id)
    assert "annotated.mp4" in shown.stdout
    assert one_object(cli("jobs", "show", job_id, "--json").stdout)["state"] == "SUCCEEDED"
    watched = cli("jobs", "watch", job_id, "--json")
    assert watched.returncode == 0
    assert one_object(watched.stdout)["job"]["job_id"] == job_id
    assert isinstance(one_object(cli("jobs", "logs", job_id, "--json").stdout)["logs"], list)


def test_a_job_that_is_over_cannot_be_cancelled_but_deleted(cli: Cli, job_id: str, job_ids: list[str]) -> None:
    refused = cli("jobs", "cancel", job_id)
    assert refused.returncode == 2
    assert "JOB_" in refused.stderr
    deleted = cli("jobs", "delete", job_id)
    job_ids.clear()
    assert deleted.returncode == 0, deleted.stderr
    gone = cli("jobs", "show", job_id)
    assert gone.returncode == 2
    assert "JOB_NOT_FOUND" in gone.stderr


def test_an_id_cannot_name_another_path(cli: Cli) -> None:
    done = cli("jobs", "show", "../assets")
    assert done.returncode == 2
    assert "INVALID_ID" in done.stderr


def test_assets_are_listed_and_deleted(cli: Cli, video: Path, tmp_path: Path) -> None:
    made = json.loads(cli("run", "pose", str(video), "--json", f"--out={tmp_path}").stdout)["job"]
    asset_id = made["inputs"][0]["asset_id"]
    assert asset_id in cli("assets", "list").stdout
    assert cli("assets", "delete", asset_id).returncode == 0
    assert asset_id not in cli("assets", "list").stdout


def test_pipelines_and_models_are_listed(cli: Cli) -> None:
    assert "split → pose → stitch → movement → render → finalize" in cli("pipelines").stdout
    listed = one_object(cli("models", "list", "--json").stdout)["models"]
    assert isinstance(listed, list)
    assert {model["model"] for model in listed} >= {"pose_detector", "pose_landmarks", "face_detector"}


def test_status_names_every_part(cli: Cli) -> None:
    servers_shown = cli("status").stdout.split("\n\n")[0]  # what is in the queues comes after an empty line
    rows = {line.split()[0]: line.split()[1] for line in servers_shown.splitlines()[1:]}
    servers = {"nats", "s3", "postgres", "triton"}
    services = {"ingest", "detect_track", "pose", "matcher", "render", "gateway"}
    assert set(rows) == servers | services
    assert set(rows.values()) <= {"ok", "up"}
    described = one_object(cli("status", "--json").stdout)
    assert described["health"]["status"] == "ok"
    for name in services | {"triton"}:
        answer = httpx.get(described["servers"][name]["metrics"], timeout=10)
        assert "process_open_fds" in answer.text or "nv_inference_count" in answer.text
    assert isinstance(described["queues"], dict)


def test_the_queues_are_those_that_ingest_tells_of() -> None:
    text = """# TYPE kinemesh_queue_tasks gauge
kinemesh_queue_tasks{stage="pose",state="waiting"} 12
kinemesh_queue_tasks{stage="pose",state="in_hand"} 2
kinemesh_queue_tasks{stage="track",state="waiting"} 0
kinemesh_queue_tasks{stage="track",state="in_hand"} 0
# TYPE kinemesh_queue_oldest_seconds gauge
kinemesh_queue_oldest_seconds{stage="pose",state="waiting"} 3.5
kinemesh_queue_oldest_seconds{stage="pose",state="in_hand"} 9
"""
    assert parse_queues(text) == {"pose": {"waiting": 12, "in_hand": 2, "oldest_s": 3.5}}


def test_a_second_up_says_that_one_runs(cli: Cli) -> None:
    done = cli("up", "--detach")
    assert done.returncode == 0
    assert "already" in done.stderr
    assert "gateway" in done.stdout


def test_logs_of_one_server_and_of_all(cli: Cli) -> None:
    one = cli("logs", "ingest", "-n", "5")
    assert 1 <= len(one.stdout.splitlines()) <= 5
    assert "serving" in cli("logs", "ingest", "-n", "1000").stdout
    everything = cli("logs")
    assert {line.split("│")[0].strip() for line in everything.stdout.splitlines()} >= {"ingest", "pose", "gateway"}
    unknown = cli("logs", "coffee")
    assert unknown.returncode == 2
    assert "UNKNOWN_SERVICE" in unknown.stderr


def test_a_trial_clip_gets_there_and_back_and_leaves_nothing(cli: Cli) -> None:
    before = one_object(cli("assets", "list", "--json").stdout)["total"]
    tried = cli("test-upload", "--seconds", "1", "--json")
    assert tried.returncode == 0, tried.stderr
    told = one_object(tried.stdout)
    assert list(told["took_s"]) == ["make", "upload", "read back", "delete"]
    assert told["size_bytes"] > 1000
    assert one_object(cli("assets", "list", "--json").stdout)["total"] == before
    kept = one_object(cli("test-upload", "--seconds", "1", "--keep", "--json").stdout)
    assert kept["kept"]
    assert cli("assets", "delete", kept["asset_id"]).returncode == 0
