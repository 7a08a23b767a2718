"""What routes work with: the mesh behind, and who calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from starlette.requests import HTTPConnection

from kinemesh.access.gate import current
from kinemesh.bus.connection import Bus
from kinemesh.serving.channel import call
from kinemesh.serving.health import Check
from kinemesh.storage import ObjectStore
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Page, page
from kinemesh_gateway.histories import Histories
from kinemesh_gateway.rpc import Upstreams
from kinemesh_gateway.settings import GatewaySettings
from kinemesh_gateway.trees import Trees


@dataclass(frozen=True, slots=True)
class Mesh:
    """Everything behind the gateway; made by the composition root.

    :ivar checks: what health asks, by name.
    """

    settings: GatewaySettings
    upstreams: Upstreams
    store: ObjectStore
    bus: Bus
    histories: Histories
    trees: Trees
    checks: Mapping[str, Check]


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls upstream in the name of an owner."""

    mesh: Mesh
    owner: str

    async def __call__(self, method: Any, request: Any, timeout_s: float | None = None) -> Any:
        timeout_s = timeout_s or self.mesh.settings.upstreams.timeout_s
        return await call(method, request, owner=self.owner, timeout_s=timeout_s)


def caller_of(connection: HTTPConnection) -> Caller:
    """Who calls, as was settled when the request came in."""
    return Caller(connection.app.state.mesh, current().owner)


# Dependencies that are not coroutines would each go through a thread, which takes long while WebSockets are busy.
async def _caller(connection: HTTPConnection) -> Caller:
    return caller_of(connection)


async def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="most items to answer with")] = DEFAULT_LIMIT,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="items to leave out first")] = 0,
    page_token: Annotated[str, Query(max_length=1000, description="`next_page_token` of the page before")] = "",
) -> Page:
    return page(limit, offset, page_token)


async def _idempotency_key(
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=128,
            pattern=r"^[!-~]*$",
            description="a repeated call with the same key answers as the first did",
        ),
    ] = "",
) -> str:
    return key


_ID = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"

CallerDep = Annotated[Caller, Depends(_caller)]
PageDep = Annotated[Page, Depends(_page)]
IdempotencyKey = Annotated[str, Depends(_idempotency_key)]
AssetId = Annotated[str, Path(max_length=128, pattern=_ID)]
JobId = Annotated[str, Path(max_length=128, pattern=_ID)]
SessionId = Annotated[str, Path(max_length=128, pattern=_ID)]
EnvironmentId = Annotated[str, Path(max_length=128, pattern=_ID)]
AreaId = Annotated[str, Path(max_length=128, pattern=_ID)]
RouteId = Annotated[str, Path(max_length=128, pattern=_ID)]
AttemptId = Annotated[str, Path(max_length=128, pattern=_ID)]
ReferenceId = Annotated[str, Path(max_length=128, pattern=_ID)]
Name = Annotated[str, Path(max_length=128, pattern=_ID)]
