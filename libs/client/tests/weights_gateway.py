"""A gateway that follows a script: how an import goes, and in which states jobs end, is up to the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

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


@contextmanager
def serve_script() -> Iterator[Script]:
    """A gateway that follows a script."""
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
