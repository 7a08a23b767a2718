"""Weights of a user's own, against a gateway that follows a script: how an import goes is up to the test."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinemesh.errors import DeadlineExceeded
from kinemesh.testing.waiting import until
from kinemesh_client import KinemeshClient
from kinemesh_client.cli.weights import Refused, Weights, bring, served
from kinemesh_client.testing import Cli, one_object

from .weights_gateway import FOUND, OUTPUTS, Script, serve_script


@pytest.fixture
def script() -> Iterator[Script]:
    with serve_script() as script:
        yield script


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "best.onnx"
    path.write_bytes(b"weights")
    return path


def test_import_waits_until_the_model_is_served_and_leaves_no_asset(
    bare_cli: Cli, script: Script, weights: Path
) -> None:
    named = ("--name=own", "--label=car", "--label=tyre", "--licence=MIT", f"--url={script.url}")
    done = bare_cli("models", "import", str(weights), *named, "--json")
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["state"] == "READY"
    assert json.loads(script.bodies["POST /api/v1/assets"])["kind"] == "WEIGHTS"
    assert script.bodies["PUT /put/asset0"] == b"weights"
    asked = json.loads(script.bodies["POST /api/v1/models/import"])
    assert asked == {"asset_id": "asset0", "model": "own", "labels": ["car", "tyre"], "license": "MIT"}
    assert script.assets == {}
    assert script.deleted() == ["assets"]


def test_an_embedder_is_imported_as_one_and_has_no_classes(bare_cli: Cli, script: Script, weights: Path) -> None:
    command = ("models", "import", str(weights), "--name=own", "--task=embedder", f"--url={script.url}")
    done = bare_cli(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(script.bodies["POST /api/v1/models/import"])["task"] == "EMBEDDER"
    refused = bare_cli(*command, "--label=car")
    assert refused.returncode == 2
    assert "no classes" in refused.stderr


def test_how_an_embedder_sees_pixels_is_said(bare_cli: Cli, script: Script, weights: Path) -> None:
    command = ("models", "import", str(weights), "--name=own", f"--url={script.url}")
    colors = ("--color-order=bgr", "--mean=-1.5,0,2", "--scale=255")
    done = bare_cli(*command, "--task=embedder", *colors)
    assert done.returncode == 0, done.stderr
    asked = json.loads(script.bodies["POST /api/v1/models/import"])
    assert (asked["color_order"], asked["mean"], asked["scale"]) == ("BGR", [-1.5, 0, 2], [255, 255, 255])
    for said in (
        ("--mean=0",),
        ("--color-order=rgb",),
        ("--task=embedder", "--mean=1,2"),
        ("--task=embedder", "--mean=1,nan,2"),
        ("--task=embedder", "--scale=1,0,1"),
        ("--task=embedder", "--scale=wide"),
        ("--task=embedder", "--color-order=grb"),
    ):
        refused = bare_cli(*command, *said)
        assert (refused.returncode, said[-1].partition("=")[0] in refused.stderr) == (2, True), refused.stderr


def test_refused_weights_exit_with_2_the_reason_and_what_else_is_known(
    bare_cli: Cli, script: Script, weights: Path
) -> None:
    script.states = ["IMPORTING", "REJECTED"]
    command = ("models", "import", str(weights), "--name=own", f"--url={script.url}")
    done = bare_cli(*command)
    assert done.returncode == 2
    assert "This network finds no boxes. (WRONG_HEAD)" in done.stderr
    assert "outputs [1, 1000]" in done.stderr
    assert done.stdout == ""
    error = one_object(bare_cli(*command, "--json").stdout)["error"]
    assert (error["reason"], error["metadata"]) == ("WRONG_HEAD", {"outputs": "[1, 1000]"})
    assert script.assets == {}


def test_names_of_classes_come_from_a_file(bare_cli: Cli, script: Script, weights: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("car\n  wheel gun \n\ntyre")
    done = bare_cli("models", "import", str(weights), "--name=own", f"--labels={names}", f"--url={script.url}")
    assert done.returncode == 0, done.stderr
    assert json.loads(script.bodies["POST /api/v1/models/import"])["labels"] == ["car", "wheel gun", "tyre"]


def test_added_models_are_waited_for(bare_cli: Cli, script: Script) -> None:
    done = bare_cli("models", "add", "yolox_nano", f"--url={script.url}")
    assert done.returncode == 0, done.stderr
    assert "yolox_nano" in done.stderr
    script.states = ["REJECTED"]
    assert bare_cli("models", "add", "yolox_nano", f"--url={script.url}").returncode == 2


async def test_an_import_that_is_cut_off_is_taken_back(script: Script, weights: Path) -> None:
    script.states = ["IMPORTING"]
    async with KinemeshClient(script.url) as client:
        task = asyncio.create_task(bring(client, Weights(weights), "own"))

        async def asked() -> bool:
            return "GET /api/v1/models/own" in script.calls

        await until(asked, 20)
        task.cancel()
        script.states = ["READY"]  # which is when the mesh lets go of it
        with pytest.raises(asyncio.CancelledError):
            await task
    assert script.deleted() == ["models", "assets"]


async def test_a_mesh_that_ends_anyway_is_not_cleared(script: Script, weights: Path) -> None:
    async with KinemeshClient(script.url) as client, served(client, Weights(weights), lasting=False):
        pass
    assert script.deleted() == []


def test_a_video_whose_job_is_refused_does_not_stay(bare_cli: Cli, script: Script, video: Path) -> None:
    script.job_state = ""
    done = bare_cli("run", "pitstop", str(video), "--model=unknown", f"--url={script.url}", "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "MODEL_NOT_FOUND"
    assert script.assets == {}


async def test_waiting_for_an_import_has_an_end(script: Script) -> None:
    script.states = ["IMPORTING"]
    async with KinemeshClient(script.url) as client:
        with pytest.raises(DeadlineExceeded) as raised:
            await client.wait_for_model("own", timeout_s=0)
    assert raised.value.reason == "IMPORT_NOT_OVER"


@pytest.mark.parametrize("state", ["READY", "REJECTED"])
async def test_temporary_weights_are_gone_afterwards(script: Script, weights: Path, state: str) -> None:
    script.states = [state]
    names: list[str] = []
    async with KinemeshClient(script.url) as client:
        try:
            async with served(client, Weights(weights)) as name:
                names.append(name)
        except Refused:
            assert state == "REJECTED"
    assert names == ([script.temporary()] if state == "READY" else [])
    assert f"DELETE /api/v1/models/{script.temporary()}" in script.calls


def test_a_picture_is_tried_and_what_was_found_is_drawn(bare_cli: Cli, script: Script, tmp_path: Path) -> None:
    picture, out = tmp_path / "picture.png", tmp_path / "annotated.png"
    cv2.imwrite(str(picture), np.zeros((80, 64, 3), np.uint8))
    command = ("models", "test", str(picture), "--model=own", "--threshold=0.3", f"--url={script.url}")
    done = bare_cli(*command, f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"car +0\.90 +10 +20 +50 +60", done.stdout)
    form = script.bodies["POST /api/v1/models/own/test"]
    assert b'name="threshold"\r\n\r\n0.3' in form
    assert picture.read_bytes() in form
    drawn = cv2.imread(str(out))
    assert drawn is not None
    assert drawn.shape == (80, 64, 3)
    assert drawn[60, 30].any(), "the lower edge of the box"
    assert not drawn[70:].any()
    assert one_object(bare_cli(*command, "--json").stdout)["detections"] == FOUND["detections"]
    nameless = bare_cli("models", "test", str(picture), f"--url={script.url}", "--json")
    assert one_object(nameless.stdout)["error"]["reason"] == "MODEL_REQUIRED"
    assert nameless.returncode == 2


def test_an_embedders_vector_is_printed(bare_cli: Cli, script: Script, tmp_path: Path) -> None:
    script.found = {**FOUND, "detections": [], "embedding": [0.125, -0.5, *[0.25] * 638]}
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((80, 64, 3), np.uint8))
    command = ("models", "test", str(picture), "--model=person_colors", f"--url={script.url}")
    done = bare_cli(*command)
    assert done.returncode == 0, done.stderr
    assert re.search(r"640 +0\.1250 -0\.5000 0\.2500", done.stdout)
    assert "a vector of 640 numbers in 7 ms" in done.stderr
    assert one_object(bare_cli(*command, "--json").stdout)["embedding"] == script.found["embedding"]


def test_run_pitstop_sends_what_was_asked_for(bare_cli: Cli, script: Script, video: Path, tmp_path: Path) -> None:
    zone = "--zone=fuel:0.1,0.2;0.3,0.2;0.3,0.4"
    named = ("--model=own", "--threshold=0.25", "--series=F1", "--race=Monza", "--trail=2", f"--url={script.url}")
    done = bare_cli("run", "pitstop", str(video), zone, *named, f"--out={tmp_path / 'out'}", "--json")
    assert done.returncode == 0, done.stderr
    assert set(one_object(done.stdout)["results"]) == set(OUTPUTS)
    asked = json.loads(script.bodies["POST /api/v1/jobs"])
    corners = [{"x": 0.1, "y": 0.2}, {"x": 0.3, "y": 0.2}, {"x": 0.3, "y": 0.4}]
    assert (asked["pipeline"], asked["asset_id"]) == ("pitstop", "asset0")
    assert asked["parameters"] == {
        "model": "own",
        "threshold": 0.25,
        "zones": [{"name": "fuel", "polygon": corners}],
        "series": "F1",
        "race": "Monza",
        "style": {"trail_sec": 2.0},
    }
    assert script.deleted() == []


@pytest.mark.parametrize("keep", [True, False])
def test_run_pitstop_with_weights_keeps_them_only_under_a_name(
    bare_cli: Cli, script: Script, video: Path, weights: Path, tmp_path: Path, keep: bool
) -> None:
    named = ("--model=own",) if keep else ()
    places = (f"--url={script.url}", f"--out={tmp_path / 'out'}")
    done = bare_cli("run", "pitstop", str(video), f"--weights={weights}", *named, *places)
    assert done.returncode == 0, done.stderr
    assert json.loads(script.bodies["POST /api/v1/jobs"])["parameters"]["model"] == script.temporary()
    assert (script.temporary() == "own") is keep
    assert script.deleted() == (["assets"] if keep else ["assets", "models"])


def test_run_instructor_names_the_subject(bare_cli: Cli, script: Script, video: Path, tmp_path: Path) -> None:
    done = bare_cli("run", "instructor", str(video), "--at=1.5,0.4,0.6", f"--url={script.url}", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    asked = json.loads(script.bodies["POST /api/v1/jobs"])
    point = {"time_sec": 1.5, "point": {"x": 0.4, "y": 0.6}}
    assert asked == {
        "pipeline": "instructor",
        "asset_id": "asset0",
        "parameters": {"subject_point": point, "threshold": 0.5},
    }


def test_one_file_leaves_a_file_and_nothing_on_the_mesh(
    bare_cli: Cli, script: Script, video: Path, weights: Path, tmp_path: Path
) -> None:
    target, data = tmp_path / "annotated pit stop.mp4", tmp_path / "data"
    command = ("pitstop", str(video), str(target), f"--weights={weights}", f"--url={script.url}")
    done = bare_cli(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["results"] == {"annotated.mp4": str(target)}
    assert target.read_bytes() == OUTPUTS["annotated.mp4"]
    assert script.deleted() == ["assets", "jobs", "assets", "models"]
    assert script.assets == {}

    refused = bare_cli(*command)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    again = bare_cli(*command, "--force", f"--data={data}")
    assert again.returncode == 0, again.stderr
    assert {path.name for path in data.iterdir()} == set(OUTPUTS) - {"annotated.mp4"}


def test_one_file_whose_job_fails_exits_with_3_and_leaves_nothing(
    bare_cli: Cli, script: Script, video: Path, weights: Path, tmp_path: Path
) -> None:
    script.job_state = "FAILED"
    target = tmp_path / "out.mp4"
    done = bare_cli("pitstop", str(video), str(target), f"--weights={weights}", f"--url={script.url}")
    assert done.returncode == 3
    assert not target.exists()
    assert script.deleted() == ["assets", "jobs", "assets", "models"]
