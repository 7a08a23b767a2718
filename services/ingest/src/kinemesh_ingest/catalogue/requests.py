"""Mutations that may be repeated: the first call's ``request_id`` leads later ones to the same result."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.tables import requests


async def claim(connection: AsyncConnection, owner: str, method: str, request_id: str, resource_id: str) -> str | None:
    """Note that a request makes a resource; answers with the one that it made before, None the first time.

    A second call that comes while the first still runs waits for the first to end.
    """
    if not request_id:
        return None
    key = {"owner": owner, "method": method, "request_id": request_id}
    new = insert(requests).values(**key, resource_id=resource_id).on_conflict_do_nothing()
    if await connection.scalar(new.returning(requests.c.resource_id)) is not None:
        return None
    return await known(connection, owner, method, request_id)


async def is_known(connection: AsyncConnection, owner: str, method: str, request_id: str) -> bool:
    """Whether a request has been carried out before."""
    return await known(connection, owner, method, request_id) is not None


async def known(connection: AsyncConnection, owner: str, method: str, request_id: str) -> str | None:
    """The resource that a request made before; None if it has not been carried out."""
    if not request_id:
        return None
    key = {"owner": owner, "method": method, "request_id": request_id}
    query = select(requests.c.resource_id).where(*(requests.c[name] == value for name, value in key.items()))
    resource_id: str | None = await connection.scalar(query)
    return resource_id
