"""The schema of the catalogue: which there is, which this version needs, and the way from one to the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from kinemesh import errors

HEAD: Final = "head"
BASE: Final = "base"

_MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"
_LOCK: Final = 0x6B696E66
_POLL_S: Final = 0.2
# What a migration waits for others to leave a table, who wait behind it meanwhile.
_TABLE_LOCK_S: Final = 20


@dataclass(frozen=True, slots=True)
class Revisions:
    """Where a database stands.

    :ivar current: empty when there is no schema yet.
    :ivar newest: that this version needs.
    """

    current: str
    newest: str

    @property
    def is_newest(self) -> bool:
        return self.current == self.newest


def migrate(url: str, revision: str, *, wait_s: float = 50.0) -> Revisions:
    """Bring the schema to a revision, up or down; one process at a time does so, others wait for it.

    A step that fails leaves the schema as it was: all steps are one transaction.

    :param revision: ``head``, ``base``, or the name of one.
    :raises InvalidArgument: UNKNOWN_REVISION.
    :raises FailedPrecondition: SCHEMA_TOO_NEW.
    :raises Unavailable: MIGRATION_RUNNING, when another process has not ended in time.
    """
    with _connected(url) as connection, _alone(connection, wait_s):
        config = _config(connection)
        order = [*(script.revision for script in _scripts(config).walk_revisions()), BASE]
        wanted = order[0] if revision == HEAD else revision
        if wanted not in order:
            raise errors.InvalidArgument("UNKNOWN_REVISION", "There is no such revision.", revision=revision)
        current = _known(connection, order)
        connection.execute(text(f"SET lock_timeout = '{_TABLE_LOCK_S}s'"))
        if order.index(wanted) <= order.index(current or BASE):
            command.upgrade(config, wanted)
        else:
            command.downgrade(config, wanted)
        connection.commit()
        return Revisions(_current(connection), order[0])


def revisions(url: str) -> Revisions:
    """Where a database stands; changes nothing."""
    with _connected(url) as connection:
        return Revisions(_current(connection), str(_scripts(_config(connection)).get_current_head()))


def require_newest(url: str) -> None:
    """Refuse a database that is not as this version needs it.

    :raises FailedPrecondition: SCHEMA_TOO_NEW, SCHEMA_TOO_OLD.
    """
    with _connected(url) as connection:
        order = [script.revision for script in _scripts(_config(connection)).walk_revisions()]
        current = _known(connection, order)
    if current != order[0]:
        raise errors.FailedPrecondition(
            "SCHEMA_TOO_OLD",
            f"The database has the schema {current or 'of nothing'}, this version needs {order[0]}: run "
            "`python -m kinemesh_ingest.migrate upgrade`, or let ingest do it with KINEMESH_DATABASE__MIGRATE=true.",
            current=current,
            needed=order[0],
        )


def _known(connection: Connection, order: list[str]) -> str:
    """The current revision, which must be one of ``order``, newest first."""
    current = _current(connection)
    if current and current not in order:
        newest = order[0]
        raise errors.FailedPrecondition(
            "SCHEMA_TOO_NEW",
            f"The database has the schema {current} of a newer version; this one knows {newest} and older. Run the "
            f"newer version, or go back with its own `python -m kinemesh_ingest.migrate downgrade --to {newest}`.",
            current=current,
            newest=newest,
        )
    return current


def _current(connection: Connection) -> str:
    current = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return current or ""


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(
        url, poolclass=NullPool, connect_args={"connect_timeout": 10, "application_name": "kinemesh-migrate"}
    )
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _alone(connection: Connection, wait_s: float) -> Iterator[None]:
    """Hold the lock of migrations. It goes with the connection, and so with the process."""
    deadline = time.monotonic() + wait_s
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
        connection.commit()
        if time.monotonic() > deadline:
            raise errors.Unavailable("MIGRATION_RUNNING", "Another process migrates the database and has not ended.")
        time.sleep(_POLL_S)
    connection.commit()
    yield


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _scripts(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)
