"""Objects in the bucket that no row knows, as a catalogue that was restored from a backup leaves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.storage.store import ObjectInfo, ObjectStore
from kinemesh_ingest.catalogue.assets import PENDING
from kinemesh_ingest.catalogue.tables import assets, attempts, jobs

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found, and deleted unless only counted."""

    objects: int = 0
    bytes: int = 0
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class _Kind:
    """Objects of one kind: where they lie, and by what in their key a row knows them."""

    prefix: str
    column: Column[Any]
    owner_of: Callable[[str], str]


# Whatever else lies in the bucket is not ours to delete.
_KINDS: Final = (
    _Kind("assets/", assets.c.asset_id, lambda key: key.split("/")[1]),
    _Kind("jobs/", jobs.c.job_id, lambda key: key.split("/")[1]),
    _Kind("routes/", attempts.c.data_prefix, lambda key: key.rpartition("/")[0] + "/"),
)


async def remove_orphans(
    engine: AsyncEngine, store: ObjectStore, age: timedelta, *, count_only: bool = False
) -> Orphans:
    """Delete objects that no row knows, and abort unfinished uploads that no asset waits for.

    :param age: what is younger stays, since its row may be about to be written.
    """
    before = datetime.now(UTC) - age
    objects = size = uploads = 0
    for kind in _KINDS:
        async for page in _pages(store, kind.prefix):
            known = await _known(engine, kind.column, {kind.owner_of(entry.key) for entry in page})
            lost = [
                entry
                for entry in page
                if kind.owner_of(entry.key) not in known and entry.modified is not None and entry.modified < before
            ]
            if lost and not count_only:
                await store.delete(entry.key for entry in lost)
            objects, size = objects + len(lost), size + sum(entry.size for entry in lost)
        uploads += await _abort(engine, store, kind.prefix, before, count_only)
    return Orphans(objects, size, uploads)


async def _pages(store: ObjectStore, prefix: str) -> AsyncIterator[tuple[ObjectInfo, ...]]:
    last = None
    while page := await store.list_objects(prefix, limit=_PAGE, start_after=last):
        last = page[-1].key
        yield page


async def _known(engine: AsyncEngine, column: Column[Any], values: Iterable[str]) -> frozenset[str]:
    async with engine.connect() as connection:
        return frozenset((await connection.execute(select(column).where(column.in_(list(values))))).scalars())


async def _abort(engine: AsyncEngine, store: ObjectStore, prefix: str, before: datetime, count_only: bool) -> int:
    begun = await store.multipart.list_uploads(prefix)
    old = [upload for upload in begun if upload.started is not None and upload.started < before]
    async with engine.connect() as connection:
        query = select(assets.c.upload_id).where(assets.c.state == PENDING)
        waited_for = frozenset(
            (await connection.execute(query.where(assets.c.upload_id.in_([one.upload_id for one in old])))).scalars()
        )
    lost = [upload for upload in old if upload.upload_id not in waited_for]
    if not count_only:
        for upload in lost:
            await store.multipart.abort(upload.key, upload.upload_id)
    return len(lost)
