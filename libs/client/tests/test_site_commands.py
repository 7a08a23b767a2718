"""`kinemesh environments` and `kinemesh where`: what they ask a gateway for, and what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kinemesh_client.testing import Cli, one_object

from .site_gateway import PERSON, Gateway, environment_json


@pytest.fixture
def command(bare_cli: Cli, gateway: Gateway) -> Cli:
    """Runs a command on the gateway, where a site is."""
    cameras = [{"camera": "c09"}, {"camera": "c12", "homography": {"source": {}}}]
    gateway.sites["factory"] = environment_json({"environment_id": "factory", "cameras": cameras})

    def run(*arguments: str) -> Any:
        return bare_cli(*arguments, f"--url={gateway.url}")

    return run


def test_environments_are_listed_shown_and_deleted(command: Cli, gateway: Gateway) -> None:
    listed = command("environments", "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[1].split() == ["factory", "c09,", "c12", "1/2", "2026-01-01", "00:00:00"]
    shown = command("environments", "show", "factory")
    assert [line.split() for line in shown.stdout.splitlines()[2:]] == [["c09", "0", "no"], ["c12", "0", "yes"]]
    assert one_object(command("environments", "show", "factory", "--json").stdout) == gateway.sites["factory"]
    unknown = command("environments", "show", "campus")
    assert (unknown.returncode, "(ENVIRONMENT_NOT_FOUND)" in unknown.stderr) == (2, True)
    assert command("environments", "delete", "factory").returncode == 0
    assert gateway.sites == {}


def test_create_refuses_what_is_there_and_update_what_is_not(
    command: Cli, gateway: Gateway, described: Path, tmp_path: Path
) -> None:
    refused = command("environments", "create", str(described))
    assert (refused.returncode, "(ENVIRONMENT_EXISTS)" in refused.stderr) == (2, True)
    missing = command("environments", "update", "campus", str(described))
    assert (missing.returncode, "(ENVIRONMENT_NOT_FOUND)" in missing.stderr) == (2, True)
    assert gateway.assets == {}
    updated = command("environments", "update", "factory", str(described), "--json")
    assert updated.returncode == 0, updated.stderr
    assert [len(row["sub_videos"]) for row in one_object(updated.stdout)["cameras"]] == [2, 1]
    gateway.sites.clear()
    created = command("environments", "create", str(described))
    assert created.returncode == 0, created.stderr
    assert "zones: door" in created.stdout


def test_what_show_prints_can_be_changed_and_given_back(command: Cli, gateway: Gateway, tmp_path: Path) -> None:
    printed = one_object(command("environments", "show", "factory", "--json").stdout)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**printed, "display_name": "Hall"}))
    done = command("environments", "update", "factory", str(path))
    assert done.returncode == 0, done.stderr
    (body,) = gateway.bodies["PATCH /api/v1/environments/factory"]
    assert body["display_name"] == "Hall"
    assert [row["camera"] for row in body["cameras"]] == ["c09", "c12"]


def test_a_file_that_names_no_cameras_leaves_them_alone(command: Cli, gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "name.json"
    path.write_text('{"display_name": "Hall"}')
    assert command("environments", "update", "factory", str(path)).returncode == 0
    assert gateway.bodies["PATCH /api/v1/environments/factory"] == [{"display_name": "Hall"}]


def test_a_homography_says_how_well_it_fits(command: Cli, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "homography_points_c09_scene_s10.npz"
    file.write_bytes(b"points")
    more = ("--image-axes=yx", "--map-to-image", "--image-size=1920x1080", "--validate-only")
    done = command("environments", "homography", "factory", "c12", str(file), *more)
    assert done.returncode == 0, done.stderr
    assert "c12  4 points, off by 0.25 on the map (at most 0.5) and 2 px" in done.stdout
    assert gateway.bodies["PUT /api/v1/environments/factory/cameras/c12/homography"] == [
        {
            "file": (file.name, b"points"),
            "image_axes": "YX",
            "map_to_image": "true",
            "image_width": "1920",
            "image_height": "1080",
            "validate_only": "true",
        }
    ]
    implied = command("environments", "homography", "factory", "-", str(file), "--json")
    assert one_object(implied.stdout)["camera"] == "c09"
    assert command("environments", "homography", "factory", "c12", "--remove").returncode == 0
    assert gateway.calls[-1] == "DELETE /api/v1/environments/factory/cameras/c12/homography"


def test_calibration_names_cameras_that_are_not_there(command: Cli, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text('{"cameras": []}')
    done = command("environments", "calibrate", "factory", str(file), "--map-axes=YX")
    assert done.returncode == 0, done.stderr
    assert "calibrated: c09" in done.stdout
    assert "c99" in done.stderr
    sent = gateway.bodies["POST /api/v1/environments/factory/calibration"]
    assert sent == [{"file": ("calibration.json", b'{"cameras": []}'), "map_axes": "YX"}]


def test_people_are_listed_and_forgotten(command: Cli, gateway: Gateway) -> None:
    listed = command("environments", "identities", "factory")
    assert str(PERSON["global_id"]) in listed.stdout
    forgotten = command("environments", "forget", "factory", str(PERSON["global_id"]), "--json")
    assert one_object(forgotten.stdout)["changed_jobs"] == 3
    assert gateway.calls[-1] == f"DELETE /api/v1/environments/factory/identities/{PERSON['global_id']}"


def test_where_asks_for_what_the_options_say(command: Cli, gateway: Gateway) -> None:
    person = str(PERSON["global_id"])
    filters = (f"--person={person}", "--camera=c09", "--camera=c12", "--zone=door", "--within=0,0;5,0;5,5")
    done = command("where", "factory", *filters, "--from=1.5", "--to=60", "--min-duration=2", "--limit=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == [person, "c09", "1.50", "4.00", "2.5", "3.2", "0.75", "job"]
    assert "1 of 2 presences" in done.stderr
    assert gateway.bodies["POST /api/v1/tracks/query"] == [
        {
            "environment_id": "factory",
            "global_ids": [person],
            "cameras": ["c09", "c12"],
            "zones": ["door"],
            "within": [{"x": 0, "y": 0}, {"x": 5, "y": 0}, {"x": 5, "y": 5}],
            "clock": {"start_sec": 1.5, "end_sec": 60},
            "min_duration_sec": 2,
            "limit": 1,
        }
    ]


def test_where_turns_the_pages(command: Cli, gateway: Gateway) -> None:
    done = command("where", "factory", "--limit=3", "--from=2026-03-01T08:00:00+01:00", "--json")
    assert len(one_object(done.stdout)["presences"]) == 3
    asked = gateway.bodies["POST /api/v1/tracks/query"]
    assert [(body["limit"], body.get("page_token")) for body in asked] == [(3, None), (2, "more"), (1, "more")]
    assert asked[0]["time"] == {"start_time": "2026-03-01T08:00:00+01:00"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("where", "factory", "--from=now"),
        ("where", "factory", "--from=2026-03-01T08:00:00"),
        ("where", "factory", "--from=1", "--to=2026-03-01T08:00:00Z"),
        ("where", "factory", "--within=0,0;1,1"),
        ("environments", "homography", "factory", "c09"),
        ("environments", "homography", "factory", "c09", __file__, "--remove"),
        ("environments", "homography", "factory", "c09", __file__, "--image-axes=ZX"),
        ("environments", "homography", "factory", "c09", __file__, "--image-size=big"),
        ("environments", "create", "missing.json"),
        ("run", "multi_camera", "--environment=missing.json"),
        ("watch", "t", "--json", "--map"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_asked(
    command: Cli, gateway: Gateway, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert gateway.calls == []
