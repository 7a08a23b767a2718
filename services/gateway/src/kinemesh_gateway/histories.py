"""Histories of jobs, read and written as JSON once for all who watch them.

A watcher asks for what comes after the place where it is, at its own pace. What was read is kept for the others as
long as there is room; those at the same place wait for the same reading, and one who is where nobody else is reads
alone. So nobody waits for anybody, and memory is bounded whoever stalls.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from kinemesh.bus.connection import Bus
from kinemesh.bus.events import TERMINAL, replay
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh_gateway.domain.processing import Standing
from kinemesh_gateway.tracking import standing_after, status_message, update_message

_MOST_READERS = 8
_PLACE_EVERY = 300
# Steps in memory, and then their JSON, one by one and together, in multiples of their size between services; and what a
# chunk takes by itself.
_WEIGHT = 6
_CHUNK_BYTES = 1024

_Replay = AsyncGenerator[tuple[int, event_pb2.JobEvent], None]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a job's history: after which event and step, where the job stood there, and when that was told.

    :ivar told_s: seconds since 1970, 0 at the beginning.
    """

    sequence: int = 0
    frame: int = -1
    standing: Standing = field(default_factory=Standing)
    told_s: float = 0.0


@dataclass(slots=True)
class Chunk:
    """The messages of one event; JSON is written when the first watcher needs it.

    :ivar after: the place after it.
    :ivar ends: whether it tells the job's last state.
    """

    after: Place
    task_id: str
    tells_status: bool
    ends: bool
    weight: int
    _steps: Sequence[tracking_pb2.TrackingUpdate]
    _frames: Sequence[int]
    _messages: Sequence[bytes] = ()
    _together: bytes = b""

    @classmethod
    def of(cls, task_id: str, before: Place, sequence: int, event: event_pb2.JobEvent) -> Chunk:
        """Steps that came before, as they may when work was done again, are left out."""
        steps: list[tracking_pb2.TrackingUpdate] = []
        frames: list[int] = []
        frame = before.frame
        for step in event.steps.steps:
            if step.global_frame_index > frame:
                frame = step.global_frame_index
                steps.append(step)
                frames.append(frame)
        return cls(
            after=Place(
                sequence, frame, standing_after(before.standing, event), event.time.seconds + event.time.nanos / 1e9
            ),
            task_id=task_id,
            tells_status=event.WhichOneof("kind") in ("state", "progress"),
            ends=event.state.state in TERMINAL,
            weight=_WEIGHT * event.ByteSize() + _CHUNK_BYTES,
            _steps=steps,
            _frames=frames,
        )

    @property
    def status(self) -> bytes:
        """The message that tells where the job stands after it."""
        return status_message(self.task_id, self.after.standing)

    def updates(self, since: int) -> bytes:
        """The messages of the steps from ``since`` on; empty if there are none."""
        first = bisect_left(self._frames, since)
        if first == len(self._frames):
            return b""
        if self._steps:
            self._messages = [update_message(step) for step in self._steps]
            self._together = b"".join(self._messages)
            self._steps = ()
        return self._together if first == 0 else b"".join(self._messages[first:])


class Histories:
    """The histories of all jobs that are watched now.

    :param most_bytes: that may be kept, over all jobs.
    """

    def __init__(self, bus: Bus, most_bytes: int) -> None:
        self._bus = bus
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, int], Chunk] = OrderedDict()
        self._bytes = 0
        self._open: dict[str, History] = {}

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[History]:
        """The history of a job; what is kept of it goes with the last who watches."""
        history = self._open.get(job_id)
        if history is None:
            history = self._open[job_id] = History(self, self._bus, job_id)
        history.watchers += 1
        try:
            yield history
        finally:
            history.watchers -= 1
            if not history.watchers:
                del self._open[job_id]
                for key in [key for key in self._kept if key[0] == job_id]:
                    self._bytes -= self._kept.pop(key).weight
                await history.close()

    def kept(self, job_id: str, sequence: int) -> Chunk | None:
        chunk = self._kept.get((job_id, sequence))
        if chunk is not None:
            self._kept.move_to_end((job_id, sequence))
        return chunk

    def keep(self, job_id: str, sequence: int, chunk: Chunk) -> None:
        self._kept[job_id, sequence] = chunk
        self._bytes += chunk.weight
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].weight


class History:
    """The history of one job; use :meth:`Histories.watch`."""

    def __init__(self, shared: Histories, bus: Bus, job_id: str) -> None:
        self.watchers = 0
        self._shared = shared
        self._bus = bus
        self.job_id = job_id
        self._readings: dict[int, asyncio.Task[Chunk | None]] = {}
        self._readers: dict[int, _Replay] = {}
        self._places = [Place()]

    def place(self, since: int) -> Place:
        """The last known place before step ``since``."""
        return self._places[max(bisect_left(self._places, since, key=lambda place: place.frame) - 1, 0)]

    async def after(self, place: Place) -> Chunk | None:
        """What comes after a place, once it is there; None when the job's history ends here, or is not there.

        May be cancelled; the others at this place go on waiting.
        """
        chunk = self._shared.kept(self.job_id, place.sequence)
        if chunk is not None:
            return chunk
        reading = self._readings.get(place.sequence)
        if reading is None:
            reading = self._readings[place.sequence] = asyncio.create_task(self._read(place))
            reading.add_done_callback(lambda done: self._done(place.sequence, done))
        return await asyncio.shield(reading)

    def _done(self, sequence: int, reading: asyncio.Task[Chunk | None]) -> None:
        del self._readings[sequence]
        if not reading.cancelled():
            reading.exception()  # whoever asked may have left; then nobody else looks at it

    async def _read(self, place: Place) -> Chunk | None:
        reader = self._readers.pop(place.sequence, None) or replay(self._bus, self.job_id, place.sequence)
        try:
            sequence, event = await anext(reader)
        except StopAsyncIteration:
            return None
        chunk = Chunk.of(self.job_id, place, sequence, event)
        self._shared.keep(self.job_id, place.sequence, chunk)
        if chunk.after.frame >= self._places[-1].frame + _PLACE_EVERY:
            self._places.append(chunk.after)
        await self._park(reader, sequence)
        return chunk

    async def _park(self, reader: _Replay, sequence: int) -> None:
        """Let a reader stand where it is; of two at one place one is too many, and old ones have lost their watcher."""
        given_up = [self._readers.pop(sequence)] if sequence in self._readers else []
        self._readers[sequence] = reader
        if len(self._readers) > _MOST_READERS:
            given_up.append(self._readers.pop(next(iter(self._readers))))
        for one in given_up:
            await one.aclose()

    async def close(self) -> None:
        """End all reading."""
        readings = list(self._readings.values())
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)
        for reader in self._readers.values():
            await reader.aclose()
