"""How to reach the model server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TritonSettings(BaseModel):
    """Address and limits of one Triton server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(default="127.0.0.1:8001", description="host:port of Triton's gRPC")
    secure: bool = False
    # auto: use it if the endpoint is this machine and Triton can open the region, which a container may not.
    shared_memory: Literal["auto", "on", "off"] = "auto"
    timeout_s: float = Field(
        default=30.0, gt=0, description="deadline of one inference, waiting in Triton's queue included"
    )
    max_in_flight: int = Field(default=8, ge=1, le=256, description="requests at once; as many regions are held")
