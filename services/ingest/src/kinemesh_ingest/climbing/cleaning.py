"""Temporary files of matching, deleted when their owner says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.route.v1 import route_pb2
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import requests, temporary
from kinemesh_ingest.domain.validation import check_range

_METHOD: Final = "DeleteTemporaryFiles"
_LONGEST_SEC: Final = 1e9


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Deletes what ended jobs left between their stages."""

    engine: AsyncEngine
    store: ObjectStore

    async def delete(
        self, request: route_pb2.DeleteTemporaryFilesRequest, owner: str
    ) -> route_pb2.DeleteTemporaryFilesResponse:
        before: datetime | None = None
        if request.HasField("older_than"):
            seconds = request.older_than.seconds + request.older_than.nanos / 1e9
            check_range("older_than", seconds, 0, _LONGEST_SEC)
            before = datetime.now(UTC) - timedelta(seconds=seconds)
        async with self.engine.connect() as connection:
            known = await requests.known(connection, owner, _METHOD, request.request_id)
            due = await temporary.ended_jobs(connection, owner)
        if known is not None:
            return _answer(known)
        files = size = 0
        for job_id in due:
            cleaned = await temporary.clean(self.store, job_id, before, count_only=request.validate_only)
            files, size = files + cleaned.files, size + cleaned.bytes
            if not request.validate_only and not cleaned.left:
                async with self.engine.begin() as connection:
                    await temporary.note(connection, job_id)
        told = f"{files} {size}"
        if not request.validate_only:
            async with self.engine.begin() as connection:
                told = await requests.claim(connection, owner, _METHOD, request.request_id, told) or told
        return _answer(told)


def _answer(told: str) -> route_pb2.DeleteTemporaryFilesResponse:
    files, size = told.split()
    return route_pb2.DeleteTemporaryFilesResponse(files=int(files), bytes=int(size))
