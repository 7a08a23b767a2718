"""Every row of the permission matrix, over REST, WebSocket and gRPC, on one mesh that asks who calls; and the page of
the guide that is about it."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi.routing import APIWebSocketRoute

from kinemesh.access.identity import SCOPES, Identity
from kinemesh.access.methods import NEEDED
from kinemesh.access.tokens import Tokens
from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.media.picture import encode_picture
from kinemesh.media.synthetic import write_clip
from kinemesh.serving.channel import open_channel
from kinemesh.testing.fixtures import build_models
from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings
from tests.docs.pages import GUIDE, run_on

from .permissions import Objects, Row, by_grpc, by_rest, by_websocket, read_matrix

MATRIX = read_matrix()
ROWS = [pytest.param(row, id=row.what) for row in MATRIX.rows]
OUTSIDE = {"detect_track", "matcher", "pose", "render"}  # all other services are ingest's


@dataclass(frozen=True)
class World:
    """The mesh, and ada's objects: some for each way to ask for them, because at the end they are deleted."""

    data_dir: Path
    http: httpx.AsyncClient
    url: str
    tokens: Tokens
    channels: dict[str, Any]
    rest: Objects
    grpc: Objects

    def channel(self, action: str) -> Any:
        package = action.split(".")[1]
        return self.channels.get(package, self.channels["ingest"])


async def made(http: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    answer = await http.post(path, json=body)
    assert answer.is_success, (path, answer.text)
    value: dict[str, Any] = answer.json()
    return value


async def uploaded(http: httpx.AsyncClient, data: bytes, kind: str) -> str:
    described = {"filename": "clip", "content_type": "video/mp4", "size_bytes": len(data), "kind": kind}
    created = await made(http, "/api/v1/assets", described)
    async with httpx.AsyncClient() as storage:
        upload = created["upload"]
        (await storage.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
    asset_id: str = created["asset"]["asset_id"]
    await made(http, f"/api/v1/assets/{asset_id}/confirm", {})
    return asset_id


async def objects_of(http: httpx.AsyncClient, clip: bytes, picture: bytes, name: str) -> Objects:
    """One of everything; its owner is whoever ``http`` shows."""
    found = {"name": "person_detector", "model": "person_detector", "png": base64.b64encode(picture).decode()}
    found["asset_id"] = await uploaded(http, clip, "VIDEO")
    found["picture_id"] = await uploaded(http, picture, "IMAGE")
    described = {"filename": "later.mp4", "content_type": "video/mp4", "size_bytes": 1000}
    found["pending_id"] = (await made(http, "/api/v1/analyze/upload-url", described))["job_id"]
    of_asset = {"asset_id": found["asset_id"]}
    found["job_id"] = (await made(http, "/api/v1/jobs", {"pipeline": "pose", **of_asset}))["job_id"]
    pitstop = {"pipeline": "pitstop", "parameters": {"model": "person_detector"}, **of_asset}
    found["pitstop_id"] = (await made(http, "/api/v1/jobs", pitstop))["job_id"]
    session = await made(http, "/api/v1/sessions", of_asset)
    found |= {"session_id": session["session_id"], "session_job_id": session["job_id"]}
    found["second_session_id"] = (await made(http, "/api/v1/sessions", of_asset))["session_id"]
    site = {"cameras": [{"camera": "c01", "sub_videos": [of_asset]}], "gallery": {"enabled": True}}
    found["environment_id"] = (await made(http, "/api/v1/environments", site))["environment_id"]
    task = {"environment_id": found["environment_id"]}
    found["task_id"] = (await made(http, "/api/v1/processing-tasks/start", task))["task_id"]
    found["area_id"] = (await made(http, "/api/v1/routes/areas", {"display_name": name}))["area_id"]
    route = {"area_id": found["area_id"], "display_name": name}
    found["route_id"] = (await made(http, "/api/v1/routes", route))["route_id"]
    attempt = await made(http, f"/api/v1/routes/{found['route_id']}/attempts", of_asset)
    found["attempt_id"] = attempt["attempt_id"]
    attempt = await made(http, f"/api/v1/routes/{found['route_id']}/attempts", of_asset)
    found["second_attempt_id"] = attempt["attempt_id"]
    image = {"asset_id": found["picture_id"], "display_name": name}
    found["reference_id"] = (await made(http, "/api/v1/routes/references", image))["reference_id"]
    match = {"attempt_id": found["attempt_id"], "reference": "wall-vertical"}
    found["match_id"] = (await made(http, "/api/v1/match", match))["job_id"]
    key = {"owner": "ada", "scopes": ["read"]}
    found["key_id"] = (await made(http, "/api/v1/auth/keys", key))["key_id"]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(open_folder: Path) -> AsyncIterator[World]:
    python, repository = build_models(open_folder / "mock-models", "mock")
    models = TritonModels(python, repository)
    config = MeshConfig(data_dir=open_folder / "guarded", models=models, http_port=0, auth=True, durable=False)
    clip = open_folder / "permissions.mp4"
    write_clip(clip, pts=[i * 3000 for i in range(24)])
    picture = encode_picture(np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8), ".png", 90)
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(Mesh(config))
        await mesh.start()
        tokens = Tokens(mesh.secrets.auth_secret)
        headers = {"Authorization": f"Bearer {tokens.issue(Identity('ada', frozenset(SCOPES)), 3600)}"}
        ada = await stack.enter_async_context(httpx.AsyncClient(base_url=mesh.http_url, timeout=120, headers=headers))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=mesh.http_url, timeout=120))
        channels = {
            name: await stack.enter_async_context(open_channel(f"127.0.0.1:{mesh.ports.grpc[name]}"))
            for name in ("ingest", *OUTSIDE)
        }
        found = [await objects_of(ada, clip.read_bytes(), picture, name) for name in ("rest", "grpc")]
        yield World(mesh.layout.root, http, mesh.http_url, tokens, channels, *found)


async def test_the_examples_about_keys_do_what_their_page_says(world: World, tmp_path: Path) -> None:
    write_clip(tmp_path / "run.mp4", pts=[i * 3000 for i in range(30)])
    ending = await asyncio.to_thread(run_on, world.data_dir, GUIDE / "keys.md", tmp_path)
    assert ending.problems == (), ending.output[-6000:]


def template_of(path: str, templates: list[str]) -> str:
    """The path of the OpenAPI document that a row's path is: of those that fit, the one with the most of it."""
    concrete = re.sub(r"\{\w+\}", "x", path.partition("?")[0])
    fitting = [one for one in templates if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), concrete)]
    return min(fitting, key=lambda one: one.count("{"), default="")


def test_the_matrix_has_every_path_and_every_method() -> None:
    api = create_api(GatewaySettings())
    paths: dict[str, Any] = api.openapi()["paths"]
    written = [action.split() for row in MATRIX.rows for action in row.rest]
    actions = [(method, template_of(path, list(paths))) for method, path in written]
    assert len(set(actions)) == len(actions)
    assert set(actions) == {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert sorted(f"/{action}" for row in MATRIX.rows for action in row.grpc) == sorted(NEEDED)
    from kinemesh_gateway.rest import processing_tasks, watch

    sockets = {r.path for m in (watch, processing_tasks) for r in m.router.routes if isinstance(r, APIWebSocketRoute)}
    assert {path for row in MATRIX.rows for path in row.websocket} == sockets


def test_every_row_with_an_id_hides_it_or_says_why_not() -> None:
    for row in MATRIX.rows:
        if any("{" in action for action in (*row.rest, *row.websocket)):
            assert row.hidden or row.shared, row.what
        assert set(row.allowed) | set(row.hidden) <= set(MATRIX.callers)
    assert {*MATRIX.bodies} <= {action for row in MATRIX.rows for action in row.rest}
    assert {*MATRIX.requests} <= {action for row in MATRIX.rows for action in row.grpc}


@pytest.mark.parametrize("row", ROWS)
async def test_rest(world: World, row: Row) -> None:
    wrong = []
    for action, caller in product(row.rest, MATRIX.in_turn(row)):
        token = caller.token(world.tokens)
        outcome, said = await by_rest(world.http, action, world.rest, token, MATRIX.bodies)
        if outcome != row.outcome(caller):
            wrong.append((action, caller.name, outcome, said))
    assert wrong == [], "\n".join(map(str, wrong))


@pytest.mark.parametrize("row", [row for row in MATRIX.rows if row.websocket], ids=lambda row: str(row.what))
async def test_websocket(world: World, row: Row) -> None:
    wrong = []
    for action, caller in product(row.websocket, MATRIX.in_turn(row)):
        outcome, said = await by_websocket(world.url, action, world.grpc, caller.token(world.tokens))
        if outcome != row.outcome(caller):
            wrong.append((action, caller.name, outcome, said))
    assert wrong == [], "\n".join(map(str, wrong))


@pytest.mark.parametrize("row", ROWS)
async def test_grpc(world: World, row: Row) -> None:
    wrong = []
    for action, caller in product(row.grpc, MATRIX.in_turn(row)):
        given, token = MATRIX.requests.get(action), caller.token(world.tokens)
        everybodys = {name: world.grpc[name] for name in ("model", "key_id", "asset_id")}
        named = world.grpc if row.hidden else everybodys
        channel = world.channel(action)
        for _ in range(5):
            outcome, said = await by_grpc(channel, action, world.grpc, token, given, named)
            # A stream that is refused before its messages are read may end as they are thrown away.
            if not said.startswith("INTERNAL The call ended with INTERNAL"):
                break
        if outcome != row.outcome(caller):
            wrong.append((action, caller.name, outcome, said))
    assert wrong == [], "\n".join(map(str, wrong))
