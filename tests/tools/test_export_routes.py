"""The routes as they are exported: all that are served, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import export_routes
from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported() -> dict[str, Any]:
    return export_routes.export(create_api(GatewaySettings()))


@pytest.fixture(scope="module")
def routes(exported: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(route["method"], route["path"]): route for route in exported["routes"]}
    assert len(found) == len(exported["routes"])
    return found


def test_all_routes_of_the_document_are_there(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    document = json.loads((ROOT / "tests/contract/openapi.json").read_text())
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented <= set(routes)
    further = {(method, path) for method, path in set(routes) - documented if method != "HEAD"}
    assert further == {
        ("GET", "/docs"), ("GET", "/docs/oauth2-redirect"), ("GET", "/redoc"), ("GET", "/openapi.json"),
        ("WEBSOCKET", "/ws/jobs/{job_id}"), ("WEBSOCKET", "/ws/tracking/{task_id}"),
    }  # fmt: skip


def test_a_call_says_what_it_takes_and_answers(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    create = routes["POST", "/api/v1/jobs"]
    assert (create["name"], create["surface"]) == ("create_job", "jobs")
    assert create["request"] == {"application/json": "JobCreate"}
    assert create["responses"]["202"] == "Job"
    assert create["responses"]["404"] == "ErrorAnswer"
    assert [parameter["name"] for parameter in create["parameters"] if parameter["in"] == "header"] == [
        "Idempotency-Key"
    ]
    assert routes["POST", "/api/v1/analyze"]["deprecated"] is True
    assert not create["deprecated"]
    states = next(p for p in routes["GET", "/api/v1/jobs"]["parameters"] if p["name"] == "state")
    assert states["type"] == "string[] | null"


def test_forms_name_their_fields(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    form = routes["POST", "/api/pitstop/jobs"]
    assert form["request"] == {"multipart/form-data": "form"}
    fields = {field["name"]: field for field in form["parameters"] if field["in"] == "form"}
    assert {"file", "series", "race", "notes", "model", "threshold", "zones"} <= set(fields)
    assert fields["file"]["required"]
    assert fields["file"]["type"] == "file"


def test_a_file_has_a_head_without_models(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    path = "/api/v1/jobs/{job_id}/outputs/{name}"
    assert set(routes["HEAD", path]["responses"]) == set(routes["GET", path]["responses"])
    assert set(routes["HEAD", path]["responses"].values()) == {None}


def test_websockets_name_their_query(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    parameters = routes["WEBSOCKET", "/ws/tracking/{task_id}"]["parameters"]
    assert {"task_id": "path", "since_frame": "query"}.items() <= {p["name"]: p["in"] for p in parameters}.items()


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/jobs/{job_id}", "read"),
        ("POST", "/api/v1/jobs", "write"),
        ("POST", "/api/v1/tracks/query", "read"),
        ("DELETE", "/api/v1/models/{name}", "models"),
        ("POST", "/api/v1/auth/keys/{key_id}/revoke", "admin"),
        ("GET", "/api/v1/auth/me", "any"),
        ("GET", "/api/health", "none"),
        ("WEBSOCKET", "/ws/jobs/{job_id}", "read"),
    ],
)
def test_a_route_says_what_a_token_must_allow(
    routes: dict[tuple[str, str], dict[str, Any]], method: str, path: str, scope: str
) -> None:
    assert routes[method, path]["scope"] == scope


def test_every_route_is_described(routes: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert [key for key, route in routes.items() if not route["summary"] and route["surface"] != "documentation"] == []


def test_the_command_gives_the_same_bytes_again(tmp_path: Path, exported: dict[str, Any]) -> None:
    out = tmp_path / "routes.json"
    command = [sys.executable, "tools/export_routes.py", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert out.read_text() == export_routes.text(create_api(GatewaySettings()))
    assert json.loads(out.read_text()) == exported
