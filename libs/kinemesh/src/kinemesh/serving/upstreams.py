"""Where a service that asks ingest finds it."""

from __future__ import annotations

from pydantic import Field

from kinemesh.settings import Group


class UpstreamSettings(Group):
    """Addresses of the services behind, host:port."""

    ingest: str = Field(default="127.0.0.1:50051", min_length=1)
    timeout_s: float = Field(default=15.0, gt=0, le=300)
