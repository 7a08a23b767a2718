"""What ingest takes from the broker: the stage split, and what became of everybody's tasks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.consume import consume
from kinemesh.bus.tasks import Handle, TaskContext, bury, note_failure
from kinemesh.bus.topology import CONDUCTOR, TASKS, UNDERTAKER, progress_subject
from kinemesh.media.confined import Decoder
from kinemesh.media.index import FrameIndex
from kinemesh.media.types import Limits
from kinemesh.pipelining import in_thread
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.pipelines import PIPELINES, WARMED_UP
from kinemesh_ingest.domain.planning import plan_segments
from kinemesh_ingest.messages import to_segment
from kinemesh_ingest.settings import ConductorSettings

WORKER_LOST = "WORKER_LOST"
_QUEUE = "ingest"

_log = structlog.get_logger()


def split_handler(store: ObjectStore, decoder: Decoder, settings: ConductorSettings, limits: Limits) -> Handle:
    """The stage split: demuxes an asset, keeps its frame index, and cuts it into segments."""

    async def split(task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        pipeline = PIPELINES[str(task.parameters.WhichOneof("pipeline"))]
        asset_id = next(source.asset_id for source in task.inputs if source.camera == task.camera)

        def demux() -> FrameIndex:
            with store.open_range(keys.asset_source(asset_id)) as source:
                return decoder.build_index(source, limits)

        index = await in_thread(demux)
        await store.put_bytes(keys.asset_index(asset_id), index.to_bytes())
        segments = plan_segments(
            task.camera,
            index.frame_count,
            index.key_frames.tolist(),
            workers=settings.workers,
            shortest=settings.min_segment_frames,
            longest=settings.max_segment_frames,
            warm_up=settings.warm_up_frames if pipeline.has(WARMED_UP) else 0,
        )
        seconds = [*index.times - index.times[0], index.duration_s]
        return task_pb2.TaskDone(
            frames=index.frame_count,
            segments=[
                to_segment(
                    replace(
                        segment,
                        start_sec=float(seconds[segment.start_frame]),
                        stop_sec=float(seconds[segment.stop_frame]),
                    )
                )
                for segment in segments
            ],
        )

    return split


async def conduct(bus: Bus, conductor: Conductor, stop: asyncio.Event) -> None:
    """Let outcomes and reports of progress move jobs on, and bury tasks that killed every worker."""

    async def on_outcome(message: Msg) -> None:
        await conductor.on_outcome(task_pb2.TaskOutcome.FromString(message.data))
        await message.ack()

    async def on_progress(message: Msg) -> None:
        try:
            await conductor.on_progress(task_pb2.TaskProgress.FromString(message.data))
        except Exception as error:  # noqa: BLE001 - the next report makes up for a lost one
            _log.warning("progress was not noted", error=type(error).__name__)

    async def on_exhausted(message: Msg) -> None:
        advisory = json.loads(message.data)
        try:
            raw = await bus.jetstream.get_msg(TASKS, advisory["stream_seq"])
        except NotFoundError:
            await message.ack()
            return
        # Unreadable tasks never get here: they are put aside at their first delivery.
        task = task_pb2.Task.FromString(raw.data or b"")
        lost = errors.Internal(WORKER_LOST, "The work ended its worker again and again.", stage=task.stage)
        note_failure(task.stage, lost.reason)
        await bury(bus, task, lost)
        await bus.jetstream.delete_msg(TASKS, advisory["stream_seq"])
        await message.ack()

    reports = await bus.client.subscribe(progress_subject("*"), queue=_QUEUE, cb=on_progress, pending_msgs_limit=1024)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(consume(bus, CONDUCTOR, on_outcome, stop, slots=4))
            group.create_task(consume(bus, UNDERTAKER, on_exhausted, stop))
    finally:
        try:
            await reports.unsubscribe()
        except NatsError as error:
            _log.info("unsubscribe", error=type(error).__name__)
