"""What an owner may use: counted in the transaction that would add to it, one transaction of an owner at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.access.gate import current
from kinemesh.errors import ResourceExhausted
from kinemesh.serving.interceptor import caller
from kinemesh.usage.v1 import usage_pb2, usage_pb2_grpc
from kinemesh_ingest.catalogue import usage
from kinemesh_ingest.settings import QuotaSettings

Count = Callable[[AsyncConnection, str], Awaitable[int]]

_GB: Final = 1_000_000_000
# What is counted: how, what it is called, and after how many seconds it is worth asking again.
_COUNTED: Final[dict[str, tuple[Count, str, int]]] = {
    "stored_bytes": (usage.stored_bytes, "bytes of storage", 3600),
    "pending_uploads": (usage.pending_uploads, "uploads that are not confirmed", 60),
    "active_jobs": (usage.active_jobs, "jobs that have not ended", 10),
}


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits, and their enforcement. The methods are called last in a transaction, when what is new stands in it."""

    settings: QuotaSettings

    def limits(self) -> dict[str, int]:
        """What the present caller may use, by what is counted: as their key says, else as the settings do."""
        found = {
            "stored_bytes": round(self.settings.storage_gb * _GB) or None,
            "pending_uploads": self.settings.pending_uploads or None,
            "active_jobs": self.settings.active_jobs or None,
        }
        with suppress(LookupError):
            own = current().limits
            found |= {
                name: value
                for name, value in (("stored_bytes", own.storage_bytes), ("active_jobs", own.active_jobs))
                if value is not None
            }
        return {name: limit for name, limit in found.items() if limit is not None}

    async def require_upload(self, connection: AsyncConnection, owner: str) -> None:
        """Refuse an upload that was just added and is one too many, or too large.

        :raises ResourceExhausted: QUOTA_EXCEEDED.
        """
        await self._require(connection, owner, "pending_uploads", "stored_bytes")

    async def require_job(self, connection: AsyncConnection, owner: str) -> None:
        """Refuse a job that was just added and is one too many, or whose results would have no room.

        :raises ResourceExhausted: QUOTA_EXCEEDED.
        """
        await self._require(connection, owner, "active_jobs", "stored_bytes")

    async def require_storage(self, connection: AsyncConnection, owner: str) -> None:
        """Refuse bytes that were just added and are too many.

        :raises ResourceExhausted: QUOTA_EXCEEDED.
        """
        await self._require(connection, owner, "stored_bytes")

    async def bytes_left(self, connection: AsyncConnection, owner: str) -> int | None:
        """Bytes that an owner may still store; None without a limit."""
        limit = self.limits().get("stored_bytes")
        return None if limit is None else max(0, limit - await usage.stored_bytes(connection, owner))

    async def _require(self, connection: AsyncConnection, owner: str, *names: str) -> None:
        limits = {name: limit for name, limit in self.limits().items() if name in names}
        if not limits:
            return
        await usage.in_turn(connection, owner)
        for name, limit in limits.items():
            count, noun, retry_after_s = _COUNTED[name]
            used = await count(connection, owner)
            if used > limit:
                raise ResourceExhausted(
                    "QUOTA_EXCEEDED",
                    f"That would be {used} {noun}, of {limit} at most.",
                    quota=name,
                    used=used,
                    limit=limit,
                    retry_after_s=retry_after_s,
                )


class UsageRpc(usage_pb2_grpc.UsageServiceServicer):
    """Tells owners what they use."""

    def __init__(self, engine: AsyncEngine, quotas: Quotas) -> None:
        self._engine = engine
        self._quotas = quotas

    async def GetUsage(  # noqa: N802
        self, _request: usage_pb2.GetUsageRequest, context: Any
    ) -> usage_pb2.GetUsageResponse:
        owner = caller(context)
        limits = self._quotas.limits()
        async with self._engine.connect() as connection:
            measures = {
                name: usage_pb2.Measure(used=await count(connection, owner), limit=limits.get(name))
                for name, (count, _, _) in _COUNTED.items()
            }
        return usage_pb2.GetUsageResponse(**measures)
