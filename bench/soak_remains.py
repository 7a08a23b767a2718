"""What is left of jobs and uploads once they have been deleted: in storage, in the database, in streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from kinemesh.bus.connection import connect
from kinemesh.bus.topology import EVENTS, OUTCOMES, TASKS
from kinemesh.embedded.mesh import Mesh
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, S3Settings

_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.5
_KEPT: Final = ("assets/built-in-", ".ready")
# Rows that stay: the schema's version, and which requests have been answered, for a week.
_TABLES_KEPT: Final = ("alembic_version", "requests", "models")


async def remains(mesh: Mesh, *, streams: bool = True) -> dict[str, list[str]]:
    """What is left when sweeping has had its time, by where it is; all lists are empty as soon as nothing is.

    :param streams: whether messages are looked for, which only workers take away.
    """
    environment = mesh.environment("ingest")
    deadline = time.monotonic() + _WITHIN_S
    while True:
        left = {
            "storage": await _objects(environment),
            "the database": await asyncio.to_thread(_rows, environment["KINEMESH_DATABASE__URL"]),
            "the streams": await _messages(environment) if streams else [],
        }
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        await asyncio.sleep(_POLL_S)


async def _objects(environment: Mapping[str, str]) -> list[str]:
    settings = S3Settings(
        endpoint=environment["KINEMESH_S3__ENDPOINT"],
        access_key=environment["KINEMESH_S3__ACCESS_KEY"],
        secret_key=SecretStr(environment["KINEMESH_S3__SECRET_KEY"]),
        bucket=environment.get("KINEMESH_S3__BUCKET", "kinemesh"),
    )
    async with ObjectStore(settings) as store:
        keys = [entry.key for entry in await store.list_objects("") if not entry.key.startswith(_KEPT)]
        return keys + [f"{upload.key} (unfinished)" for upload in await store.multipart.list_uploads("")]


def _rows(url: str) -> list[str]:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
            left = []
            for table in sorted(set(tables) - set(_TABLES_KEPT)):
                mine = " WHERE owner <> ''" if table in ("assets", "reference_images") else ""
                count = connection.scalar(text(f'SELECT count(*) FROM "{table}"{mine}'))
                left += [f"{count} rows of {table}"] if count else []
            return left
    finally:
        engine.dispose()


async def _messages(environment: Mapping[str, str]) -> list[str]:
    """Messages of work; and of events all but the last state of each job, which tells late workers of its end.

    Dead letters stay on purpose: they are what an operator looks at after failures.
    """
    settings = NatsSettings(
        url=environment["KINEMESH_NATS__URL"],
        user=environment.get("KINEMESH_NATS__USER", ""),
        password=SecretStr(environment.get("KINEMESH_NATS__PASSWORD", "")),
    )
    async with asyncio.timeout(_WITHIN_S), connect(settings, "soak") as bus:
        left = []
        for stream in (TASKS, OUTCOMES):
            state = (await bus.jetstream.stream_info(stream)).state
            left += [f"{state.messages} messages of {stream}"] if state.messages else []
        info = await bus.jetstream.stream_info(EVENTS, subjects_filter="kinemesh.event.>")
        others = {name: n for name, n in (info.state.subjects or {}).items() if not name.endswith(".state")}
        return left + [f"{count} messages of {name}" for name, count in others.items()]
