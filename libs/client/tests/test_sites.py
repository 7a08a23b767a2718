"""Sites on their way to a gateway that follows a script, by the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kinemesh_client.testing import Cli, one_object

OUTPUTS = {"identities.json": b"{}", "mosaic.mp4": b"video"}
SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]
H_TXT = "0.028 0.002 -4.7\n0.0008 0.025 -5.1\n0.0003 0.0001 0.46\n"


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
            return error(400, reason)
        match [method, *path.strip("/").split("/")]:
            case ["POST", "api", "v1", "assets"]:
                asset_id = f"asset{len(self.assets)}"
                named = {"asset_id": asset_id, "state": "READY", "failure": None, "create_time": ""}
                self.assets[asset_id] = {"kind": "VIDEO", **body, **named}
                upload: dict[str, Any] = {
                    "url": f"{self.url}/put/{asset_id}",
                    "headers": {},
                    "parts": None,
                    "part_size": None,
                }
                return 201, {"asset": self.assets[asset_id], "upload": upload}
            case ["PUT", "put", _]:
                return 200, None
            case ["POST", "api", "v1", "assets", asset_id, "confirm"]:
                return 200, self.assets[asset_id]
            case ["DELETE", "api", "v1", "assets", asset_id]:
                del self.assets[asset_id]
                return 204, None
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


def error(status: int, reason: str) -> tuple[int, Any]:
    code = "NOT_FOUND" if status == 404 else "INVALID_ARGUMENT"
    facts = {"status": code, "reason": reason, "metadata": {"field": "cameras[0].homography"}, "request_id": ""}
    return status, {"detail": "No.", "error": facts}


def parsed(kind: str, body: bytes) -> Any:
    """JSON, or the fields of a form; of a file its name and bytes."""
    if kind.startswith("application/json"):
        return json.loads(body)
    if not kind.startswith("multipart/form-data"):
        return body
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    fields: dict[str, Any] = {}
    for part in form.walk():
        assert isinstance(part, Message)
        if name := part.get_param("name", header="content-disposition"):
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            fields[str(name)] = (part.get_filename(), data) if part.get_filename() else data.decode()
    return fields


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            gateway.queries[f"{self.command} {path}"] = query
            status, value = gateway.answer(self.command, path, parsed(self.headers.get("Content-Type") or "", body))
            data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A site of two cameras, one with two recordings, and what it needs beside it."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "H.txt").write_text(H_TXT)
    site = {
        "environment_id": "factory",
        "display_name": "Factory",
        "cameras": [
            {
                "camera": "c09",
                "videos": ["a.mp4", {"file": "b.mp4", "start_sec": 61.5}],
                "homography": {"file": "H.txt", "image_axes": "yx"},
            },
            {
                "camera": "c12",
                "videos": "c.mp4",
                "homography": {"image_points": SQUARE, "map_points": [[x, y, 0] for x, y in SQUARE]},
            },
        ],
        "zones": [{"zone": "door", "map": [[0, 0], [1, 0], [1, 1]]}],
        "ground_plane": {"width": 10, "height": 10},
    }
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site))
    return path


def run_site(cli: Cli, gateway: Gateway, site: Path | str, *more: str) -> Any:
    return cli("run", "multi_camera", f"--environment={site}", f"--url={gateway.url}", *more)


def test_a_described_site_is_made_calibrated_filled_and_run(
    bare_cli: Cli, gateway: Gateway, described: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_site(bare_cli, gateway, described, "--json", f"--out={out}", "--threshold=0.4", "--embedder=mine")
    assert done.returncode == 0, done.stderr
    printed = one_object(done.stdout)
    assert printed["environment_id"] == "factory"
    assert {Path(path).read_bytes() for path in printed["results"].values()} == set(OUTPUTS.values())
    created = gateway.bodies["POST /api/v1/environments"][0]
    assert created["zones"] == [
        {"zone": "door", "map": {"corners": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]}}
    ]
    pairs = created["cameras"][1]["homography"]["source"]["points"]["pairs"]
    assert pairs[2] == {"image": {"x": 10, "y": 10}, "map": {"x": 10, "y": 10}}
    form = gateway.bodies["PUT /api/v1/environments/factory/cameras/c09/homography"][0]
    assert form == {"file": ("H.txt", H_TXT.encode()), "image_axes": "YX"}
    assert "far from where it should be" in done.stderr
    names = {asset_id: asset["filename"] for asset_id, asset in gateway.assets.items()}
    videos = {
        row["camera"]: [(names[v["asset_id"]], v.get("start_sec")) for v in row["sub_videos"]]
        for row in gateway.sites["factory"]["cameras"]
    }
    assert videos == {"c09": [("a.mp4", None), ("b.mp4", 61.5)], "c12": [("c.mp4", None)]}
    assert all(row["homography"] for row in gateway.sites["factory"]["cameras"]), "kept when the videos came"
    job = gateway.bodies["POST /api/v1/jobs"][0]
    wanted = {"environment_id": "factory", "embedder": "mine", "threshold": 0.4, "render": True}
    assert job == {"pipeline": "multi_camera", "parameters": wanted}
    order = [re.sub(r"\d", "", call) for call in gateway.order("PUT", "POST /api/v1/env", "PATCH", "POST /api/v1/jobs")]
    assert order[0] == "POST /api/v/environments"
    assert order[1].endswith("/homography"), "wrong calibration is told before anything is uploaded"
    assert order[2:] == ["PUT /put/asset"] * 3 + ["PATCH /api/v/environments/factory", "POST /api/v/jobs"]


def test_a_site_that_is_there_keeps_what_the_file_does_not_say(
    bare_cli: Cli, gateway: Gateway, described: Path
) -> None:
    lens: dict[str, Any] = {"model": None, "fx": 900.0, "fy": 900.0, "cx": 1.0, "cy": 2.0, "coefficients": []}
    there = {"camera": "c09", "distortion": lens, "sub_videos": [{"asset_id": "old", "start_sec": None}]}
    gateway.sites["factory"] = environment_json({"environment_id": "factory", "cameras": [there]})
    done = run_site(bare_cli, gateway, described, "--json", f"--out={described.parent / 'out'}")
    assert done.returncode == 0, done.stderr
    first, second = gateway.bodies["PATCH /api/v1/environments/factory"]
    assert "environment_id" not in first
    assert first["cameras"][0]["distortion"] == lens
    assert first["cameras"][0]["sub_videos"] == [{"asset_id": "old", "start_sec": None}]
    assert [len(row["sub_videos"]) for row in second["cameras"]] == [2, 1]


@pytest.mark.parametrize("there", [False, True])
def test_what_was_brought_goes_when_the_job_is_refused(
    bare_cli: Cli, gateway: Gateway, described: Path, there: bool
) -> None:
    if there:
        old = {"camera": "c09", "sub_videos": [{"asset_id": "old", "start_sec": None}]}
        gateway.sites["factory"] = environment_json({"environment_id": "factory", "cameras": [old]})
    gateway.refused["POST", "/api/v1/jobs"] = "MODEL_NOT_FOUND"
    done = run_site(bare_cli, gateway, described, "--json")
    assert done.returncode == 2
    assert one_object(done.stdout)["error"]["reason"] == "MODEL_NOT_FOUND"
    assert gateway.assets == {}
    if there:
        assert [row["sub_videos"][0]["asset_id"] for row in gateway.sites["factory"]["cameras"]] == ["old"]
    else:
        assert gateway.sites == {}


def test_refused_calibration_is_told_before_anything_is_uploaded(
    bare_cli: Cli, gateway: Gateway, described: Path
) -> None:
    gateway.refused["PUT", "/api/v1/environments/factory/cameras/c09/homography"] = "POINTS_DEGENERATE"
    done = run_site(bare_cli, gateway, described)
    assert done.returncode == 2
    assert "(POINTS_DEGENERATE)" in done.stderr
    assert gateway.sites == {}
    assert gateway.assets == {}
    assert not gateway.order("POST /api/v1/assets")


def test_a_site_by_its_id_is_run_as_it_is(bare_cli: Cli, gateway: Gateway, tmp_path: Path) -> None:
    done = run_site(bare_cli, gateway, "factory", "--no-render", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert gateway.bodies["POST /api/v1/jobs"][0]["parameters"] == {
        "environment_id": "factory",
        "threshold": 0.5,
        "render": False,
    }
    assert not gateway.order("environments")


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
