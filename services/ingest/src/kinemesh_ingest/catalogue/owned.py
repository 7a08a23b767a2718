"""Whose a row is: the one place where owners are compared.

What is somebody else's is as unknown as what is not there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, FromClause, select
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import NotFound
from kinemesh_ingest.catalogue.tables import AnyRow

EVERYBODY: Final = ""
"""The owner of what comes with the product. Nobody who calls is called so."""

_NOUNS: Final = {"reference": "reference image"}


def belongs_to(table: FromClause, owner: str) -> ColumnElement[bool]:
    """Holds for the rows of one owner."""
    return table.c.owner == owner


def is_open_to(table: FromClause, owner: str) -> ColumnElement[bool]:
    """Holds for the rows that one owner may see: their own, and what comes with the product."""
    return table.c.owner.in_([owner, EVERYBODY])


async def find_owned(
    connection: AsyncConnection,
    key: Column[Any],
    value: str,
    owner: str,
    *,
    everybodys: bool = False,
    lock: bool = False,
    hold: bool = False,
    key_share: bool = False,
) -> AnyRow:
    """The row of one owner by its id. Looked up and checked in one statement, so that nobody locks what is not theirs.

    :param everybodys: takes what comes with the product too.
    :param lock: for a change or a deletion.
    :param hold: keeps it from being deleted before the transaction ends.
    :param key_share: with ``lock``, lets others go on referring to it.
    :raises NotFound: ASSET_NOT_FOUND for ``asset_id``, and so on.
    """
    rows = await _rows(
        connection, key, [value], owner, everybodys=everybodys, lock=lock, hold=hold, key_share=key_share
    )
    return _ordered(key, [value], rows)[0]


async def find_all_owned(
    connection: AsyncConnection,
    key: Column[Any],
    values: Collection[str],
    owner: str,
    *,
    lock: bool = False,
    hold: bool = False,
) -> list[AnyRow]:
    """The rows of one owner in the order of their ids in ``values``.

    :raises NotFound: ASSET_NOT_FOUND for ``asset_id``, and so on.
    """
    rows = await _rows(connection, key, values, owner, everybodys=False, lock=lock, hold=hold, key_share=False)
    return _ordered(key, values, rows)


async def _rows(
    connection: AsyncConnection,
    key: Column[Any],
    values: Collection[str],
    owner: str,
    *,
    everybodys: bool,
    lock: bool,
    hold: bool,
    key_share: bool,
) -> list[AnyRow]:
    whose = is_open_to(key.table, owner) if everybodys else belongs_to(key.table, owner)
    query = select(key.table).where(key.in_(values), whose).order_by(key)
    if lock or hold:
        query = query.with_for_update(read=not lock, key_share=key_share and lock)
    return list((await connection.execute(query)).all())


def _ordered(key: Column[Any], values: Collection[str], rows: Collection[AnyRow]) -> list[AnyRow]:
    """The rows in the order of their ids.

    :raises NotFound: one is missing.
    """
    by_id = {getattr(row, str(key.name)): row for row in rows}
    for value in values:
        if value not in by_id:
            raise not_found(str(key.name), value)
    return [by_id[value] for value in values]


def not_found(key: str, value: str) -> NotFound:
    """What is said of an object that is not there or not the caller's: the same."""
    noun = key.removesuffix("_id")
    return NotFound(f"{noun.upper()}_NOT_FOUND", f"There is no such {_NOUNS.get(noun, noun)}.", **{key: value})
