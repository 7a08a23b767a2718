"""Reference images in the catalogue, and which jobs draw on them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import FailedPrecondition
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.owned import EVERYBODY, find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, assets, jobs, match_jobs, reference_images, routes

BUILT_IN: Final = "BUILT_IN"
UPLOADED: Final = "UPLOADED"


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an uploaded reference image."""
    new = insert(reference_images).values(source=UPLOADED, **values).returning(reference_images)
    row: AnyRow = (await connection.execute(new)).one()
    return row


async def add_built_in(connection: AsyncConnection, asset: dict[str, Any], image: dict[str, Any]) -> None:
    """Insert a reference image that comes with the product, and its asset, unless they are there."""
    of_nobody = {"owner": EVERYBODY, "kind": "IMAGE", "state": "READY", "upload_id": ""}
    await connection.execute(insert_or_ignore(assets).values(**of_nobody, **asset).on_conflict_do_nothing())
    new = insert_or_ignore(reference_images).values(owner=EVERYBODY, source=BUILT_IN, **image)
    await connection.execute(new.on_conflict_do_nothing())


async def built_in(connection: AsyncConnection) -> frozenset[str]:
    """The ids of the images that come with the product."""
    query = select(reference_images.c.reference_id).where(reference_images.c.source == BUILT_IN)
    return frozenset((await connection.execute(query)).scalars())


async def find(
    connection: AsyncConnection, reference_id: str, owner: str, *, lock: bool = False, hold: bool = False
) -> AnyRow:
    """A reference image that somebody may use; another's is as unknown as one that does not exist.

    :param lock: for a change or a deletion.
    :param hold: keeps it from being deleted before the transaction ends.
    :raises NotFound: REFERENCE_NOT_FOUND.
    """
    key = reference_images.c.reference_id
    return await find_owned(connection, key, reference_id, owner, everybodys=True, lock=lock, hold=hold)


async def of_asset(connection: AsyncConnection, asset_id: str) -> str | None:
    """The first reference image that was made of an asset."""
    query = select(reference_images.c.reference_id).where(reference_images.c.asset_id == asset_id)
    order = (reference_images.c.create_time, reference_images.c.reference_id)
    reference_id: str | None = await connection.scalar(query.order_by(*order).limit(1))
    return reference_id


async def note_features(connection: AsyncConnection, reference_id: str, features: int) -> None:
    """Set how many features an image is matched by, as a job found."""
    statement = update(reference_images).where(reference_images.c.reference_id == reference_id)
    await connection.execute(statement.values(features=features))


async def remove(connection: AsyncConnection, reference_id: str) -> None:
    """Delete a reference image that no route uses and no unfinished job draws on; its picture stays.

    :raises FailedPrecondition: REFERENCE_IN_USE.
    """
    using = select(routes.c.route_id).where(routes.c.reference_id == reference_id).limit(1)
    route_id = await connection.scalar(using)
    if route_id is not None:
        raise FailedPrecondition("REFERENCE_IN_USE", "A route uses this reference image.", route_id=route_id)
    job_id = await connection.scalar(_drawing().where(match_jobs.c.reference_id == reference_id).limit(1))
    if job_id is not None:
        raise FailedPrecondition(
            "REFERENCE_IN_USE", "A job that has not ended uses this reference image.", job_id=job_id
        )
    await connection.execute(delete(reference_images).where(reference_images.c.reference_id == reference_id))


async def add_job(connection: AsyncConnection, job_id: str, image_asset_id: str, reference_id: str) -> None:
    """Note what a job draws on."""
    values = {"job_id": job_id, "image_asset_id": image_asset_id, "reference_id": reference_id or None}
    await connection.execute(insert(match_jobs).values(**values))


async def drawing_on(connection: AsyncConnection, asset_id: str) -> str | None:
    """A job that has not ended and draws on a picture."""
    query = _drawing().where(match_jobs.c.image_asset_id == asset_id).limit(1)
    job_id: str | None = await connection.scalar(query)
    return job_id


def _drawing() -> Select[tuple[str]]:
    joined = select(match_jobs.c.job_id).join(jobs, jobs.c.job_id == match_jobs.c.job_id)
    return joined.where(jobs.c.state.not_in(ENDED))
