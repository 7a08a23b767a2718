"""The catalogue's database: reachable, with the schema of the code that is installed, and with room for connections."""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path
from typing import Final

import psycopg

from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_DATABASE: Final = "database"
_CONNECT_S: Final = 5


def look_at_database(url: str) -> list[Finding]:
    """Connect, compare the revision, count connections.

    :param url: as SQLAlchemy has it, or as libpq does.
    """
    try:
        with psycopg.connect(_libpq(url), connect_timeout=_CONNECT_S, autocommit=True) as connection:
            connection.execute("SET statement_timeout = 5000")
            [is_there] = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone() or (False,)
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if is_there else None
            used, most = connection.execute(
                "SELECT (SELECT count(*) FROM pg_stat_activity), current_setting('max_connections')::int"
            ).fetchone() or (0, 0)
    except psycopg.Error as error:
        return [judge_failure(str(error))]
    return [
        ok(_DATABASE, "It answers."),
        judge_revision(str(row[0]) if row else "", installed_revision()),
        judge_connections(used, most),
    ]


def _libpq(url: str) -> str:
    return re.sub(r"^postgresql\+\w+://", "postgresql://", url)


def judge_failure(said: str) -> Finding:
    """Why it could not be asked; the text of libpq holds no password."""
    text = said.strip().splitlines()[0] if said.strip() else "no answer"
    why = "Ingest answers nothing and moves no job on without it."
    if re.search(r"password|authentication|role .* does not exist", text):
        return problem(_DATABASE, text, why, "Correct user and password in KINEMESH_DATABASE__URL.")
    if re.search(r"database .* does not exist", text):
        return problem(_DATABASE, text, why, "Make the database: createdb kinemesh.")
    if re.search(r"too many (clients|connections)|remaining connection slots", text):
        action = "Raise max_connections of the server, or lower KINEMESH_DATABASE__CONNECTIONS."
        return problem(_DATABASE, text, why, action)
    return problem(_DATABASE, text, why, "Start it; see KINEMESH_DATABASE__URL and its log.")


def installed_revision() -> str:
    """The newest revision that the installed ingest knows, empty if none is installed."""
    spec = util.find_spec("kinemesh_ingest")
    if spec is None or spec.origin is None:
        return ""
    versions = Path(spec.origin).parent / "migrations" / "versions"
    return max((path.name.split("_")[0] for path in versions.glob("[0-9]*_*.py")), default="")


def judge_revision(found: str, installed: str) -> Finding:
    """The schema's revision, and that of the code; either may be empty."""
    if not found:
        why = "There are no tables yet."
        return warning(_DATABASE, "The database has no schema.", why, "Start ingest, or run its migration.")
    if not installed or found == installed:
        return ok(_DATABASE, f"The schema is at revision {found}.")
    said = f"The schema is at revision {found}, the installed ingest at {installed}."
    if found < installed:
        why = "The running ingest is older than what is installed here."
        return warning(_DATABASE, said, why, "Restart ingest: it brings the schema up to date.")
    why = "An older ingest does not understand a newer schema."
    return problem(_DATABASE, said, why, "Install the version that wrote it; or go down as docs/operations.md says.")


def judge_connections(used: int, most: int) -> Finding:
    """Connections to the server."""
    found = f"{used} of {most} connections are in use."
    if most and most - used < max(5, most // 20):
        why = "Without a free one, requests wait and fail."
        return problem(_DATABASE, found, why, "Lower KINEMESH_DATABASE__CONNECTIONS or raise max_connections.")
    return ok(_DATABASE, found)
