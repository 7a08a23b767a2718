"""API keys in the catalogue."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.owned import not_found
from kinemesh_ingest.catalogue.tables import AnyRow, api_keys

# A key that is used all the time is written about once a minute.
_NOTED_EVERY = timedelta(minutes=1)
_NO_DIGEST = bytes(32)


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert a key."""
    row: AnyRow = (await connection.execute(insert(api_keys).values(**values).returning(api_keys))).one()
    return row


async def find(connection: AsyncConnection, key_id: str) -> AnyRow:
    """A key, whoever it was made for: only those who keep keys ask.

    :raises NotFound: KEY_NOT_FOUND.
    """
    row: AnyRow | None = (await connection.execute(_by_id(key_id))).one_or_none()
    if row is None:
        raise not_found("key_id", key_id)
    return row


async def revoke(connection: AsyncConnection, key_id: str) -> AnyRow:
    """End a key; the time of a first end stays.

    :raises NotFound: KEY_NOT_FOUND.
    """
    ending = update(api_keys).where(api_keys.c.key_id == key_id, api_keys.c.revoke_time.is_(None))
    await connection.execute(ending.values(revoke_time=func.now()))
    return await find(connection, key_id)


async def show(connection: AsyncConnection, key_id: str, digest: bytes) -> AnyRow | None:
    """The key of which somebody knows the secret; None if there is none that is good now."""
    row: AnyRow | None = (await connection.execute(_by_id(key_id))).one_or_none()
    is_it = hmac.compare_digest(digest, row.secret_sha256 if row is not None else _NO_DIGEST)
    now = datetime.now(UTC)
    if row is None or not is_it or row.revoke_time is not None or (row.expire_time or now) < now:
        return None
    recent = or_(api_keys.c.last_used_time.is_(None), api_keys.c.last_used_time < now - _NOTED_EVERY)
    noting = update(api_keys).where(api_keys.c.key_id == key_id, recent)
    await connection.execute(noting.values(last_used_time=func.now()))
    return row


def _by_id(key_id: str) -> Any:
    return select(api_keys).where(api_keys.c.key_id == key_id)
