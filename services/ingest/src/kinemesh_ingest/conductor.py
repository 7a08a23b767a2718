"""Conducts jobs: every change of a job, and what follows from it, in one transaction.

Nothing here talks to the broker. Messages go to the outbox and objects to be deleted to the sweeps, so that a
crash at any moment leaves either all of a change or none. Handling an outcome twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.bus.events import job_event
from kinemesh.bus.topology import event_subject, task_subject
from kinemesh.common.v1 import common_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import parameters_pb2
from kinemesh.storage import keys
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.catalogue import jobs, outbox, sweeps
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.climbing.results import note_results
from kinemesh_ingest.domain.pipelines import SPLIT, Unit, pipeline_of
from kinemesh_ingest.domain.planning import Task, first_tasks, later_tasks, progress, ready_tasks
from kinemesh_ingest.domain.timeline import Input, Timeline, timeline, window_count
from kinemesh_ingest.messages import from_segment, to_input, to_segment, to_window
from kinemesh_ingest.metrics import JOB_SECONDS


@dataclass(frozen=True, slots=True)
class Conductor:
    """Changes jobs.

    :ivar window: tasks of one job that may be queued at once.
    :ivar window_sec: length of the windows that jobs over several cameras are cut into, about.
    :ivar late_sweep_s: when to look again for objects that a worker wrote after its job had ended.
    :ivar published: set when the outbox has something to publish.
    :ivar swept: set when something is to be deleted.
    """

    engine: AsyncEngine
    window: int
    late_sweep_s: float
    window_sec: float = 10.0
    published: asyncio.Event = field(default_factory=asyncio.Event)
    swept: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, connection: AsyncConnection, job: AnyRow, inputs: Sequence[Input]) -> None:
        """Publish a new job's first tasks; belongs into the transaction that made the job."""
        await _tell_state(connection, job, jobs.QUEUED)
        await _log(connection, job, "INFO", f"Queued: pipeline {job.pipeline}.")
        if job.pipeline == "multi_camera" and not job.parameters["multi_camera"].get("embedder"):
            await _log(
                connection, job, "WARNING", "No embedder is served: people are told apart by where they stand alone."
            )
        await jobs.add_tasks(
            connection, job.job_id, first_tasks(pipeline_of(job.parameters), [given.camera for given in inputs])
        )
        await self._queue_ready(connection, job)

    async def on_outcome(self, outcome: task_pb2.TaskOutcome) -> None:
        """A task has ended: note its result, queue what can begin now, end the job when nothing is left."""
        async with self.engine.begin() as connection:
            try:
                job = await jobs.find(connection, outcome.job_id, lock=True)
            except errors.NotFound:
                await sweeps.order(connection, keys.job_prefix(outcome.job_id))
                return
            if job.state in jobs.ENDED:
                await sweeps.order(connection, keys.job_prefix(job.job_id), delays_s=_none_if_kept(job))
                return
            if await jobs.task_state(connection, job.job_id, outcome.task_id) != jobs.TASK_QUEUED:
                return
            if outcome.WhichOneof("ending") == "failed":
                await self._fail(connection, job, outcome)
            else:
                await self._done(connection, job, outcome)
        self.wake()

    async def on_progress(self, report: task_pb2.TaskProgress) -> None:
        """A task goes on."""
        async with self.engine.begin() as connection:
            try:
                job = await jobs.find(connection, report.job_id, lock=True)
            except errors.NotFound:
                return
            if job.state in jobs.ENDED:
                return
            await jobs.report(connection, job.job_id, report.task_id, report.fraction)
            job = await _run(connection, job)
            await _tell_progress(connection, job)
        self.published.set()

    async def cancel(self, job_id: str, owner: str) -> AnyRow:
        """Stop a job and remove what it wrote.

        :raises FailedPrecondition: JOB_ENDED, when it has ended otherwise.
        """
        async with self.engine.begin() as connection:
            job = await jobs.find(connection, job_id, owner, lock=True)
            if job.state in (jobs.SUCCEEDED, jobs.FAILED):
                raise errors.FailedPrecondition("JOB_ENDED", "The job has already ended.", state=job.state)
            if job.state != jobs.CANCELLED:
                job = await self._cancel(connection, job)
        self.wake()
        return job

    async def delete(self, connection: AsyncConnection, job: AnyRow) -> None:
        """Delete a job with all it owns, in the transaction of the caller, who locks it and wakes us after."""
        if job.state not in jobs.ENDED:
            job = await self._cancel(connection, job)
        await jobs.remove(connection, job.job_id)
        delays = (0.0, self.late_sweep_s)
        await sweeps.order(connection, keys.job_prefix(job.job_id), job_id=job.job_id, delays_s=delays)

    async def _cancel(self, connection: AsyncConnection, job: AnyRow) -> AnyRow:
        await _log(connection, job, "WARNING", "Cancelled.")
        return await self._end(connection, job, jobs.CANCELLED)

    async def _fail(self, connection: AsyncConnection, job: AnyRow, outcome: task_pb2.TaskOutcome) -> None:
        await _log(connection, job, "ERROR", f"Stage {outcome.stage} failed: {outcome.failed.message}")
        await self._end(connection, job, jobs.FAILED, outcome.failed)

    async def _end(
        self, connection: AsyncConnection, job: AnyRow, state: str, failure: common_pb2.Failure | None = None
    ) -> AnyRow:
        """End a job that has no result."""
        described = MessageToDict(failure, preserving_proto_field_name=True) if failure else None
        job = await jobs.change(connection, job.job_id, state=state, failure=described)
        _measure(job)
        await _tell_state(connection, job, state, failure)
        await sweeps.order(connection, keys.job_prefix(job.job_id), delays_s=(0.0, self.late_sweep_s))
        return job

    async def _done(self, connection: AsyncConnection, job: AnyRow, outcome: task_pb2.TaskOutcome) -> None:
        done = outcome.done
        await jobs.change_tasks(connection, job.job_id, [outcome.task_id], state=jobs.TASK_DONE, fraction=1.0)
        outputs = [*job.outputs, *(MessageToDict(made, preserving_proto_field_name=True) for made in done.outputs)]
        summary = {**job.summary, **MessageToDict(done.summary)}
        job = await jobs.change(connection, job.job_id, outputs=outputs, summary=summary)
        if outcome.stage == SPLIT.name:
            await self._plan(connection, job, done)
        job = await _run(connection, job)
        tasks = await jobs.tasks_of(connection, job.job_id)
        unfinished = [*tasks[jobs.TASK_WAITING], *tasks[jobs.TASK_QUEUED]]
        if all(task.stage != outcome.stage for task in unfinished):
            await _log(connection, job, "INFO", f"Stage {outcome.stage} done.")
        if not unfinished:
            await _tell_progress(connection, job)
            job = await jobs.change(connection, job.job_id, state=jobs.SUCCEEDED)
            _measure(job)
            await _log(connection, job, "INFO", "Succeeded.")
            for stage in pipeline_of(job.parameters).forgets:
                await sweeps.order(connection, keys.stage_prefix(job.job_id, stage), delays_s=(0.0, self.late_sweep_s))
            if job.pipeline == "route_match":
                await note_results(connection, job)
            await _tell_state(connection, job, jobs.SUCCEEDED)
            return
        await self._queue_ready(connection, job)
        await _tell_progress(connection, job)

    async def _plan(self, connection: AsyncConnection, job: AnyRow, done: task_pb2.TaskDone) -> None:
        found = [from_segment(segment) for segment in done.segments]
        await jobs.add_segments(connection, job.job_id, found)
        tasks = await jobs.tasks_of(connection, job.job_id)
        if not tasks[jobs.TASK_WAITING] and not tasks[jobs.TASK_QUEUED]:
            segments = await jobs.segments_of(connection, job.job_id)
            inputs = (await jobs.inputs_of(connection, [job.job_id]))[job.job_id]
            windows = window_count(inputs, segments, self.window_sec)
            await jobs.add_tasks(connection, job.job_id, later_tasks(pipeline_of(job.parameters), segments, windows))
            frames = sum(segment.stop_frame - segment.start_frame for segment in segments)
            await _log(connection, job, "INFO", f"{frames} frames in {len(segments)} segments.")

    async def requeue(self) -> int:
        """Publish every queued task again, and the state of its job; answers with how many jobs that were.

        For a broker that has lost them. A task that is done twice gives the same bytes, and its second outcome changes
        nothing.
        """
        async with self.engine.connect() as connection:
            unfinished = await jobs.unfinished(connection)
        count = 0
        for job_id in unfinished:
            async with self.engine.begin() as connection:
                job = await jobs.find(connection, job_id, lock=True)
                if job.state in jobs.ENDED:
                    continue
                tasks = await jobs.tasks_of(connection, job_id)
                await _tell_state(connection, job, job.state)
                await _publish(connection, job, tasks[jobs.TASK_QUEUED], *await _course(connection, job, tasks))
                count += 1
        return count

    async def _queue_ready(self, connection: AsyncConnection, job: AnyRow) -> None:
        tasks = await jobs.tasks_of(connection, job.job_id)
        inputs, clock = await _course(connection, job, tasks)
        ready = ready_tasks(
            pipeline_of(job.parameters),
            tasks[jobs.TASK_DONE],
            tasks[jobs.TASK_QUEUED],
            tasks[jobs.TASK_WAITING],
            self.window,
            clock,
        )
        if ready:
            await jobs.change_tasks(
                connection, job.job_id, [task.id_in(job.job_id) for task in ready], state=jobs.TASK_QUEUED
            )
            await _publish(connection, job, ready, inputs, clock)

    def wake(self) -> None:
        """Have the outbox published and the sweeps carried out now."""
        self.published.set()
        self.swept.set()


def _measure(job: AnyRow) -> None:
    seconds = (job.update_time - job.create_time).total_seconds()
    JOB_SECONDS.labels(job.pipeline, job.state).observe(seconds)


def _none_if_kept(job: AnyRow) -> tuple[float, ...]:
    """A task that ends after its job wrote for nobody, unless the job succeeded and this is an old outcome again."""
    return () if job.state == jobs.SUCCEEDED else (0.0,)


def _to_message(
    task: Task,
    job_id: str,
    unit: Unit,
    parameters: parameters_pb2.JobParameters,
    inputs: Sequence[Input],
    clock: Timeline,
) -> task_pb2.Task:
    message = task_pb2.Task(
        task_id=task.id_in(job_id),
        job_id=job_id,
        stage=task.stage,
        parameters=parameters,
        inputs=[to_input(given) for given in inputs],
        camera=task.camera,
        segments=[to_segment(segment) for segment in clock.segments],
        windows=[to_window(window) for window in clock.windows],
    )
    if unit is Unit.WINDOW and task.segment is not None:
        message.window.CopyFrom(to_window(clock.windows[task.segment]))
    elif task.segment is not None:
        of_camera = [segment for segment in clock.segments if segment.camera == task.camera]
        message.segment.CopyFrom(to_segment(of_camera[task.segment]))
    return message


async def _course(
    connection: AsyncConnection, job: AnyRow, tasks: Mapping[str, Sequence[Task]]
) -> tuple[list[Input], Timeline]:
    """What a job reads, and how that is cut."""
    inputs = (await jobs.inputs_of(connection, [job.job_id]))[job.job_id]
    segments = await jobs.segments_of(connection, job.job_id)
    # How many windows there are stays with the job, whatever the settings become.
    stages = pipeline_of(job.parameters).stages
    over_windows = [stage.name for stage in stages if stage.unit is Unit.WINDOW][:1]
    windows = sum(task.stage in over_windows for several in tasks.values() for task in several)
    return inputs, timeline(inputs, segments, windows)


async def _publish(
    connection: AsyncConnection, job: AnyRow, tasks: Sequence[Task], inputs: Sequence[Input], clock: Timeline
) -> None:
    pipeline = pipeline_of(job.parameters)
    parameters = ParseDict(job.parameters, parameters_pb2.JobParameters())
    for task in tasks:
        message = _to_message(task, job.job_id, pipeline.stage(task.stage).unit, parameters, inputs, clock)
        await outbox.put(connection, task_subject(task.stage), message, message.task_id, job.trace)


async def _run(connection: AsyncConnection, job: AnyRow) -> AnyRow:
    """Bring the job's stage and progress up to its tasks', and say once that it runs."""
    pipeline = pipeline_of(job.parameters)
    counts = {row.stage: row for row in await jobs.stage_counts(connection, [job.job_id])}
    _, fraction = progress(pipeline, {stage: [float(row.mean)] for stage, row in counts.items()})
    unfinished = [s.name for s in pipeline.stages if s.name not in counts or counts[s.name].done < counts[s.name].known]
    stage = unfinished[0] if unfinished else job.stage
    if job.state == jobs.QUEUED:
        await _tell_state(connection, job, jobs.RUNNING)
    return await jobs.change(
        connection, job.job_id, state=jobs.RUNNING, stage=stage, progress=max(fraction, job.progress)
    )


async def _tell_state(
    connection: AsyncConnection, job: AnyRow, state: str, failure: common_pb2.Failure | None = None
) -> None:
    change = event_pb2.StateChanged(state=state)
    if failure:
        change.failure.CopyFrom(failure)
    await _tell(connection, job, job_event(job.job_id, state=change), state)


async def _tell_progress(connection: AsyncConnection, job: AnyRow) -> None:
    counts = {row.stage: float(row.mean) for row in await jobs.stage_counts(connection, [job.job_id])}
    known: Mapping[str, Any] = {
        "stage": job.stage,
        "stage_progress": counts.get(job.stage, 0.0),
        "progress": job.progress,
    }
    event = job_event(job.job_id, progress=event_pb2.Progressed(**known))
    await _tell(connection, job, event, f"{job.stage}.{known['stage_progress']:.4f}.{job.progress:.4f}")


async def _log(connection: AsyncConnection, job: AnyRow, level: str, text: str) -> None:
    line = await jobs.log(connection, job.job_id, level, text)
    await _tell(connection, job, job_event(job.job_id, log=event_pb2.Logged(level=level, text=text)), str(line))


async def _tell(connection: AsyncConnection, job: AnyRow, event: event_pb2.JobEvent, mark: str) -> None:
    kind = str(event.WhichOneof("kind"))
    await outbox.put(connection, event_subject(job.job_id, kind), event, f"{job.job_id}.{kind}.{mark}", job.trace)
