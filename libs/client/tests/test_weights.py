"""Weights of a user's own, against a gateway that follows a script: how an import goes is up to the test."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest

from kinemesh.errors import DeadlineExceeded
from kinemesh.testing.waiting import until
from kinemesh_client import KinemeshClient
from kinemesh_client.cli.weights import Refused, Weights, bring, served
from kinemesh_client.testing import Cli, one_object

OUTPUTS = {"annotated.mp4": b"video", "events.csv": b"events", "report.json": b"{}"}
FAILURE = {
    "reason": "WRONG_HEAD",
    "message": "This network finds no boxes.",
    "metadata": {"outputs": "[1, 1000]"},
    "code": "INVALID_ARGUMENT",
}
FOUND = {
    "detections": [
        {"box": {"x1": 10.0, "y1": 20.0, "x2": 50.0, "y2": 60.0}, "score": 0.9, "class_id": 0, "label": "car"}
    ],
    "poses": [],
    "embedding": [],
    "inference_ms": 7.0,
    "width": 64,
    "height": 80,
}


def model_json(name: str, state: str, failure: dict[str, Any] | None = None) -> dict[str, Any]:
    texts = dict.fromkeys(("owner", "description", "license", "runtime", "sha256"), "")
    numbers = dict.fromkeys(("embedding_size", "size_bytes"), 0)
    times = {"create_time": None, "update_time": None}
    facts = {"task": "DETECTOR", "source": "IMPORTED", "labels": ["car"], "input_width": 64, "input_height": 64}
    named = {"model": name, "state": state, "is_default": False, "failure": failure}
    return {**texts, **numbers, **times, **facts, **named}


@dataclass
class Script:
    """What the gateway does, and what it was asked for.

    :ivar states: of the imported model, one per question; the last one stays.
    :ivar job_state: in which jobs end at once; empty to refuse them.
    :ivar found: on a picture.
    """

    states: list[str] = field(default_factory=lambda: ["IMPORTING", "IMPORTING", "READY"])
    job_state: str = "SUCCEEDED"
    found: dict[str, Any] = field(default_factory=lambda: FOUND)
    url: str = ""
    calls: list[str] = field(default_factory=list)
    bodies: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if method != "GET":
            self.bodies[f"{method} {path}"] = body
        match [method, *path.strip("/").split("/")]:
            case ["POST", "api", "v1", "assets"]:
                asset_id = f"asset{len(self.assets)}"
                self.assets[asset_id] = asset = {
                    "kind": "VIDEO",
                    **json.loads(body),
                    "asset_id": asset_id,
                    "state": "READY",
                    "failure": None,
                    "create_time": "",
                }
                upload: dict[str, Any] = {
                    "url": f"{self.url}/put/{asset_id}",
                    "headers": {},
                    "parts": None,
                    "part_size": None,
                }
                return 201, {"asset": asset, "upload": upload}
            case ["PUT", "put", _]:
                return 200, None
            case ["POST", "api", "v1", "assets", asset_id, "confirm"]:
                return 200, self.assets[asset_id]
            case ["DELETE", "api", "v1", "assets", asset_id]:
                del self.assets[asset_id]
                return 204, None
            case ["POST", "api", "v1", "models", "import" | "add"]:
                return 202, model_json(json.loads(body)["model"], "IMPORTING")
            case ["GET", "api", "v1", "models"]:
                return 200, {"models": [model_json("own", "READY")], "total": 1, "next_page_token": None}
            case ["POST", "api", "v1", "models", _, "test"]:
                return 200, self.found
            case ["GET", "api", "v1", "models", name]:
                state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
                return 200, model_json(name, state, FAILURE if state == "REJECTED" else None)
            case ["DELETE", "api", "v1", "models" | "jobs", _]:
                return 204, None
            case ["GET", "api", "v1", "pipelines"]:
                return 200, {"pipelines": [], "total": 0, "next_page_token": None}
            case ["POST", "api", "v1", "jobs"] if not self.job_state:
                facts = {"status": "NOT_FOUND", "reason": "MODEL_NOT_FOUND", "metadata": {}, "request_id": ""}
                return 404, {"detail": "There is no such model.", "error": facts}
            case ["POST", "api", "v1", "jobs"] | ["GET", "api", "v1", "jobs", _]:
                return 200, self._job()
            case ["GET", "api", "v1", "jobs", _, "outputs", name]:
                return 200, OUTPUTS[name]
        return 404, None  # also of WebSockets: then jobs are asked for

    def _job(self) -> dict[str, Any]:
        outputs = [{"name": n, "content_type": "", "size_bytes": len(data)} for n, data in OUTPUTS.items()]
        named = {"job_id": "job", "pipeline": "pitstop", "state": self.job_state, "create_time": ""}
        failure = FAILURE if self.job_state == "FAILED" else None
        return {**named, "stage": "", "progress": 1.0, "stages": [], "outputs": outputs, "failure": failure}

    def deleted(self) -> list[str]:
        """What was deleted, in order, by kind."""
        return [call.split("/")[3] for call in self.calls if call.startswith("DELETE")]

    def temporary(self) -> str:
        """The name that weights were served under."""
        return str(json.loads(self.bodies["POST /api/v1/models/import"])["model"])


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = script.answer(self.command, self.path.partition("?")[0], body)
            data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


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
