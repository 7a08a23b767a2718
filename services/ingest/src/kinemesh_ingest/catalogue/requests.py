"""Mutations that may be repeated: the first call's ``request_id`` leads later ones to the same result."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.tables import requests


async def claim(connection: AsyncConnection, owner: str, method: str, request_id: str, resource_id: str) -> str:
    """Note that a request made a resource; answers with the resource that it made first.

    A second call that comes while the first still runs waits for the first to end.
    """
    if not request_id:
        return resource_id
    key = {"owner": owner, "method": method, "request_id": request_id}
    await connection.execute(insert(requests).values(**key, resource_id=resource_id).on_conflict_do_nothing())
    query = select(requests.c.resource_id).where(*(requests.c[name] == value for name, value in key.items()))
    return str(await connection.scalar(query))


async def is_known(connection: AsyncConnection, owner: str, method: str, request_id: str) -> bool:
    """Whether a request has been carried out before."""
    key = {"owner": owner, "method": method, "request_id": request_id}
    query = select(requests.c.resource_id).where(*(requests.c[name] == value for name, value in key.items()))
    return bool(request_id) and await connection.scalar(query) is not None
