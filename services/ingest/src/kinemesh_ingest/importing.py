"""Brings models in and takes them away, one at a time over all replicas, whatever process dies in between.

The catalogue says what is to be done. Whoever holds the lock does it, from the start if somebody else had begun it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from google.protobuf.json_format import MessageToDict
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.inference.client import TritonClient
from kinemesh.serving.status import to_failure
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import models
from kinemesh_ingest.catalogue.database import alone
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.contents import HEAD_BYTES, weights_suffix
from kinemesh_ingest.metrics import MODEL_IMPORT_SECONDS
from kinemesh_ingest.program import Facts, Program
from kinemesh_ingest.registry import NETWORK

_LOCK: Final = 0x6B696E67
_IDLE_S: Final = 5.0
_MOST_ATTEMPTS: Final = 3

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Imports:
    """Brings models in.

    :ivar program: None where models cannot be brought in.
    :ivar wake: set when there is something to do.
    """

    engine: AsyncEngine
    store: ObjectStore
    triton: TritonClient
    program: Program | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def require_program(self) -> Program:
        """The program.

        :raises FailedPrecondition: IMPORT_NOT_CONFIGURED.
        """
        if self.program is None:
            raise errors.FailedPrecondition(
                "IMPORT_NOT_CONFIGURED",
                "This mesh cannot take models in: KINEMESH_MODELS__PYTHON and KINEMESH_MODELS__REPOSITORY are not set.",
            )
        return self.program

    async def run(self, stop: asyncio.Event) -> None:
        """Do what is to be done until ``stop`` is set. What is not finished then is begun anew at the next start."""
        while self.program is not None and not stop.is_set():
            self.wake.clear()
            try:
                await _unless(stop, self._settle_all())
            except (SQLAlchemyError, errors.KinemeshError, TimeoutError) as error:
                _log.warning("imports wait", error=type(error).__name__, message=str(error))
            with contextlib.suppress(TimeoutError):
                await _unless(stop, asyncio.wait_for(self.wake.wait(), _IDLE_S))
        await stop.wait()

    async def take_away(self, name: str) -> None:
        """Stop serving a model that is DELETING, and remove it; may be repeated."""
        await self._clear(name)
        async with self.engine.begin() as connection:
            await models.remove(connection, name)

    async def _settle_all(self) -> None:
        async with alone(self.engine, _LOCK) as mine:
            if not mine:
                _log.debug("another replica brings models in")
            while mine and (row := await self._next()) is not None:
                if row.state == models.DELETING:
                    await self.take_away(row.model)
                else:
                    await self._bring_in(row)

    async def _next(self) -> AnyRow | None:
        async with self.engine.connect() as connection:
            return await models.next_unsettled(connection)

    async def _bring_in(self, row: AnyRow) -> None:
        """Import a model. It is READY or REJECTED then; raises what may pass, as long as there are attempts left."""
        async with self.engine.begin() as connection:
            row = await models.change(connection, row.model, attempts=row.attempts + 1)
        started = time.monotonic()
        try:
            if row.attempts > _MOST_ATTEMPTS:
                raise errors.Internal("IMPORT_INTERRUPTED", "The import was interrupted again and again.")
            facts = await self._prepared(row)
        except errors.Unavailable as error:
            if row.attempts < _MOST_ATTEMPTS:
                _measure("again", started)
                raise
            _measure("rejected", started)
            await self._reject(row, error)
        except errors.KinemeshError as error:
            _measure("rejected", started)
            await self._reject(row, error)
        else:
            _measure("ready", started)
            async with self.engine.begin() as connection:
                await models.change(
                    connection,
                    row.model,
                    state=models.READY,
                    labels=facts.labels,
                    sha256=facts.sha256,
                    size_bytes=facts.size_bytes,
                )
            _log.info("model is served", model=row.model, source=row.source)

    async def _prepared(self, row: AnyRow) -> Facts:
        program = self.require_program()
        if row.attempts > 1:
            await self._clear(row.model)
        with tempfile.TemporaryDirectory(prefix="kinemesh-import-") as folder:
            if row.source == models.MANIFEST:
                facts = await program.add(row.model)
            else:
                weights = await self._weights(row.asset_id, Path(folder))
                picture = None
                if row.picture_asset_id:
                    picture = Path(folder) / "picture"
                    await self.store.get_file(keys.asset_source(row.picture_asset_id), picture)
                facts = await program.import_weights(
                    weights, row.model, row.labels, row.licence, picture, row.task, row.colors
                )
        try:
            if row.model + NETWORK in await self.triton.loaded():
                await self.triton.load(row.model + NETWORK)
            await self.triton.load(row.model)
        except errors.Unavailable:
            raise
        except errors.KinemeshError:
            await self._clear(row.model)
            raise
        return facts

    async def _weights(self, asset_id: str, folder: Path) -> Path:
        path = folder / "weights"
        await self.store.get_file(keys.asset_source(asset_id), path)
        with path.open("rb") as file:
            suffix = weights_suffix(file.read(HEAD_BYTES))
        return path.rename(path.with_suffix(suffix))

    async def _clear(self, name: str) -> None:
        """Leave nothing of a model but what the catalogue knows."""
        for part in (name, name + NETWORK):
            await self.triton.unload(part)
        await self.require_program().remove(name)

    async def _reject(self, row: AnyRow, error: errors.KinemeshError) -> None:
        _log.info("model refused", model=row.model, reason=error.reason, message=error.message)
        failure = MessageToDict(to_failure(error), preserving_proto_field_name=True)
        async with self.engine.begin() as connection:
            await models.change(connection, row.model, state=models.REJECTED, failure=failure)


def _measure(outcome: str, started: float) -> None:
    MODEL_IMPORT_SECONDS.labels(outcome).observe(time.monotonic() - started)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Work, cancelled as soon as ``stop`` is set."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
