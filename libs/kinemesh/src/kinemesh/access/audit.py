"""Who changed what, and who was refused: one structured line each, by the logger ``audit``, whatever the log's level.

A line has ``owner``, ``key_id``, ``action``, ``resources`` (ids by name), ``outcome`` (OK or a reason), ``address``,
and as all lines ``request_id`` and ``trace_id``. It never holds tokens, keys or anything else of a request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kinemesh.access.identity import READ, Identity
from kinemesh.access.methods import NEEDED, PUBLIC

_MOST: Final = 12
_EXCHANGE: Final = "/kinemesh.access.v1.AccessService/ExchangeKey"
_REFUSALS: Final = frozenset(
    ("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "SCOPE_MISSING", "METHOD_CLOSED", "KEY_INVALID", "RATE_LIMITED")
)

_log = structlog.wrap_logger(logging.getLogger("audit"), wrapper_class=structlog.stdlib.BoundLogger)


def note(action: str, outcome: str, identity: Identity | None, address: str, resources: Mapping[str, str]) -> None:
    """Write a line."""
    _log.info(
        "audit",
        action=action,
        outcome=outcome,
        owner=identity.owner if identity else "",
        key_id=identity.key_id if identity else "",
        address=address,
        resources=dict(resources),
    )


def is_worth_noting(method: str, outcome: str) -> bool:
    """Whether a gRPC call changes something, or was refused to somebody."""
    return outcome in _REFUSALS or method == _EXCHANGE or NEEDED.get(method, READ) not in (READ, PUBLIC)


def is_refusal(outcome: str) -> bool:
    """Whether an outcome is that somebody may not."""
    return outcome in _REFUSALS


def ids_of(*messages: object) -> dict[str, str]:
    """The ids that messages name, at their top and one level below; the first of each name."""
    found: dict[str, str] = {}
    for message in messages:
        if isinstance(message, Message):
            for name, value in _ids(message, deeper=True):
                if len(found) < _MOST:
                    found.setdefault(name, value)
    return found


def _ids(message: Message, *, deeper: bool) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if deeper:
                yield from _ids(value, deeper=False)
        elif _names_something(field.name, value):
            yield field.name, value


def _names_something(name: str, value: Any) -> bool:
    is_id = (name.endswith("_id") and name != "request_id") or name == "model"
    return is_id and isinstance(value, str) and 0 < len(value) <= 128
