"""Assets in the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh_ingest.catalogue import attempts, environments, references
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.models import IMPORTING
from kinemesh_ingest.catalogue.owned import find_all_owned, find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, assets, job_inputs, jobs, models, sessions
from kinemesh_ingest.metrics import UPLOADS_SETTLED, UPLOADS_SETTLED_BYTES

PENDING: Final = "PENDING"
READY: Final = "READY"
REJECTED: Final = "REJECTED"

VIDEO: Final = "VIDEO"
IMAGE: Final = "IMAGE"
WEIGHTS: Final = "WEIGHTS"


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an asset, PENDING."""
    row: AnyRow = (await connection.execute(insert(assets).values(state=PENDING, **values).returning(assets))).one()
    return row


async def find(connection: AsyncConnection, asset_id: str, owner: str, *, lock: bool = False) -> AnyRow:
    """An asset of this owner; somebody else's is as unknown as one that does not exist.

    :raises NotFound: ASSET_NOT_FOUND.
    """
    return await find_owned(connection, assets.c.asset_id, asset_id, owner, lock=lock)


async def find_all(
    connection: AsyncConnection, asset_ids: Collection[str], owner: str, *, lock: bool = False
) -> dict[str, AnyRow]:
    """Assets of this owner by id.

    :raises NotFound: ASSET_NOT_FOUND.
    """
    rows = await find_all_owned(connection, assets.c.asset_id, asset_ids, owner, lock=lock)
    return {row.asset_id: row for row in rows}


def require_ready(row: AnyRow, kind: str, field: str) -> None:
    """Refuse an asset that is of another kind than ``field`` takes, or has not been accepted.

    :raises InvalidArgument: WRONG_ASSET_KIND.
    :raises FailedPrecondition: ASSET_NOT_READY.
    """
    if row.kind != kind:
        raise InvalidArgument(
            "WRONG_ASSET_KIND", f"{field} takes an asset of kind {kind}, not {row.kind}.", field=field, kind=row.kind
        )
    require_accepted(row)


def require_accepted(row: AnyRow) -> None:
    """Refuse an asset that has not been confirmed.

    :raises FailedPrecondition: ASSET_NOT_READY.
    """
    if row.state != READY:
        raise FailedPrecondition(
            "ASSET_NOT_READY", "The asset has not been uploaded, confirmed and accepted.", state=row.state
        )


async def settle(connection: AsyncConnection, asset_id: str, **values: Any) -> AnyRow:
    """Set what the check of an upload found."""
    change = update(assets).where(assets.c.asset_id == asset_id).values(update_time=func.now(), **values)
    row: AnyRow = (await connection.execute(change.returning(assets))).one()
    UPLOADS_SETTLED.labels(row.kind, row.state).inc()
    UPLOADS_SETTLED_BYTES.labels(row.kind, row.state).inc(row.size_bytes)
    return row


async def open_upload(connection: AsyncConnection, asset_id: str, upload_id: str, instead_of: str) -> AnyRow | None:
    """Give an upload the parts of ``upload_id`` unless somebody else was first; None if the asset is gone."""
    change = update(assets).where(assets.c.asset_id == asset_id, assets.c.upload_id == instead_of)
    await connection.execute(change.values(upload_id=upload_id))
    return (await connection.execute(select(assets).where(assets.c.asset_id == asset_id))).one_or_none()


async def note_checked(connection: AsyncConnection, asset_id: str, checked: int) -> None:
    """Remember how far the check of the checksum is."""
    await connection.execute(update(assets).where(assets.c.asset_id == asset_id).values(checked_bytes=checked))


async def remove(connection: AsyncConnection, asset_id: str) -> None:
    """Delete an asset that no unfinished job reads, nothing in the catalogue names, and no import is of.

    :raises FailedPrecondition: ASSET_IN_USE.
    """
    reading = (
        select(job_inputs.c.job_id)
        .join(jobs, jobs.c.job_id == job_inputs.c.job_id)
        .where(job_inputs.c.asset_id == asset_id, jobs.c.state.not_in(ENDED))
        .limit(1)
    )
    job_id = await connection.scalar(reading) or await references.drawing_on(connection, asset_id)
    if job_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "A job that has not ended reads this asset.", job_id=job_id)
    session_id = await connection.scalar(select(sessions.c.session_id).where(sessions.c.asset_id == asset_id).limit(1))
    if session_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "This is the video of a session.", session_id=session_id)
    importing = select(models.c.model).where(
        models.c.state == IMPORTING, or_(models.c.asset_id == asset_id, models.c.picture_asset_id == asset_id)
    )
    model = await connection.scalar(importing.limit(1))
    if model is not None:
        raise FailedPrecondition("ASSET_IN_USE", "A model is being imported from this asset.", model=model)
    environment_id = await environments.reading(connection, asset_id)
    if environment_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "This belongs to an environment.", environment_id=environment_id)
    attempt_id = await attempts.with_video(connection, asset_id)
    if attempt_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "This is the video of an attempt.", attempt_id=attempt_id)
    reference_id = await references.of_asset(connection, asset_id)
    if reference_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "This is a reference image.", reference_id=reference_id)
    await connection.execute(delete(assets).where(assets.c.asset_id == asset_id))


async def remove_unless_used(connection: AsyncConnection, asset_id: str) -> bool:
    """Delete an asset unless something needs it; answers with whether it is gone. The caller orders the sweep."""
    try:
        await remove(connection, asset_id)
    except FailedPrecondition:
        return False
    return True


async def remove_abandoned(connection: AsyncConnection, age: timedelta) -> list[AnyRow]:
    """Delete uploads that were announced long ago and never confirmed."""
    unread = ~exists().where(job_inputs.c.asset_id == assets.c.asset_id)
    change = delete(assets).where(assets.c.state == PENDING, assets.c.create_time < func.now() - age, unread)
    return list((await connection.execute(change.returning(assets.c.asset_id, assets.c.upload_id))).all())
