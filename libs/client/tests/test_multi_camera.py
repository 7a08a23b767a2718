"""A site with two cameras on a mesh with synthetic people, from the description to who was where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinemesh.media.synthetic import write_clip
from kinemesh_client.testing import Cli, one_object

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
STEPS = 60
IMAGE = [[0, 0], [320, 0], [320, 180], [0, 180]]
FLOOR = [[0, 0], [8, 0], [8, 4.5], [0, 4.5]]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras over the same floor, one of them calibrated by a file."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("c09.mp4", "c12.mp4"):
        write_clip(folder / name, pts=[3000 * number for number in range(STEPS)], size=(320, 180))
    np.savez(folder / "c12.npz", image_points=np.array(IMAGE, float), map_points=np.array(FLOOR, float))
    site = {
        "environment_id": "hall",
        "cameras": [
            {"camera": "c09", "videos": ["c09.mp4"], "homography": {"image_points": IMAGE, "map_points": FLOOR}},
            {"camera": "c12", "videos": ["c12.mp4"], "homography": "c12.npz"},
        ],
        "zones": [{"zone": "everywhere", "map": [[-50, -50], [50, -50], [50, 50], [-50, 50]]}],
        "ground_plane": {"width": 8, "height": 4.5},
    }
    path = folder / "site.json"
    path.write_text(json.dumps(site))
    return path


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


@pytest.fixture
def done(cli: Cli, described: Path, tmp_path: Path, kept: dict[str, Any]) -> dict[str, Any]:
    """What the command printed, run once."""
    if not kept:
        run = cli("run", "multi_camera", f"--environment={described}", "--json", f"--out={described.parent / 'out'}")
        assert run.returncode == 0, run.stderr
        kept.update(one_object(run.stdout))
    return kept


def test_a_site_is_made_and_its_results_fetched(cli: Cli, done: dict[str, Any]) -> None:
    assert set(done["results"]) == OUTPUTS
    assert all(Path(path).stat().st_size > 0 for path in done["results"].values())
    assert "mosaic" in done["stages"]
    shown = one_object(cli("environments", "show", done["environment_id"], "--json").stdout)
    quality = [camera["homography"]["quality"] for camera in shown["cameras"]]
    assert [row["points"] for row in quality] == [4, 4]
    assert all(row["rms_error_map"] < 1e-6 for row in quality)


def test_a_job_that_is_over_is_watched_from_its_beginning_or_later(cli: Cli, done: dict[str, Any]) -> None:
    job_id = done["job"]["job_id"]
    watched = cli("watch", job_id, "--json")
    assert watched.returncode == 0, watched.stderr
    messages = [json.loads(line) for line in watched.stdout.splitlines()]
    steps = [message["payload"] for message in messages if message["type"] == "tracking_update"]
    assert [step["global_frame_index"] for step in steps] == list(range(STEPS))
    assert {camera for step in steps for camera in step["cameras"]} == {"c09", "c12"}
    assert any(
        track["map_coords"] for step in steps for camera in step["cameras"].values() for track in camera["tracks"]
    )
    assert messages[-1]["payload"]["status"] == "COMPLETED"
    lines = cli("watch", job_id, f"--since-frame={STEPS - 5}").stdout.splitlines()
    assert [int(line.split()[1]) for line in lines if line.startswith("frame")] == list(range(STEPS - 5, STEPS))
    drawn = cli("watch", job_id, "--map")
    assert drawn.returncode == 0, drawn.stderr
    assert "hall ─" in drawn.stdout
    assert f"frame {STEPS - 1}" in drawn.stdout


def test_who_was_where_is_found_afterwards(cli: Cli, done: dict[str, Any]) -> None:
    found = cli("where", done["environment_id"], "--zone=everywhere", "--json")
    assert found.returncode == 0, found.stderr
    presences = one_object(found.stdout)["presences"]
    people = {
        row["global_id"] for row in json.loads(Path(done["results"]["identities.json"]).read_text())["identities"]
    }
    assert presences
    assert {row["global_id"] for row in presences} <= people
    elsewhere = cli("where", done["environment_id"], "--within=90,90;91,90;91,91", "--json")
    assert one_object(elsewhere.stdout)["presences"] == []


def test_degenerate_points_are_refused_and_nothing_stays(cli: Cli, described: Path, tmp_path: Path) -> None:
    site = json.loads(described.read_text())
    line = [[number, number] for number in range(4)]
    bad = {"camera": "c09", "homography": {"image_points": line, "map_points": FLOOR}}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**site, "environment_id": "bad", "cameras": [bad]}))
    refused = cli("run", "multi_camera", f"--environment={path}", "--json")
    assert refused.returncode == 2
    assert one_object(refused.stdout)["error"]["reason"] == "POINTS_DEGENERATE"
    assert cli("environments", "show", "bad").returncode == 2


def test_an_environment_that_is_not_there_is_refused(cli: Cli) -> None:
    done = cli("run", "multi_camera", "--environment=nowhere", "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "ENVIRONMENT_NOT_FOUND"
