"""The gallery: stages ``recall`` and ``remember``, and forgetting people, whatever process dies in between."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.bus.topology import EVENTS, event_subject
from kinemesh.pipelining import in_thread
from kinemesh.results.columns_parquet import PERSON_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.sightings import PersonRows
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.catalogue import gallery, jobs
from kinemesh_ingest.catalogue.database import alone
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.forgetting import scrubbed_document, without_person

_LOCK: Final = 0x6B696E68
_LARGEST_OUTPUT: Final = 1024**3
_REWRITTEN: Final = (".parquet", ".csv", ".json", ".geojson")
_MOST_WORTH: Final = 10_000.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gallery:
    """Keeps what makes people recognisable, for environments that want it.

    :ivar wake: set when somebody is to be forgotten.
    """

    engine: AsyncEngine
    bus: Bus
    store: ObjectStore
    interval_s: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def recall(self, task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        """The stage recall: whom the environment knows, as it is now; done again it changes nothing."""
        key = keys.stage_result(task.job_id, task.stage, "all", 0)
        with contextlib.suppress(errors.NotFound):
            await self.store.stat(key)
            return task_pb2.TaskDone()
        async with self.engine.connect() as connection:
            row = await gallery.environment_of(connection, task.job_id)
            embedder = task.parameters.multi_camera.embedder
            found = await gallery.known(connection, row, embedder) if row is not None and embedder else []
        await self.store.put_bytes(key, to_parquet(to_table(_person_rows(found), PERSON_SCHEMA)))
        return task_pb2.TaskDone()

    async def remember(self, task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        """The stage remember: the people of a job become known to its environment, once."""
        data = await self.store.get_bytes(keys.stage_result(task.job_id, "resolve", "all", "people"))
        people = await in_thread(from_parquet, PersonRows, data, PERSON_SCHEMA)
        embedder = task.parameters.multi_camera.embedder
        async with self.engine.begin() as connection:
            row = await gallery.environment_of(connection, task.job_id, lock=True)
            # Whoever has switched the gallery off meanwhile wants nobody remembered.
            if row is None or row.remembered or not row.document.get("gallery", {}).get("enabled"):
                return task_pb2.TaskDone()
            unwanted = await gallery.forgotten(connection, task.job_id)
            job = await jobs.find(connection, task.job_id)
            numbers = [i for i, global_id in enumerate(people.global_id.tolist()) if global_id not in unwanted]
            seen = [str(people.global_id[i]) for i in numbers]
            before = await gallery.by_id(connection, row.environment_key, seen)
            start = _clock_start(job)
            kept = [
                _merged(before.get(str(people.global_id[i])), people, i, embedder, *_seen(people, i, start, job))
                for i in numbers
                if embedder and people.worth[i] > 0
            ]
            now = datetime.now(UTC)
            about = {"environment_key": row.environment_key, "embedder": embedder, "remember_time": now}
            await gallery.keep(connection, [{**about, **person} for person in kept])
            await gallery.note(connection, task.job_id, seen)
        return task_pb2.TaskDone()

    async def run(self, stop: asyncio.Event) -> None:
        """Forget whoever is due, again and again, until ``stop`` is set."""
        while not stop.is_set():
            self.wake.clear()
            try:
                async with self.engine.begin() as connection:
                    if count := await gallery.remove_expired(connection):
                        _log.info("people were forgotten", count=count)
                await self._forget_all(stop)
            except (SQLAlchemyError, NatsError, errors.KinemeshError, TimeoutError) as error:
                _log.warning("forgetting waits", error=type(error).__name__, message=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), self.interval_s)

    async def _forget_all(self, stop: asyncio.Event) -> None:
        # One at a time over all replicas: two that rewrite the same file would undo each other's work.
        async with alone(self.engine, _LOCK) as mine:
            while mine and not stop.is_set():
                async with self.engine.connect() as connection:
                    row = await gallery.next_forgetting(connection)
                if row is None:
                    return
                await self._forget(row)

    async def _forget(self, row: AnyRow) -> None:
        """Take a person out of what a job has made."""
        sizes: dict[str, int] = {}
        if row.state == jobs.SUCCEEDED:
            for output in row.outputs:
                if output["name"].endswith(_REWRITTEN):
                    sizes[output["name"]] = await self._rewrite(row, output)
            # The job's steps, as they were told while it ran, name the person too.
            await self.bus.jetstream.purge_stream(EVENTS, subject=event_subject(row.job_id, "steps"))
        async with self.engine.begin() as connection:
            with contextlib.suppress(errors.NotFound):
                job = await jobs.find(connection, row.job_id, lock=True)
                outputs = [
                    {**output, "size_bytes": str(sizes[output["name"]])} if output["name"] in sizes else output
                    for output in job.outputs
                ]
                summary = scrubbed_document(job.summary, row.global_id)
                await jobs.change(connection, row.job_id, outputs=outputs, summary=summary)
                await gallery.settle(connection, row.job_id, row.global_id)

    async def _rewrite(self, row: AnyRow, output: dict[str, Any]) -> int:
        key = keys.output(row.job_id, output["name"])
        try:
            data = await self.store.get_bytes(key, limit=_LARGEST_OUTPUT)
        except errors.NotFound:  # the job is being deleted
            return 0
        try:
            left = await in_thread(without_person, output["name"], data, row.global_id)
        except ValueError:
            _log.exception("a result cannot be read", job_id=row.job_id, name=output["name"])
            return len(data)
        if left != data:
            await self.store.put_bytes(key, left, output["content_type"])
        return len(left)


def _person_rows(found: list[AnyRow]) -> PersonRows:
    vectors = [_vector(row) for row in found]
    # A model that was replaced by another of its name may give longer vectors: those seen last are its.
    width = len(vectors[-1]) if vectors else 0
    rows = [(row, vector) for row, vector in zip(found, vectors, strict=True) if len(vector) == width]
    count = len(rows)
    return PersonRows(
        person=np.arange(1, count + 1, dtype=np.int32),
        global_id=np.array([row.global_id for row, _ in rows], np.str_),
        known=np.ones(count, np.bool_),
        first_sec=np.full(count, np.nan),
        last_sec=np.full(count, np.nan),
        cameras=np.array([",".join(row.cameras) for row, _ in rows], np.str_),
        worth=np.array([row.worth for row, _ in rows], np.float32),
        embedding=np.array([vector for _, vector in rows], np.float32).reshape(count, width),
    )


def _vector(row: AnyRow) -> NDArray[np.float32]:
    return np.frombuffer(row.embedding, "<f4").astype(np.float32)


def _merged(
    before: AnyRow | None, people: PersonRows, i: int, embedder: str, first: datetime, last: datetime
) -> dict[str, Any]:
    """What is known of a person after a job, by how much looking went into either."""
    vector, worth = people.embedding[i].astype(np.float64), float(people.worth[i])
    cameras = {camera for camera in str(people.cameras[i]).split(",") if camera}
    if before is not None:
        first, last = min(first, before.first_seen_time), max(last, before.last_seen_time)
        cameras.update(before.cameras)
        old = _vector(before)
        if before.embedder == embedder and len(old) == len(vector):
            mixed = vector * worth + old * before.worth
            length = float(np.linalg.norm(mixed))
            vector, worth = (mixed / length if length > 0 else vector), min(worth + before.worth, _MOST_WORTH)
    return {
        "global_id": str(people.global_id[i]),
        "worth": worth,
        "embedding": vector.astype("<f4").tobytes(),
        "cameras": sorted(cameras),
        "first_seen_time": first,
        "last_seen_time": last,
    }


def _clock_start(job: AnyRow) -> datetime | None:
    """The time of day at second 0 of the clock, as it was when the job was created."""
    said = job.parameters["multi_camera"]["environment"].get("clock_start_time")
    if said is None:
        return None
    stamp = Timestamp()
    stamp.FromJsonString(said)
    return stamp.ToDatetime(UTC)


def _seen(people: PersonRows, i: int, start: datetime | None, job: AnyRow) -> tuple[datetime, datetime]:
    """When a person was first and last seen; without a time of day, when the job was created."""
    first, last = float(people.first_sec[i]), float(people.last_sec[i])
    if start is None or not np.isfinite([first, last]).all():
        return job.create_time, job.create_time
    return start + timedelta(seconds=first), start + timedelta(seconds=last)
