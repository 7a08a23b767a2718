"""``/api/v1/usage``"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from kinemesh.usage.v1 import usage_pb2
from kinemesh_gateway.messages import to_json
from kinemesh_gateway.rest.context import CallerDep
from kinemesh_gateway.rest.errors import documented

router = APIRouter(prefix="/api/v1/usage", tags=["usage"])


class Measure(BaseModel):
    """One thing that is counted."""

    used: int
    limit: int | None = Field(description="null without a limit")


class Usage(BaseModel):
    """What you use, and may."""

    stored_bytes: Measure = Field(description="of assets, of announced uploads, and of outputs of jobs")
    pending_uploads: Measure = Field(description="announced and not confirmed")
    active_jobs: Measure = Field(description="that have not ended")


@router.get("", response_model=Usage, responses=documented())
async def get_usage(call: CallerDep) -> Any:
    """What counts against your quotas."""
    return to_json(await call(call.mesh.upstreams.usage.GetUsage, usage_pb2.GetUsageRequest()))
