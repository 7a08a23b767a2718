"""The pictures show what the sources say, all of it, and can be read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

import diagram
from diagram_facts import Facts, gather
from diagram_mesh import draw_mesh
from diagram_pipelines import crossings, draw_pipelines, place
from diagram_svg import Picture
from kinemesh.bus.topology import STAGES, streams
from kinemesh.embedded.environment import SERVICES
from kinemesh_ingest.domain.pipelines import PIPELINES, Stage, Unit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def facts() -> Facts:
    return gather()


@pytest.fixture(scope="module")
def mesh(facts: Facts) -> Picture:
    return draw_mesh(facts)


def words(picture: Picture) -> list[str]:
    tree = ElementTree.fromstring(picture.svg())
    return [str(node.text) for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_the_pictures_of_the_documents_are_those_of_the_sources() -> None:
    assert diagram.stale(ROOT / "docs/images") == [], "run make diagram"


def test_services_stages_and_streams_are_there(mesh: Picture) -> None:
    shown = words(mesh)
    assert set(SERVICES) <= set(shown)
    assert set(STAGES) <= set(shown)
    assert {str(stream.name).removeprefix("KINEMESH_").lower().replace("_", " ") for stream in streams(1)} <= set(shown)
    assert {"PoseService", "JobService", "MatcherService", "DetectTrackService", "RenderService"} <= set(shown)


def test_facts_are_those_of_the_services(facts: Facts) -> None:
    services = {service.name: service for service in facts.services}
    assert dict(services["render"].apis) == {"RenderService": 1}
    assert services["pose"].stores == ("nats", "s3", "triton")
    assert services["ingest"].stores[0] == "database"
    assert services["matcher"].asks == ("ingest",)
    assert services["gateway"].apis == ()
    assert dict(facts.surfaces)["websocket"] == 2


@pytest.mark.parametrize("name", ["mesh", "pipelines"])
def test_nothing_lies_on_anything_else_or_outside(name: str, mesh: Picture) -> None:
    picture = mesh if name == "mesh" else draw_pipelines(PIPELINES)
    assert len(picture.boxes) > 10
    assert [pair for pair in combinations(picture.boxes, 2) if pair[0].overlaps(pair[1])] == []
    for box in picture.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= picture.width
        assert box.y + box.height <= picture.height


@pytest.mark.parametrize("name", PIPELINES)
def test_arrows_go_to_the_right_and_through_no_stage(name: str) -> None:
    stages, ways = place(PIPELINES[name])
    assert len(set(stages.values())) == len(stages)
    assert crossings(stages, ways) == []
    for (before, after), way in ways.items():
        assert [column for column, _ in way] == list(range(stages[before][0] + 1, stages[after][0]))
    assert {(b, s.name) for s in PIPELINES[name].stages for b in s.after} == set(ways)


def test_a_changed_pipeline_changes_the_picture(tmp_path: Path) -> None:
    pose = PIPELINES["pose"]
    more = replace(pose, stages=(*pose.stages, Stage("praise", "pose", Unit.JOB, after=("finalize",))))
    drawn = draw_pipelines({"pose": more})
    assert "praise" in words(drawn)
    assert drawn.svg() != draw_pipelines({"pose": pose}).svg()


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/diagram.py", "--out", str(tmp_path), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    drawn = tmp_path / "pipelines.svg"
    drawn.write_text(drawn.read_text().replace("stitch", "sew"))
    stale = run("--check")
    assert (stale.returncode, "pipelines.svg" in stale.stderr) == (1, True)
    assert "prefers-color-scheme: dark" in (tmp_path / "architecture.svg").read_text()
