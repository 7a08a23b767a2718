"""`kinemesh routes`: what it asks a gateway for, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from kinemesh_client.testing import Cli, one_object

from .route_gateway import METRICS, RouteGateway


@pytest.fixture
def command(bare_cli: Cli, catalogue: RouteGateway) -> Cli:
    """Runs `kinemesh routes` on the gateway, where a crag with a route is, and two attempts at it."""
    catalogue.add("area", display_name="Crag")
    catalogue.add("route", area_id="area0", display_name="Arete", grade="6b+", attempt_count=2)
    catalogue.add("attempt", route_id="route0", asset_id="a", display_name="Flash", topped=True, metrics=METRICS)
    catalogue.add("attempt", route_id="route0", asset_id="b")

    def run(*arguments: str) -> Any:
        return bare_cli("routes", *arguments, f"--url={catalogue.url}")

    return run


def rows(done: Any) -> list[list[str]]:
    """The cells of a table without its head."""
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_the_tree_has_routes_below_their_areas(command: Cli) -> None:
    assert rows(command("tree")) == [["Crag", "area0"], ["Arete", "6b+", "2", "route0"]]
    (area,) = one_object(command("tree", "--json").stdout)["areas"]
    assert area["routes"][0]["route_id"] == "route0"


def test_what_is_added_is_printed_by_its_id(command: Cli, catalogue: RouteGateway) -> None:
    assert command("areas", "add", "Hall", "--description=Downtown").stdout == "area1\n"
    added = command("add", "Slab", "--area=area1", "--grade=V4", "--reference=wall")
    assert added.stdout == "route1\n"
    wanted = {"area_id": "area1", "display_name": "Slab", "grade": "V4", "reference_id": "wall", "description": ""}
    assert catalogue.last("POST", "routes").body == wanted
    assert rows(command("areas", "list"))[1][:3] == ["area1", "Hall", "0"]
    assert rows(command("list", "--area=area1"))[1] == ["route1", "Slab", "V4", "0", "wall", "area1"]
    assert parse_qs(catalogue.asked[-1].query)["area_id"] == ["area1"]


def test_changes_hold_what_the_options_say_and_nothing_else(command: Cli, catalogue: RouteGateway) -> None:
    assert command("update", "route0", "--grade=", "--name=Slab").stdout == "route0\n"
    assert catalogue.last("PATCH", "routes/route0").body == {"display_name": "Slab", "grade": ""}
    changed = command("attempts", "update", "attempt0", "--no-topped", "--time=2026-03-02T08:00:00Z", "--json")
    assert one_object(changed.stdout)["topped"] is False
    moment = {"attempt_time": "2026-03-02T08:00:00+00:00", "topped": False}
    assert catalogue.last("PATCH", "routes/attempts/attempt0").body == moment


def test_a_route_is_shown_with_its_attempts(command: Cli) -> None:
    shown = command("show", "route0")
    assert shown.stdout.splitlines()[0].split() == ["route0", "Arete", "6b+"]
    first, second = rows(shown)[1:]
    assert first == ["attempt0", "Flash", "2026-03-01", "08:00:00", "yes", "42.2", "12", "1.62", "0.50"]
    assert second == ["attempt1", *("2026-03-01", "08:00:00") * 2, "no"], "without a name it has that of its time"
    assert len(one_object(command("show", "route0", "--json").stdout)["attempts"]) == 2
    unknown = command("show", "route9")
    assert (unknown.returncode, "(ROUTE_NOT_FOUND)" in unknown.stderr) == (2, True)


def test_an_attempt_is_uploaded_to_a_route_that_is_there(command: Cli, catalogue: RouteGateway, tmp_path: Path) -> None:
    clip = tmp_path / "go.mp4"
    clip.write_bytes(b"video")
    done = command("attempts", "add", str(clip), "--route=route0", "--name=Second go", "--topped")
    assert (done.returncode, done.stdout) == (0, "attempt2\n"), done.stderr
    sent = {"asset_id": "asset0", "display_name": "Second go", "notes": "", "topped": True}
    assert catalogue.last("POST", "routes/route0/attempts").body == sent
    nowhere = command("attempts", "add", str(clip), "--route=route9", "--json")
    assert one_object(nowhere.stdout)["error"]["reason"] == "ROUTE_NOT_FOUND"
    catalogue.refused["POST", "/api/v1/routes/route0/attempts"] = "ASSET_NOT_READY"
    refused = command("attempts", "add", str(clip), "--route=route0")
    assert (refused.returncode, "(ASSET_NOT_READY)" in refused.stderr) == (2, True)
    assert list(catalogue.assets) == ["asset0"], "a clip that belongs to no attempt does not stay"


def test_attempts_are_looked_at_compared_fetched_and_deleted(
    command: Cli, catalogue: RouteGateway, tmp_path: Path
) -> None:
    assert ["path_length", "1.625"] in rows(command("attempts", "show", "attempt0"))
    assert rows(command("attempts", "recent"))[0] == ["attempt0", "Flash", "Crag", "Arete", "2026-03-01", "08:00:00"]
    compared = command("attempts", "compare", "attempt0", "attempt1")
    assert rows(compared) == [["moves", "12"]]
    assert catalogue.asked[-1].path == "/api/v1/routes/route0/compare"
    target = tmp_path / "poses.parquet"
    written = command("attempts", "get", "attempt0", f"--out={target}", "--data=poses", "--json")
    assert one_object(written.stdout) == {"attempt_id": "attempt0", "file": str(target)}
    assert target.read_bytes() == b"poses"
    deleted = command("attempts", "delete", "attempt0", "--json")
    assert one_object(deleted.stdout) == {"attempt_id": "attempt0", "deleted": True}
    assert list(catalogue.things["attempt"]) == ["attempt1"]


def test_pictures_of_walls_come_and_go(command: Cli, catalogue: RouteGateway, tmp_path: Path) -> None:
    picture = tmp_path / "wall.jpg"
    picture.write_bytes(b"picture")
    added = command("references", "add", str(picture), "--route=route0")
    assert (added.returncode, added.stdout) == (0, "reference0\n"), added.stderr
    assert catalogue.last("POST", "routes/references").body == {"asset_id": "asset0", "route_id": "route0"}
    assert catalogue.assets["asset0"]["kind"] == "IMAGE"
    listed = rows(command("references", "list", "--source=built-in"))
    assert listed == [["reference0", "uploaded", "640x480", "route0"]]
    assert parse_qs(catalogue.asked[-1].query)["source"] == ["BUILT_IN"]
    target = tmp_path / "got" / "wall.jpg"
    assert command("references", "get", "reference0", f"--out={target}").stdout == f"{target}\n"
    assert target.read_bytes() == b"picture"
    assert "was deleted" in command("references", "delete", "reference0").stderr


def test_words_are_searched_and_temporary_files_cleared(command: Cli, catalogue: RouteGateway) -> None:
    found = rows(command("search", "slab", "crag"))
    assert found[1] == ["route", "Arete", "Crag", "/", "Arete", "route0"]
    assert parse_qs(catalogue.asked[-1].query)["q"] == ["slab crag"]
    counted = command("clean", "--older-than=1.5", "--dry-run")
    assert "3 files with 2.0 MiB would be deleted" in counted.stderr
    assert parse_qs(catalogue.asked[-1].query) == {"older_than_sec": ["5400.0"], "dry_run": ["true"]}
    cleared = one_object(command("clean", "--json").stdout)
    assert cleared == {"files": 3, "bytes": 2 * 1024 * 1024, "dry_run": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ("update", "route0"),
        ("areas", "update", "area0"),
        ("add", "Slab"),
        ("attempts", "add", "missing.mp4", "--route=route0"),
        ("attempts", "add", __file__, "--route=route0", "--time=yesterday"),
        ("attempts", "compare", "attempt0"),
        ("attempts", "get", "attempt0"),
        ("references", "add", "missing.jpg"),
        ("clean", "--older-than=-1"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_asked(
    command: Cli, catalogue: RouteGateway, arguments: tuple[str, ...]
) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert catalogue.asked == []
