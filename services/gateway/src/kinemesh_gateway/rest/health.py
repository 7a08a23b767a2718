"""``/api/v1/health``"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from kinemesh.errors import Unavailable
from kinemesh.serving.health import Check
from kinemesh_gateway.rest.context import Mesh
from kinemesh_gateway.rest.errors import documented

router = APIRouter(prefix="/api", tags=["health"])

NEEDED = frozenset(("ingest", "nats", "s3"))
"""Without these no request can be answered; without the others jobs wait."""

_CHECK_S = 3.0


class PartHealth(BaseModel):
    """Whether one part of the mesh answers."""

    status: Literal["ok", "down"]
    needed: bool = Field(description="whether the API is of no use without it")
    latency_ms: float


class Alive(BaseModel):
    """The API can be used."""

    status: Literal["ok"]


class Health(BaseModel):
    """Health of the API and of everything it needs."""

    status: Literal["ok", "degraded", "down"] = Field(description="degraded: jobs are taken, but some wait")
    services: dict[str, PartHealth]


async def _mesh(connection: HTTPConnection) -> Mesh:
    mesh: Mesh = connection.app.state.mesh
    return mesh


@router.get("/v1/health", response_model=Health, responses={503: {"model": Health}})
async def health(mesh: Annotated[Mesh, Depends(_mesh)], response: Response) -> Any:
    """Ask every part now; 503 if one is down that the API cannot do without."""
    parts = await _parts(mesh)
    down = {name for name, part in parts.items() if part.status == "down"}
    response.status_code = 503 if down & NEEDED else 200
    return Health(status="down" if down & NEEDED else "degraded" if down else "ok", services=parts)


@router.get("/health", response_model=Alive, responses=documented(503))
async def alive(mesh: Annotated[Mesh, Depends(_mesh)]) -> Any:
    """Whether the API can be used; 503 if a part is down that it cannot do without."""
    down = sorted(name for name, part in (await _parts(mesh)).items() if part.needed and part.status == "down")
    if down:
        raise Unavailable("PART_DOWN", f"Not available now: {', '.join(down)}.", parts=", ".join(down))
    return {"status": "ok"}


async def _parts(mesh: Mesh) -> dict[str, PartHealth]:
    answers = await asyncio.gather(*(_ask(check) for check in mesh.checks.values()))
    return {
        name: PartHealth(status="ok" if up else "down", needed=name in NEEDED, latency_ms=round(1000 * seconds, 1))
        for name, (up, seconds) in zip(mesh.checks, answers, strict=True)
    }


async def _ask(check: Check) -> tuple[bool, float]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_CHECK_S):
            up = await check()
    except Exception:  # noqa: BLE001 - whatever goes wrong, the part does not answer
        up = False
    return up, time.perf_counter() - started
