"""A gateway that keeps sites in memory and is asked over HTTP: what it refuses is up to the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .http_gateway import Answer, Asked, answer_assets, error, served

MATRIX = "0.028 0.002 -4.7\n0.0008 0.025 -5.1\n0.0003 0.0001 0.46\n"
OUTPUTS = {"identities.json": b"{}", "mosaic.mp4": b"video"}


def camera_json(given: dict[str, Any]) -> dict[str, Any]:
    homography = given.get("homography")
    full = homography and {"source": homography["source"], "image_to_map": {"values": [1.0] * 9}, "quality": None}
    empty: dict[str, Any] = {"display_name": "", "sub_videos": [], "distortion": None}
    return {**empty, **given, "homography": full}


def environment_json(given: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "display_name": "",
        "description": "",
        "cameras": [],
        "zones": [],
        "passages": [],
        "ground_plane": None,
        "clock_start_time": None,
        "gallery": None,
        "create_time": "2026-01-01T00:00:00Z",
        "update_time": "2026-01-01T00:00:00Z",
    }
    cameras = [camera_json(row) for row in given.get("cameras") or ()]
    return {**empty, "environment_id": "made-up", **given, "owner": "local", "cameras": cameras}


@dataclass
class Gateway:
    """What it keeps, what it was asked for, and what it refuses.

    :ivar refused: method and path → reason.
    """

    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    url: str = ""
    calls: list[str] = field(default_factory=list)
    bodies: dict[str, Any] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)
    sites: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        self.bodies.setdefault(f"{method} {path}", []).append(body)
        if reason := self.refused.get((method, path)):
            return error(400, reason, field="cameras[0].homography")
        match [method, *path.strip("/").split("/")]:
            case ["POST" | "DELETE", "api", "v1", "assets", *_] | ["PUT", "put", _]:
                return answer_assets(self.assets, self.url, method, path, body)
            case ["POST", "api", "v1", "environments"]:
                made = environment_json(body)
                self.sites[made["environment_id"]] = made
                return 201, made
            case ["GET", "api", "v1", "environments"]:
                return 200, {
                    "environments": list(self.sites.values()),
                    "total": len(self.sites),
                    "next_page_token": None,
                }
            case [_, "api", "v1", "environments", name, *_] if name not in self.sites:
                return error(404, "ENVIRONMENT_NOT_FOUND")
            case ["GET", "api", "v1", "environments", name]:
                return 200, self.sites[name]
            case ["PATCH", "api", "v1", "environments", name]:
                self.sites[name] = environment_json({**self.sites[name], **body})
                return 200, self.sites[name]
            case ["DELETE", "api", "v1", "environments", name]:
                del self.sites[name]
                return 204, None
            case ["PUT", "api", "v1", "environments", name, "cameras", camera, "homography"]:
                return 200, self._calibrated(name, camera)
            case ["POST", "api", "v1", "environments", name, "homographies"]:
                return 200, self._calibrated(name, "c09")
            case ["DELETE", "api", "v1", "environments", name, "cameras", camera, "homography"]:
                return 204, None
            case ["POST", "api", "v1", "environments", name, "calibration"]:
                found = {"calibrated_cameras": ["c09"], "unknown_cameras": ["c99"]}
                return 200, {"environment": self.sites[name], **found}
            case ["GET", "api", "v1", "environments", name, "identities"]:
                return 200, {"identities": [PERSON], "total": 1, "next_page_token": None}
            case ["DELETE", "api", "v1", "environments", name, "identities", _]:
                return 200, {"changed_jobs": 3}
            case ["POST", "api", "v1", "tracks", "query"]:
                return 200, {"presences": [PRESENCE], "total": 2, "next_page_token": "more"}
            case ["POST", "api", "v1", "jobs"] | ["GET", "api", "v1", "jobs", _]:
                return 200, JOB
            case ["GET", "api", "v1", "jobs", _, "outputs", name]:
                return 200, OUTPUTS[name]
        return 404, None  # also of WebSockets: then jobs are asked for

    def _calibrated(self, name: str, camera: str) -> dict[str, Any]:
        quality = {
            "points": 4,
            "rms_error_map": 0.25,
            "max_error_map": 0.5,
            "rms_error_px": 2.0,
            "errors_map": [],
            "condition_number": 9.0,
            "warnings": ["A point is far from where it should be."],
        }
        source = {"points": None, "matrix": {"values": [1.0] * 9}, "file": None}
        homography = {"source": source, "image_to_map": {"values": [1.0] * 9}, "quality": quality}
        for row in self.sites[name]["cameras"]:
            if row["camera"] == camera:
                row["homography"] = homography
        return {"camera": camera, "homography": homography}

    def order(self, *parts: str) -> list[str]:
        """The calls that hold one of the parts, in order."""
        return [call for call in self.calls if any(part in call for part in parts)]


PERSON = {
    "global_id": "0c9d7f5e-0000-4000-8000-000000000001",
    "first_seen_time": "2026-01-01T10:00:00Z",
    "last_seen_time": "2026-01-02T10:00:00Z",
    "cameras": ["c09", "c12"],
    "job_count": 2,
    "expire_time": "2026-02-01T10:00:00Z",
}
PRESENCE = {
    "global_id": PERSON["global_id"],
    "job_id": "job",
    "camera": "c09",
    "zone": "",
    "start_sec": 1.5,
    "end_sec": 4.0,
    "start_time": None,
    "end_time": None,
    "start_frame": 15,
    "stop_frame": 40,
    "first_position": {"x": 1.0, "y": 2.0},
    "last_position": None,
    "distance": 3.25,
    "score": 0.75,
    "path": None,
}
JOB = {
    "job_id": "job",
    "pipeline": "multi_camera",
    "state": "SUCCEEDED",
    "create_time": "",
    "stage": "",
    "progress": 1.0,
    "stages": [{"stage": "resolve", "tasks": 1, "tasks_done": 1, "progress": 1.0}],
    "outputs": [{"name": n, "content_type": "", "size_bytes": len(data)} for n, data in OUTPUTS.items()],
    "failure": None,
}


@contextmanager
def serve_sites() -> Iterator[Gateway]:
    """A gateway on a port of its own."""
    gateway = Gateway()

    def answer(asked: Asked) -> Answer:
        gateway.queries[f"{asked.method} {asked.path}"] = asked.query
        return Answer(*gateway.answer(asked.method, asked.path, asked.body))

    with served(answer) as gateway.url:
        yield gateway
