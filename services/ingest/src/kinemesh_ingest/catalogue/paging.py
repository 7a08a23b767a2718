"""Pages by key: a token names the last row seen, so that a page costs the same however deep it lies."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import InvalidArgument
from kinemesh_ingest.catalogue.tables import AnyRow

_DEFAULT = 20
_MOST = 100
_MOST_SKIPPED = 1_000_000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: after a token, or after so many rows."""

    size: int
    token: str
    skip: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the token of the next page (empty on the last), and how many rows there are in all."""

    rows: list[AnyRow]
    next_token: str
    total: int


def page_request(size: int, token: str, skip: int = 0, most: int = _MOST) -> PageRequest:
    """Check what a caller asked for.

    :raises InvalidArgument: OUT_OF_RANGE.
    """
    if not 0 <= size <= most:
        raise InvalidArgument("OUT_OF_RANGE", f"page_size must lie between 1 and {most}.", field="page_size")
    if not 0 <= skip <= _MOST_SKIPPED:
        raise InvalidArgument("OUT_OF_RANGE", f"skip must lie between 0 and {_MOST_SKIPPED}.", field="skip")
    return PageRequest(size or _DEFAULT, token, skip)


async def newest_first(
    connection: AsyncConnection,
    table: Table,
    key: str,
    condition: ColumnElement[bool],
    page: PageRequest,
    time: str = "create_time",
) -> Page:
    """A page of the rows of ``table`` that meet ``condition``, ordered by creation time, newest first.

    :param key: name of the id column, which breaks ties.
    :param time: name of another column to order by.
    """
    return await _page(connection, table, (time, key), condition, page, falling=True)


async def by_name(
    connection: AsyncConnection,
    table: FromClause,
    keys: tuple[str, ...],
    condition: ColumnElement[bool],
    page: PageRequest,
) -> Page:
    """A page of the rows of ``table`` that meet ``condition``, ordered by columns of text."""
    return await _page(connection, table, keys, condition, page, falling=False)


async def _page(
    connection: AsyncConnection,
    table: FromClause,
    keys: tuple[str, ...],
    condition: ColumnElement[bool],
    page: PageRequest,
    *,
    falling: bool,
) -> Page:
    total = await connection.scalar(select(func.count()).select_from(table).where(condition))
    columns = [table.c[key] for key in keys]
    query: Select[Any] = select(table).where(condition)
    query = query.order_by(*(column.desc() if falling else column for column in columns))
    if page.token:
        last = _decode(page.token, len(keys), is_time=falling)
        query = query.where(tuple_(*columns) < tuple_(*last) if falling else tuple_(*columns) > tuple_(*last))
    rows = list((await connection.execute(query.offset(page.skip).limit(page.size + 1))).all())
    more = len(rows) > page.size
    rows = rows[: page.size]
    token = _encode(*(getattr(rows[-1], key) for key in keys)) if more else ""
    return Page(rows, token, int(total or 0))


def _encode(*values: datetime | str) -> str:
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode()


def _decode(token: str, count: int, *, is_time: bool) -> list[datetime | str]:
    try:
        given = json.loads(base64.urlsafe_b64decode(token))
        first, *others = [_text(value) for value, _ in zip(given, range(count), strict=True)]
        return [datetime.fromisoformat(first) if is_time else first, *others]
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidArgument(
            "INVALID_PAGE_TOKEN", "page_token is not one that this list gave.", field="page_token"
        ) from error


def _text(value: object) -> str:
    """A value that PostgreSQL can hold: half characters and NUL are none."""
    text = str(value).encode().decode()
    if "\0" in text:
        raise ValueError(text)
    return text
