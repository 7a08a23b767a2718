"""How long statements take, and how many connections there are."""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from kinemesh_ingest.metrics import DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_LIMIT, DATABASE_SECONDS

_OPERATIONS: Final = frozenset({"select", "insert", "update", "delete"})
_STARTED: Final = "kinemesh_started"


def measure(engine: AsyncEngine, limit: int) -> None:
    """Measure all statements of an engine whose pool holds at most ``limit`` connections."""
    pool = engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    DATABASE_CONNECTIONS_LIMIT.set(limit)
    DATABASE_CONNECTIONS.labels("in_use").set_function(pool.checkedout)
    DATABASE_CONNECTIONS.labels("idle").set_function(pool.checkedin)
    event.listen(engine.sync_engine, "before_cursor_execute", _begun)
    event.listen(engine.sync_engine, "after_cursor_execute", _done)
    event.listen(engine.sync_engine, "handle_error", _failed)


def _begun(connection: Any, *_: Any) -> None:
    connection.info[_STARTED] = time.perf_counter()


def _done(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    _observe(connection.info, statement, "ok")


def _failed(context: ExceptionContext) -> None:
    # Without a connection it was not a statement that failed.
    if context.connection is not None and context.statement is not None:
        _observe(context.connection.info, context.statement, "error")


def _observe(info: dict[Any, Any], statement: str, outcome: str) -> None:
    started = info.pop(_STARTED, None)
    word = statement.split(None, 1)[0].lower() if statement.strip() else ""
    if started is not None:
        operation = word if word in _OPERATIONS else "other"
        DATABASE_SECONDS.labels(operation, outcome).observe(time.perf_counter() - started)
