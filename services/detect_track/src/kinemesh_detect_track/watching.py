"""A job over several cameras as it goes on: its steps, each once and in order, and where it stands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from kinemesh.bus.connection import Bus
from kinemesh.bus.events import TERMINAL, replay
from kinemesh.detect_track.v1 import detect_track_pb2
from kinemesh.errors import InvalidArgument
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh_detect_track.jobs import Jobs

_ENDED: Final = frozenset(job_pb2.JobState.Value(f"JOB_STATE_{state}") for state in TERMINAL)
_MESSAGES_BITS: Final = 12
"""An event has fewer messages than that power of two, so that they can be counted on from event to event."""


@dataclass(slots=True)
class _Told:
    """What the watcher knows already."""

    step: int
    state: str = "QUEUED"
    stage: str = ""
    progress: float = 0.0


class Watching:
    """Tells jobs' watchers."""

    def __init__(self, bus: Bus, jobs: Jobs) -> None:
        self._bus = bus
        self._jobs = jobs

    async def watch(
        self, job_id: str, since_frame: int, owner: str
    ) -> AsyncGenerator[detect_track_pb2.WatchTrackingResponse, None]:
        """A job's messages up to its end. Each watcher reads at its own pace, and holds nobody back.

        :raises NotFound: JOB_NOT_FOUND
        :raises InvalidArgument: OUT_OF_RANGE, WRONG_PIPELINE
        """
        if since_frame < 0:
            raise InvalidArgument("OUT_OF_RANGE", "since_frame must not be negative.", field="since_frame")
        told, sequence = _Told(since_frame), 0
        while True:
            job = await self._jobs.job(job_id, owner)
            async with aclosing(replay(self._bus, job_id, sequence)) as events:
                async for sequence, event in events:
                    for number, message in enumerate(_messages(event, told)):
                        message.sequence = (sequence << _MESSAGES_BITS) + number
                        yield message
                    if told.state in TERMINAL:
                        return
            # The history of a job that goes on can end early: its first event may still be in the outbox.
            if job.state in _ENDED:
                yield _last(job, (sequence + 1) << _MESSAGES_BITS)
                return


def _messages(event: event_pb2.JobEvent, told: _Told) -> Iterator[detect_track_pb2.WatchTrackingResponse]:
    kind = event.WhichOneof("kind")
    if kind == "state":
        told.state = event.state.state
        told.progress = 1.0 if told.state == "SUCCEEDED" else told.progress
        yield _status(told, event.state)
    elif kind == "progress":
        told.stage, told.progress = event.progress.stage, event.progress.progress
        yield _status(told)
    elif kind == "steps":
        for step in event.steps.steps:
            # A window that was done twice long after one another is in the history twice.
            if step.global_frame_index >= told.step:
                told.step = step.global_frame_index + 1
                yield detect_track_pb2.WatchTrackingResponse(tracking=step)


def _status(told: _Told, state: event_pb2.StateChanged | None = None) -> detect_track_pb2.WatchTrackingResponse:
    answer = detect_track_pb2.WatchTrackingResponse()
    answer.status.state, answer.status.stage, answer.status.progress = told.state, told.stage, told.progress
    if state is not None and state.HasField("failure"):
        answer.status.failure.CopyFrom(state.failure)
    return answer


def _last(job: job_pb2.Job, sequence: int) -> detect_track_pb2.WatchTrackingResponse:
    """The end of a job whose history is not kept any longer."""
    answer = detect_track_pb2.WatchTrackingResponse(sequence=sequence)
    answer.status.state = job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")
    answer.status.stage, answer.status.progress = job.stage, job.progress
    if job.HasField("failure"):
        answer.status.failure.CopyFrom(job.failure)
    return answer
