"""A gateway that keeps a route catalogue in memory and matches whatever it is given, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .http_gateway import Answer, Asked, answer_assets, error, served

TIME = "2026-03-01T08:00:00Z"
ETAG = '"tree-1"'
OUTPUTS = {"annotated.mp4": b"video", "metrics.json": b"{}"}
METRICS = {
    "time_on_route_sec": 42.25,
    "moves": 12,
    "pauses": 2,
    "pause_sec": 3.5,
    "path_length": 1.625,
    "straightness": 0.5,
    "holds_touched": 9,
}
FRAME = {
    "attempt": 1,
    "camera": "main",
    "frame_index": 7,
    "time_sec": 0.28,
    "verdict": "CANNOT_MATCH",
    "reason": "TOO_FEW_INLIERS",
    "source": "interpolated",
    "matches": 9,
    "inliers": 4,
    "coverage": None,
    "rms_error_px": None,
    "condition_number": None,
}
CANNOT = {
    "reason": "NOT_ENOUGH_MATCHES",
    "message": "No frame of main shows the reference image.",
    "metadata": {"camera": "main", "frames": "60", "matched_frames": "0", "best_inliers": "5"},
}
_OWN: dict[str, dict[str, Any]] = {
    "area": {"description": "", "route_count": 0},
    "route": {"description": "", "grade": "", "reference_id": "", "attempt_count": 0},
    "attempt": {
        "area_id": "",
        "display_name": "",
        "notes": "",
        "attempt_time": TIME,
        "topped": False,
        "has_poses": False,
        "has_features": False,
        "job_id": "",
        "metrics": None,
    },
    "reference": {"source": "UPLOADED", "route_id": "", "display_name": "", "width": 640, "height": 480, "features": 0},
}


@dataclass
class RouteGateway:
    """What it keeps, what it was asked for, and how its jobs end.

    :ivar things: area, route, attempt or reference → id → as it is answered.
    :ivar refused: method and path → reason.
    """

    matches: bool = True
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    things: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in _OWN})

    def add(self, kind: str, **given: Any) -> dict[str, Any]:
        """Keep a thing, named after its kind and number if the caller does not name it."""
        kept = self.things[kind]
        named = {f"{kind}_id": f"{kind}{len(kept)}", "owner": "local", "create_time": TIME, "update_time": TIME}
        made = {**named, **_OWN[kind], **given}
        kept[made[f"{kind}_id"]] = made
        return made

    def calls(self) -> list[str]:
        """Methods and paths, in order, below the API."""
        return [f"{one.method} {one.path.removeprefix('/api/v1/')}" for one in self.asked]

    def last(self, method: str, path: str) -> Asked:
        """The last request to a path below the API."""
        return [one for one in self.asked if (one.method, one.path) == (method, f"/api/v1/{path}")][-1]

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if reason := self.refused.get((asked.method, asked.path)):
            return Answer(*error(409, reason))
        match [asked.method, *asked.path.removeprefix("/api/v1/").strip("/").split("/")]:
            case [_, "assets", *_] | ["PUT", "put", _]:
                return Answer(*answer_assets(self.assets, self.url, asked.method, asked.path, asked.body))
            case [method, "routes", *rest]:
                return self._catalogue(method, rest, asked)
            case ["POST", "jobs"] | ["GET", "jobs", _]:
                return Answer(200, self._job())
            case ["GET", "jobs", _, "outputs", name]:
                return Answer(200, OUTPUTS[name])
            case [method, "match", *rest]:
                return self._match(method, rest)
        return Answer(404)  # also of WebSockets: then jobs are asked for

    def _catalogue(self, method: str, rest: list[str], asked: Asked) -> Answer:
        match [method, *rest]:
            case ["GET", "tree"]:
                known = asked.headers.get("If-None-Match") == ETAG
                return Answer(304, None, {"ETag": ETAG}) if known else Answer(200, self._tree(), {"ETag": ETAG})
            case ["GET", "search"]:
                hits = [
                    {"type": kind, "path": "Crag / Arete", "area": None, "route": None, "attempt": None, kind: thing}
                    for kind in ("area", "route", "attempt")
                    for thing in self.things[kind].values()
                ]
                return self._page("hits", hits)
            case ["DELETE", "temporary"]:
                return Answer(200, {"files": 3, "bytes": 2 * 1024 * 1024})
            case ["GET", "attempts", "recent"]:
                named = {"route_name": "Arete", "area_name": "Crag"}
                return self._page("attempts", [{**one, **named} for one in self.things["attempt"].values()])
            case ["GET", "attempts", _, "video" | "poses" | "features" as data]:
                return Answer(200, data.encode())
            case ["GET", "references", _, "image"]:
                return Answer(200, b"picture")
            case [_, "areas", *named]:
                return self._things("area", named, asked)
            case [_, "references", *named]:
                return self._things("reference", named, asked)
            case [_, "attempts", *named]:
                return self._things("attempt", named, asked)
            case ["GET", _, "compare"]:
                attempts = list(self.things["attempt"].values())
                rows = [{"metric": "moves", "unit": "", "values": [12, None]}]
                return Answer(200, {"attempts": attempts, "rows": rows})
            case ["POST", route_id, "attempts"]:
                return Answer(201, self.add("attempt", route_id=route_id, **asked.body))
            case ["GET", _, "attempts"]:
                return self._page("attempts", list(self.things["attempt"].values()))
        return self._things("route", rest, asked)

    def _things(self, kind: str, named: list[str], asked: Asked) -> Answer:
        kept = self.things[kind]
        if named and named[0] not in kept:
            return Answer(*error(404, f"{kind.upper()}_NOT_FOUND"))
        match [asked.method, *named]:
            case ["POST"]:
                return Answer(201, self.add(kind, **asked.body))
            case ["GET"]:
                return self._page(f"{kind}s", list(kept.values()))
            case ["GET", name]:
                return Answer(200, kept[name])
            case ["PATCH", name]:
                kept[name] |= asked.body
                return Answer(200, kept[name])
            case ["DELETE", name]:
                del kept[name]
        return Answer(204)

    def _tree(self) -> dict[str, Any]:
        routes = list(self.things["route"].values())
        return {"areas": [{**area, "routes": routes} for area in self.things["area"].values()]}

    def _page(self, name: str, rows: list[dict[str, Any]]) -> Answer:
        return Answer(200, {name: rows, "total": len(rows), "next_page_token": None})

    def _job(self) -> dict[str, Any]:
        outputs = [{"name": n, "content_type": "", "size_bytes": len(data)} for n, data in OUTPUTS.items()]
        named = {"job_id": "job", "pipeline": "route_match", "create_time": "", "stage": "", "progress": 1.0}
        stages = [{"stage": "match", "tasks": 1, "tasks_done": 1, "progress": 1.0}]
        if self.matches:
            return {**named, "state": "SUCCEEDED", "stages": stages, "outputs": outputs, "failure": None}
        return {**named, "state": "FAILED", "stages": stages, "outputs": [], "failure": CANNOT}

    def _match(self, method: str, rest: list[str]) -> Answer:
        match [method, *rest]:
            case ["POST"]:
                urls = dict.fromkeys(("status_url", "result_url", "websocket_url"), "")
                return Answer(202, {"job_id": "job", "status": "queued", **urls})
            case ["GET", "job"]:
                status, sentence = ("completed", None) if self.matches else ("failed", CANNOT["message"])
                where = {"stage": None, "progress": 1.0, "error": sentence}
                return Answer(200, {"job_id": "job", "status": status, **where})
            case ["GET", "job", "result"] if not self.matches:
                return Answer(*error(409, "NOT_ENOUGH_MATCHES", best_inliers="5", matched_frames="0"))
            case ["GET", "job", "result"]:
                return Answer(200, RESULT)
            case ["GET", "job", "frames"]:
                return self._page("frames", [FRAME])
            case ["DELETE", "job"]:
                return Answer(204)
        return Answer(*error(404, "JOB_NOT_FOUND"))


_CLIMB = {"attempt": 1, "attempt_id": "", "name": "first.mp4"}
RESULT: dict[str, Any] = {
    "job_id": "job",
    "video_url": "http://127.0.0.1/annotated.mp4",
    "verdict": "WEAK",
    "reference_features": 5000,
    "quality": [
        {
            **{**_CLIMB, "camera": "attempt1"},
            "verdict": "MATCHED",
            "matched_frames": 50,
            "interpolated_frames": 8,
            "unmatched_frames": 2,
        },
        {
            **{**_CLIMB, "camera": "attempt2", "attempt": 2, "name": "second.mp4"},
            "verdict": "WEAK",
            "matched_frames": 20,
            "interpolated_frames": 0,
            "unmatched_frames": 40,
        },
    ],
    "metrics": [{**_CLIMB, **METRICS}],
    "holds": [{"hold": 1, "x": 0.25, "y": 0.75, "attempts": [1, 2]}],
}


@contextmanager
def serve_routes() -> Iterator[RouteGateway]:
    """A gateway on a port of its own."""
    gateway = RouteGateway()
    with served(gateway.answer) as gateway.url:
        yield gateway
