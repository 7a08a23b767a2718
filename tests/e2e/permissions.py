"""The permission matrix as data, and how each of its rows is tried."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf import descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2  # noqa: F401 - into the pool
from grpc_reflection.v1alpha import reflection_pb2  # noqa: F401 - into the pool
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kinemesh.access.identity import Identity
from kinemesh.access.tokens import Tokens
from kinemesh.serving.status import from_rpc_error

FILE = Path(__file__).parents[1] / "contract" / "permissions.toml"
OK, HIDDEN, NO_SCOPE = "ok", "NOT_FOUND", "SCOPE_MISSING"
_REFUSALS = frozenset(("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", NO_SCOPE))
# Said of what an object lacks, to those who may see the object.
_BELOW = frozenset(("OUTPUT_NOT_FOUND", "IDENTITY_NOT_FOUND", "UNKNOWN_CAMERA"))
_IDS = re.compile(r"\{(\w+)\}")

Objects = Mapping[str, str]
"""The ids of ada's objects by what the matrix calls them."""


@dataclass(frozen=True)
class Caller:
    """Who calls; ``refusal`` is why nobody believes them."""

    name: str
    refusal: str = ""
    owner: str = ""
    scopes: Sequence[str] = ()

    def token(self, tokens: Tokens) -> str:
        """What they show; empty if nothing."""
        if not self.owner:
            return "garbage" if self.refusal == "TOKEN_INVALID" else ""
        valid_s = -60 if self.refusal else 600
        return tokens.issue(Identity(self.owner, frozenset(self.scopes)), valid_s)


@dataclass(frozen=True)
class Row:
    """What some may do."""

    what: str
    allowed: Sequence[str]
    hidden: Sequence[str] = ()
    shared: str = ""
    rest: Sequence[str] = ()
    grpc: Sequence[str] = ()
    websocket: Sequence[str] = ()

    def outcome(self, caller: Caller) -> str:
        """How a call must end."""
        if caller.name in self.allowed:
            return OK
        return caller.refusal or (HIDDEN if caller.name in self.hidden else NO_SCOPE)


@dataclass(frozen=True)
class Matrix:
    """All of it."""

    callers: Mapping[str, Caller]
    rows: Sequence[Row]
    bodies: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, Any] = field(default_factory=dict)

    def in_turn(self, row: Row) -> list[Caller]:
        """Those who may come last: what they do may end what the others ask for."""
        return sorted(self.callers.values(), key=lambda caller: caller.name in row.allowed)


def read_matrix() -> Matrix:
    whole = tomllib.loads(FILE.read_text())
    callers = {name: Caller(name, **values) for name, values in whole["callers"].items()}
    return Matrix(callers, [Row(**row) for row in whole["rows"]], whole["bodies"], whole["requests"])


def filled(value: Any, objects: Objects) -> Any:
    """The same with the ids of objects in place of their names."""
    text = re.sub(r"\{(\w+)\}", lambda found: objects.get(found[1], found[0]), json.dumps(value))
    return json.loads(text)


async def by_rest(
    http: httpx.AsyncClient, action: str, objects: Objects, token: str, bodies: Mapping[str, Any]
) -> tuple[str, str]:
    """How a request ends, and what was answered."""
    method, path = action.split()
    path = _IDS.sub(lambda found: objects[found[1]], path)
    headers = {"X-Kinemesh-Owner": "ada", **({"Authorization": f"Bearer {token}"} if token else {})}
    how: dict[str, Any] = {"json": filled(bodies[action], objects)} if action in bodies else {}
    if action.endswith("/homographies"):
        how = {"files": {"file": ("homography_points_c01_scene.npz", b"none", "application/octet-stream")}}
    answer = await http.request(method, path, headers=headers, **how)
    try:
        reason = answer.json()["error"]["reason"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        reason = ""
    if reason in _REFUSALS:
        assert answer.status_code == (403 if reason == NO_SCOPE else 401)
        return reason, answer.text
    hidden = answer.status_code == 404 and reason not in _BELOW
    return HIDDEN if hidden else OK, f"{answer.status_code} {answer.text[:300]}"


async def by_websocket(url: str, action: str, objects: Objects, token: str) -> tuple[str, str]:
    """How a WebSocket ends."""
    path = _IDS.sub(lambda found: objects[found[1]], action)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(url.replace("http", "ws", 1) + path, additional_headers=headers, max_size=None) as socket:
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            return reason if reason in _REFUSALS else HIDDEN if code == 4404 else OK, f"{code} {reason}"
    return OK, ""


async def by_grpc(
    channel: grpc.aio.Channel, action: str, objects: Objects, token: str, given: Any, named: Objects
) -> tuple[str, str]:
    """How a call ends.

    :param given: JSON of the request, with ids of ``objects``; None fills the ids at its top from ``named``.
    """
    service, _, name = action.rpartition("/")
    if service.startswith("kinemesh."):
        package = service.rpartition(".")[0]
        import_module(f"{package}.{package.split('.')[1]}_pb2")
    method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    request = GetMessageClass(method.input_type)()
    if given is not None:
        ParseDict(filled(given, objects), request)
    else:
        for entry in method.input_type.fields:
            if entry.name == "attempt_ids" and named:
                request_ids = [named["attempt_id"], named["second_attempt_id"]]
                getattr(request, entry.name).extend(request_ids)
            elif entry.name in named and not entry.is_repeated:
                setattr(request, entry.name, named[entry.name])
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call: Any = getattr(channel, kind)(
        f"/{action}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    metadata = [("x-kinemesh-owner", "ada"), *([("authorization", f"Bearer {token}")] if token else [])]
    answering = call(_once(request) if method.client_streaming else request, metadata=metadata, timeout=30)
    try:
        if method.server_streaming:
            async for _ in answering:
                break
            answering.cancel()
        else:
            await answering
    except grpc.aio.AioRpcError as error:
        found = from_rpc_error(error)
        code = "PERMISSION_DENIED" if found.reason == NO_SCOPE else "UNAUTHENTICATED"
        if found.reason in _REFUSALS and error.code().name == code:
            return found.reason, found.message
        hidden = error.code() is grpc.StatusCode.NOT_FOUND and found.reason not in _BELOW
        return HIDDEN if hidden else OK, f"{found.reason} {found.message}"
    return OK, ""


async def _once(request: Any) -> AsyncIterator[Any]:
    yield request
