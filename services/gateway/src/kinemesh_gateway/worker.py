"""Events of a job → the messages of its WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from kinemesh.bus.connection import Bus
from kinemesh.bus.events import TERMINAL, replay
from kinemesh.common.v1 import common_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.serving.channel import call
from kinemesh_gateway.domain.frames import FrameOrder
from kinemesh_gateway.messages import state_name, to_json
from kinemesh_gateway.tracking import update


async def job_messages(
    jobs: Any, bus: Bus, job_id: str, owner: str, since: int, *, timeout_s: float
) -> AsyncIterator[dict[str, Any]]:
    """Messages after sequence ``since``, past ones first, up to the one with the job's last state.

    History is always read from its start, because only then is it known which frames a client that comes back
    has seen. It is pulled, so a slow client delays nobody.

    :param jobs: the stub of JobService.
    :raises NotFound: the job is unknown to ``owner``, or was deleted meanwhile.
    """
    order = FrameOrder()
    seen = 0
    while True:
        # Asked again whenever the history ends early: it may not have begun, be deleted, or be too old to be kept.
        response = await call(jobs.GetJob, job_pb2.GetJobRequest(job_id=job_id), owner=owner, timeout_s=timeout_s)
        if state_name(response.job) in TERMINAL and seen:
            return
        async for sequence, event in replay(bus, job_id, seen):
            seen = sequence
            # Frames take milliseconds, in which other clients would wait.
            message = await asyncio.to_thread(event_message, sequence, event, order)
            if message is not None and sequence > since:
                yield message
            if event.WhichOneof("kind") == "state" and event.state.state in TERMINAL:
                return
        if not seen and state_name(response.job) in TERMINAL:
            yield _last_state(response.job, since)
            return


def event_message(sequence: int, event: event_pb2.JobEvent, order: FrameOrder) -> dict[str, Any] | None:
    """The message of an event; None if it holds only frames that were there before."""
    kind = str(event.WhichOneof("kind"))
    if kind == "frames":
        frames = event.frames.frames
        fresh = order.fresh(event.frames.camera, [frame.frame_index for frame in frames])
        if not fresh:
            return None
        payload: dict[str, Any] = {"camera": event.frames.camera, "frames": [_frame(frames[i]) for i in fresh]}
    elif kind == "steps":
        payload = {"steps": [update(step) for step in event.steps.steps]}
    else:
        payload = to_json(getattr(event, kind))
    return {
        "type": kind,
        "sequence": sequence,
        "job_id": event.job_id,
        "time": event.time.ToJsonString(),
        "payload": payload,
    }


def _frame(frame: event_pb2.FrameResult) -> dict[str, Any]:
    return {
        "frame_index": frame.frame_index,
        "time_sec": round(frame.time_sec, 6),
        "persons": [
            {
                "person_id": person.person_id,
                "box": _box(person.box),
                "score": round(person.score, 4),
                "landmarks": np.asarray(person.landmarks, np.float64).round(5).tolist(),
            }
            for person in frame.persons
        ],
        "tracks": [
            {
                "track_id": track.track_id,
                "box": _box(track.box),
                "score": round(track.score, 4),
                "class_id": track.class_id,
                "label": track.label,
                "interpolated": track.interpolated,
            }
            for track in frame.tracks
        ],
    }


def _box(box: common_pb2.Box) -> dict[str, float]:
    return {side: round(getattr(box, side), 2) for side in ("x1", "y1", "x2", "y2")}


def _last_state(job: job_pb2.Job, sequence: int) -> dict[str, Any]:
    """What is left to say of a job whose history is no longer kept."""
    failure = to_json(job.failure) if job.HasField("failure") else None
    return {
        "type": "state",
        "sequence": sequence,
        "job_id": job.job_id,
        "time": job.update_time.ToJsonString(),
        "payload": {"state": state_name(job), "failure": failure},
    }
