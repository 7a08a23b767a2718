"""Pit stops, instructors, sessions and models on a mesh with synthetic people."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemesh.testing.onnx_networks import tiny_yolox
from kinemesh_client.testing import Cli, one_object

DETECTOR = "person_detector"
PITSTOP = {"annotated.mp4", "contact_sheet.jpg", "events.csv", "report.json", "tracks.csv", "tracks.parquet"}
INSTRUCTOR = {"instructor_tracking.json", "tracks.parquet", "video.mp4"}


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    path = tmp_path / "best.onnx"
    path.write_text("no weights\n" * 100)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return tiny_yolox(tmp_path / "own.onnx")


def test_run_pitstop_makes_tracks_a_report_and_a_video(cli: Cli, video: Path, tmp_path: Path) -> None:
    zone = "--zone=everywhere:0,0;1,0;1,1;0,1"
    done = cli("run", "pitstop", str(video), f"--model={DETECTOR}", zone, "--json", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    results = {name: Path(path) for name, path in one_object(done.stdout)["results"].items()}
    assert set(results) == PITSTOP
    assert frames_in(results["annotated.mp4"]) == 60
    assert pq.read_table(results["tracks.parquet"]).num_rows > 60
    assert "everywhere" in results["report.json"].read_text()


def test_run_instructor_makes_a_track(cli: Cli, video: Path, tmp_path: Path) -> None:
    done = cli("run", "instructor", str(video), "--json", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    results = one_object(done.stdout)["results"]
    assert set(results) >= INSTRUCTOR
    assert json.loads(Path(results["instructor_tracking.json"]).read_text())["version"] == "v1"


def test_nobody_at_the_point_fails_with_3(cli: Cli, video: Path) -> None:
    done = cli("run", "instructor", str(video), "--at=99,0,0", "--json")
    assert done.returncode == 3
    assert one_object(done.stdout)["job"]["failure"]["reason"] == "SUBJECT_NOT_FOUND"


def test_a_model_that_is_not_there_is_refused_and_the_video_does_not_stay(cli: Cli, video: Path) -> None:
    before = one_object(cli("assets", "list", "--json").stdout)["total"]
    done = cli("run", "pitstop", str(video), "--model=nothing", "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "MODEL_NOT_FOUND"
    assert one_object(cli("assets", "list", "--json").stdout)["total"] == before


def test_one_file_on_a_mesh_leaves_nothing_there(cli: Cli, video: Path, fake: Path, tmp_path: Path) -> None:
    def totals() -> list[int]:
        return [one_object(cli(kind, "list", "--json").stdout)["total"] for kind in ("assets", "jobs", "models")]

    before, target = totals(), tmp_path / "annotated.mp4"
    done = cli("pitstop", str(video), str(target), f"--model={DETECTOR}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == str(target)
    assert frames_in(target) == 60
    assert [path.name for path in tmp_path.iterdir() if path != fake] == ["annotated.mp4"]
    refused = cli("pitstop", str(video), str(target), f"--weights={fake}", "--force")
    assert refused.returncode == 2
    assert "UNKNOWN_FORMAT" in refused.stderr
    assert totals() == before


def test_one_file_without_any_server(bare_cli: Cli, models: Path, video: Path, tmp_path: Path) -> None:
    target, data = tmp_path / "annotated.mp4", tmp_path / "data"
    nowhere = f"--data-dir={tmp_path / 'none'}"
    done = bare_cli(
        *("pitstop", str(video), str(target), f"--model={DETECTOR}", f"--data={data}"),
        *(f"--models={models}", nowhere, "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert set(one_object(done.stdout)["results"]) == PITSTOP
    assert frames_in(target) == 60
    assert {path.name for path in data.iterdir()} == PITSTOP - {"annotated.mp4"}
    assert not (tmp_path / "none").exists()


def test_a_picture_is_tried_with_the_default_detector(cli: Cli, tmp_path: Path) -> None:
    picture, out = tmp_path / "picture.jpg", tmp_path / "annotated.png"
    cv2.imwrite(str(picture), np.full((360, 640, 3), 90, np.uint8))
    tried = one_object(cli("models", "test", str(picture), f"--out={out}", "--json").stdout)
    assert tried["model"] == DETECTOR
    assert {found["label"] for found in tried["detections"]} == {"person"}
    assert Path(tried["annotated"]) == out
    assert out.stat().st_size > 0


def test_what_is_no_model_is_refused(cli: Cli, fake: Path) -> None:
    done = cli("models", "import", str(fake), "--name=own", "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "UNKNOWN_FORMAT"
    embedded = cli("models", "remove", DETECTOR, "--json")
    assert embedded.returncode == 2
    assert one_object(embedded.stdout)["error"]["reason"] == "MODEL_EMBEDDED"


def test_sessions_are_imported_shown_done_again_and_deleted(cli: Cli, video: Path) -> None:
    imported = one_object(cli("sessions", "import", str(video), "--name=Lesson", "--json").stdout)
    session_id = imported["session"]["session_id"]
    assert imported["job"]["state"] == "SUCCEEDED"
    assert session_id in cli("sessions", "list").stdout
    shown = cli("sessions", "show", session_id)
    assert "Lesson" in shown.stdout
    assert "coveragePercent" in shown.stdout
    assert one_object(cli("sessions", "show", session_id, "--result").stdout)["trackPoints"]
    again = one_object(cli("sessions", "process", session_id, "--threshold=0.4", "--json").stdout)
    assert again["job"]["job_id"] != imported["job"]["job_id"]
    assert again["job"]["parameters"]["threshold"] == 0.4
    assert cli("sessions", "delete", session_id).returncode == 0
    gone = cli("sessions", "show", session_id, "--json")
    assert gone.returncode == 2
    assert one_object(gone.stdout)["error"]["reason"] == "SESSION_NOT_FOUND"


def test_own_weights_are_imported_used_and_removed(cli: Cli, video: Path, network: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("wheel\njack\n")
    unnamed = cli("models", "import", str(network), "--name=own", "--json")
    assert unnamed.returncode == 2
    assert one_object(unnamed.stdout)["error"]["reason"] == "LABELS_NEEDED"
    imported = cli("models", "import", str(network), "--name=own", f"--labels={names}", "--json")
    assert imported.returncode == 0, imported.stderr
    assert one_object(imported.stdout)["labels"] == ["wheel", "jack"]
    assert "own" in cli("models", "list", "--task=detector").stdout
    target = tmp_path / "annotated.mp4"
    assert cli("pitstop", str(video), str(target), "--model=own").returncode == 0
    assert frames_in(target) == 60
    assert cli("models", "remove", "own").returncode == 0
    assert "own" not in cli("models", "list", "--task=detector").stdout
    weights = cli("pitstop", str(video), str(target), f"--weights={network}", f"--labels={names}", "--force")
    assert weights.returncode == 0, weights.stderr
    assert "temporary" not in cli("models", "list").stdout
