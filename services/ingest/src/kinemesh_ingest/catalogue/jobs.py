"""Jobs, their segments, tasks and logs in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.owned import find_owned, not_found
from kinemesh_ingest.catalogue.tables import AnyRow, job_inputs, job_logs, jobs, segments, tasks
from kinemesh_ingest.domain.planning import Task
from kinemesh_ingest.domain.timeline import Input, Segment

QUEUED: Final = "QUEUED"
RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"
ENDED: Final = (SUCCEEDED, FAILED, CANCELLED)

TASK_WAITING: Final = "WAITING"
TASK_QUEUED: Final = "QUEUED"
TASK_DONE: Final = "DONE"


async def add(connection: AsyncConnection, inputs: Sequence[Input], **values: Any) -> AnyRow:
    """Insert a job, QUEUED."""
    start = {"state": QUEUED, "progress": 0.0, "outputs": [], "summary": {}}
    row: AnyRow = (await connection.execute(insert(jobs).values(**start, **values).returning(jobs))).one()
    await connection.execute(
        insert(job_inputs),
        [
            {
                "job_id": row.job_id,
                "camera": given.camera,
                "asset_id": given.asset_id,
                "position": position,
                "start_sec": given.start_sec,
            }
            for position, given in enumerate(inputs)
        ],
    )
    return row


async def find(connection: AsyncConnection, job_id: str, owner: str | None = None, *, lock: bool = False) -> AnyRow:
    """A job, of this owner if one is named; somebody else's is as unknown as one that does not exist.

    :raises NotFound: JOB_NOT_FOUND.
    """
    if owner is not None:
        return await find_owned(connection, jobs.c.job_id, job_id, owner, lock=lock)
    query = select(jobs).where(jobs.c.job_id == job_id)
    row: AnyRow | None = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise not_found("job_id", job_id)
    return row


async def unfinished(connection: AsyncConnection) -> list[str]:
    """The jobs that have not ended, whoever owns them, the oldest first."""
    query = select(jobs.c.job_id).where(jobs.c.state.not_in(ENDED)).order_by(jobs.c.create_time, jobs.c.job_id)
    return list((await connection.execute(query)).scalars())


async def change(connection: AsyncConnection, job_id: str, **values: Any) -> AnyRow:
    """Set columns of a job."""
    statement = update(jobs).where(jobs.c.job_id == job_id).values(update_time=func.now(), **values).returning(jobs)
    row: AnyRow = (await connection.execute(statement)).one()
    return row


async def remove(connection: AsyncConnection, job_id: str) -> None:
    """Delete a job with everything that the catalogue knows of it."""
    await connection.execute(delete(jobs).where(jobs.c.job_id == job_id))


async def inputs_of(connection: AsyncConnection, job_ids: Iterable[str]) -> dict[str, list[Input]]:
    """What jobs read, in the order given when they were made."""
    query = select(job_inputs).where(job_inputs.c.job_id.in_(list(job_ids))).order_by(job_inputs.c.position)
    found: dict[str, list[Input]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.job_id, []).append(Input(row.camera, row.asset_id, row.start_sec))
    return found


async def log(connection: AsyncConnection, job_id: str, level: str, text: str) -> int:
    """Append a line to a job's log; answers with the line's id."""
    line = insert(job_logs).values(job_id=job_id, level=level, text=text).returning(job_logs.c.log_id)
    return int((await connection.execute(line)).scalar_one())


async def logs(connection: AsyncConnection, job_id: str, after: int, size: int) -> tuple[list[AnyRow], int]:
    """Lines of a log after an id, oldest first, and how many there are in all."""
    query = select(job_logs).where(job_logs.c.job_id == job_id, job_logs.c.log_id > after)
    rows = (await connection.execute(query.order_by(job_logs.c.log_id).limit(size))).all()
    total = await connection.scalar(select(func.count()).select_from(job_logs).where(job_logs.c.job_id == job_id))
    return list(rows), int(total or 0)


async def add_segments(connection: AsyncConnection, job_id: str, found: Sequence[Segment]) -> None:
    """Remember how a camera's asset was cut."""
    await connection.execute(
        insert(segments),
        [
            {
                "job_id": job_id,
                "camera": segment.camera,
                "index": segment.index,
                "start_frame": segment.start_frame,
                "stop_frame": segment.stop_frame,
                "warm_up_frames": segment.warm_up_frames,
                "start_sec": segment.start_sec,
                "stop_sec": segment.stop_sec,
            }
            for segment in found
        ],
    )


async def segments_of(connection: AsyncConnection, job_id: str) -> tuple[Segment, ...]:
    """All segments of a job, by camera and position."""
    query = select(segments).where(segments.c.job_id == job_id).order_by(segments.c.camera, segments.c.index)
    return tuple(
        Segment(
            row.camera,
            row._mapping["index"],
            row.start_frame,
            row.stop_frame,
            row.warm_up_frames,
            row.start_sec,
            row.stop_sec,
        )
        for row in await connection.execute(query)
    )


async def add_tasks(connection: AsyncConnection, job_id: str, new: Sequence[Task]) -> None:
    """Remember tasks that wait for others."""
    await connection.execute(
        insert(tasks),
        [
            {
                "job_id": job_id,
                "task_id": task.id_in(job_id),
                "stage": task.stage,
                "camera": task.camera,
                "segment": task.segment,
                "state": TASK_WAITING,
            }
            for task in new
        ],
    )


async def tasks_of(connection: AsyncConnection, job_id: str) -> Mapping[str, list[Task]]:
    """A job's tasks by state."""
    found: dict[str, list[Task]] = {TASK_WAITING: [], TASK_QUEUED: [], TASK_DONE: []}
    query = select(tasks.c.stage, tasks.c.camera, tasks.c.segment, tasks.c.state).where(tasks.c.job_id == job_id)
    for stage, camera, segment, state in await connection.execute(query):
        found[state].append(Task(stage, camera, segment))
    return found


async def task_state(connection: AsyncConnection, job_id: str, task_id: str) -> str | None:
    """A task's state, None when the job has no such task."""
    return await connection.scalar(select(tasks.c.state).where(tasks.c.job_id == job_id, tasks.c.task_id == task_id))


async def change_tasks(connection: AsyncConnection, job_id: str, task_ids: Iterable[str], **values: Any) -> None:
    """Set columns of tasks."""
    condition = (tasks.c.job_id == job_id, tasks.c.task_id.in_(list(task_ids)))
    await connection.execute(update(tasks).where(*condition).values(**values))


async def report(connection: AsyncConnection, job_id: str, task_id: str, fraction: float) -> None:
    """Move a queued task's fraction forward, never back."""
    condition = (tasks.c.job_id == job_id, tasks.c.task_id == task_id, tasks.c.state == TASK_QUEUED)
    await connection.execute(update(tasks).where(*condition).values(fraction=func.greatest(tasks.c.fraction, fraction)))


async def stage_counts(connection: AsyncConnection, job_ids: Iterable[str]) -> list[AnyRow]:
    """Per job and stage: how many tasks, how many done, and the mean of their fractions."""
    done = func.count().filter(tasks.c.state == TASK_DONE)
    query = (
        select(
            tasks.c.job_id,
            tasks.c.stage,
            func.count().label("known"),
            done.label("done"),
            func.avg(tasks.c.fraction).label("mean"),
        )
        .where(tasks.c.job_id.in_(list(job_ids)))
        .group_by(tasks.c.job_id, tasks.c.stage)
    )
    return list((await connection.execute(query)).all())
