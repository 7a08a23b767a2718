"""The stage associate: what all cameras show within a window of time, step by step, as people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.tasks import TaskContext
from kinemesh.environment.v1 import environment_pb2
from kinemesh.media import FrameIndex
from kinemesh.pipelining import in_thread
from kinemesh.recordings import camera_of, position_of, recording_name
from kinemesh.results.columns import select
from kinemesh.results.columns_parquet import (
    LOOK_SCHEMA,
    PERSON_SCHEMA,
    SIGHTING_SCHEMA,
    from_parquet,
    to_parquet,
    to_table,
)
from kinemesh.results.looks import LookRows
from kinemesh.results.sightings import PersonRows, SightingRows
from kinemesh.results.tracks import TrackRows, concatenate
from kinemesh.results.tracks_parquet import rows_from_parquet
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.domain.association.associate import step
from kinemesh_detect_track.domain.association.clock import Clock, Recorded, Schedule, schedule_of
from kinemesh_detect_track.domain.association.decisions import Decision
from kinemesh_detect_track.domain.association.people import People, looking, nobody
from kinemesh_detect_track.domain.association.places import Rules
from kinemesh_detect_track.domain.association.views import Seen, Shown, View, metre_seen, seen_by
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks, of_size
from kinemesh_detect_track.site import decisions_to_lines, global_id, metre_of, site_of, view_of
from kinemesh_detect_track.updates import Present, step_updates

ALL: Final = "all"
"""Stands for a camera in keys of what is about all of them."""
TRACKS_OF_A_RECORDING: Final = 1_000_000
"""Ids of a camera's n-th recording begin at n - 1 times this, so that they are unique in the camera."""
_PLANS: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording of a job.

    :ivar camera: position among the site's cameras.
    """

    name: str
    camera: int
    position: int
    view: View


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is the same in all windows of a job."""

    recordings: Sequence[Recording]
    schedule: Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one recording shows within a window: R rows ordered by frame, then track.

    :ivar step: int64 [R], of the job's clock.
    :ivar moment: float64 [R], time of the frame on the environment's clock.
    :ivar look: float32 [R, E], embeddings; zeros where none was made.
    :ivar worth: float32 [R], of the looks, 0 to 1.
    """

    recording: Recording
    rows: TrackRows
    step: Ints
    moment: Floats
    look: Looks
    worth: NDArray[np.float32]

    @property
    def track(self) -> Ints:
        """int64 [R], ids that are unique within the camera."""
        result: Ints = self.rows.track_id.astype(np.int64) + TRACKS_OF_A_RECORDING * self.recording.position
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a window comes to."""

    people: People
    rows: SightingRows
    decisions: Sequence[Decision]


class Association:
    """Tells who is who in several cameras."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._plans: dict[str, Plan] = {}

    async def associate(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Go through the steps of a window, and tell the job's listeners who is where."""
        wanted = task.parameters.multi_camera
        plan = await self._plan(task)
        steps = _steps_of(task, plan.schedule)
        parts, frames = [], []
        for number, of_frames in enumerate(plan.schedule.steps):
            frames.append(_frames(of_frames, steps))
            parts.append(await self._part(task, plan, number, frames[-1]))
            await context.report(0.5 * (number + 1) / len(plan.recordings))
        gallery = await self._gallery(task)
        people = await self._before(task, gallery)
        clock, site, embedded = plan.schedule.clock, wanted.environment, bool(wanted.embedder)
        found = await in_thread(associated, people, parts, clock, steps, site, embedded)
        named = replace(found.rows, global_id=_global_ids(found.rows.person, task.job_id, gallery))
        await self._store.put_bytes(_key(task, "state"), found.people.to_bytes())
        await self._store.put_bytes(_key(task, "decisions"), decisions_to_lines(found.decisions, site))
        await self._store.put_bytes(_key(task, "parquet"), await in_thread(_as_bytes, named))
        there = [
            Present(one.name, own.start, plan.schedule.steps[number][own])
            for number, (one, own) in enumerate(zip(plan.recordings, frames, strict=True))
        ]
        updates = await in_thread(step_updates, named, steps, there, clock, wanted.environment_id)
        await context.publish_steps(updates)
        return task_pb2.TaskDone(frames=sum(own.stop - own.start for own in frames))

    async def _plan(self, task: task_pb2.Task) -> Plan:
        """Recordings do not change, so that windows that follow one another need not read all indexes again."""
        if (plan := self._plans.get(task.job_id)) is None:
            indexes = [
                FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_of(task, given.camera))))
                for given in task.inputs
            ]
            plan = await in_thread(_planned, task, indexes)
            while len(self._plans) >= _PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[task.job_id] = plan
        return plan

    async def _part(self, task: task_pb2.Task, plan: Plan, number: int, frames: slice) -> Part:
        """What a recording shows in a range of frames."""
        recording = plan.recordings[number]
        rows, looks = [], []
        for segment in segments_of(task, recording.name):
            if segment.start_frame < frames.stop and segment.stop_frame > frames.start:
                data = await self._store.get_bytes(result_key(task, "track", segment))
                rows.append(await in_thread(rows_from_parquet, data))
                data = await self._store.get_bytes(result_key(task, "track", segment, "looks"))
                looks.append(await in_thread(from_parquet, LookRows, data, LOOK_SCHEMA))
        return await in_thread(_part, plan, number, concatenate(rows), looks, frames)

    async def _gallery(self, task: task_pb2.Task) -> PersonRows | None:
        if not task.parameters.multi_camera.environment.gallery.enabled:
            return None
        data = await self._store.get_bytes(keys.stage_result(task.job_id, "recall", ALL, 0))
        return from_parquet(PersonRows, data, PERSON_SCHEMA)

    async def _before(self, task: task_pb2.Task, gallery: PersonRows | None) -> People:
        if task.window.index > 0:
            key = keys.stage_result(task.job_id, "associate", ALL, task.window.index - 1, "state")
            return People.from_bytes(await self._store.get_bytes(key))
        known = np.zeros((0, 0), np.float32)
        if gallery is not None and len(gallery):
            known = gallery.embedding * gallery.worth[:, None]
        return nobody(len(task.parameters.multi_camera.environment.cameras), known)


def associated(
    people: People,
    parts: Sequence[Part],
    clock: Clock,
    steps: Ints,
    environment: environment_pb2.Environment,
    embedded: bool,
) -> Outcome:
    """Go through the steps of a window.

    :param people: the state before the first of them.
    :param steps: int64 [S], ascending.
    :param embedded: whether people are recognised by looks as well.
    """
    size = max([people.looks.shape[1], *(part.look.shape[1] for part in parts)])
    people = looking(people, size)
    parts = [replace(part, look=of_size(part.look, len(part.look), size)) for part in parts]
    if metre_of(environment) is None and np.isnan(people.metre[0]):
        people = replace(people, metre=np.array([metre_seen([(one.recording.view, one.rows.box) for one in parts])]))
    site = site_of(environment, float(people.metre[0]))
    rules = Rules() if embedded else Rules(patience_s=0.0)
    seen: list[Seen] = []
    persons: list[Ints] = []
    decisions: list[Decision] = []
    times = clock.time_of(steps).tolist()
    for time_sec, shown in zip(times, _shown(parts, steps), strict=True):
        now = seen_by(people, shown, site)
        people, person, decided = step(people, now, time_sec, site, rules)
        seen.append(now)
        persons.append(person)
        decisions += decided
    return Outcome(people, _sightings(parts, seen, persons, environment), decisions)


def _shown(parts: Sequence[Part], steps: Ints) -> Iterator[Sequence[Shown]]:
    """What the recordings show at each step, in their order."""
    borders = [(one, np.searchsorted(one.step, steps), np.searchsorted(one.step, steps, "right")) for one in parts]
    for number in range(len(steps)):
        rows = [(one, slice(int(first[number]), int(stop[number]))) for one, first, stop in borders]
        yield [
            Shown(
                part.recording.camera,
                part.recording.view,
                part.track[here],
                part.rows.box[here].astype(np.float64),
                part.look[here],
                part.worth[here],
            )
            for part, here in rows
            if here.stop > here.start
        ]


def _sightings(
    parts: Sequence[Part],
    seen: Sequence[Seen],
    persons: Sequence[Ints],
    environment: environment_pb2.Environment,
) -> SightingRows:
    """The rows of all parts with what was found, by step, camera and track."""
    at = np.concatenate([part.step for part in parts])
    # What was found comes by step, and within a step part by part: as rows do that are sorted by step alone.
    by_step = np.argsort(at, kind="stable")
    rows = concatenate([part.rows for part in parts]).where(by_step)
    which = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])[by_step]
    camera = np.array([part.recording.camera for part in parts], np.int64)[which]
    track = np.concatenate([part.track for part in parts])[by_step]
    position = np.concatenate([np.zeros((0, 2)), *(one.position for one in seen)])
    spread = np.concatenate([np.zeros((0, 2, 2)), *(one.covariance for one in seen)])
    spread[np.isnan(position[:, 0])] = np.nan
    found = SightingRows(
        step=at[by_step],
        time_sec=np.concatenate([part.moment for part in parts])[by_step],
        camera=np.array([one.camera for one in environment.cameras], np.str_)[camera],
        recording=np.array([part.recording.name for part in parts], np.str_)[which],
        camera_frame_index=rows.frame_index,
        track_id=track.astype(np.int32),
        person=np.concatenate([np.zeros(0, np.int64), *persons]).astype(np.int32),
        global_id=np.full(len(rows), "", np.str_),
        x1=rows.box[:, 0],
        y1=rows.box[:, 1],
        x2=rows.box[:, 2],
        y2=rows.box[:, 3],
        score=rows.score,
        class_id=rows.class_id,
        interpolated=rows.interpolated,
        map_x=position[:, 0],
        map_y=position[:, 1],
        cov_xx=spread[:, 0, 0],
        cov_xy=spread[:, 0, 1],
        cov_yy=spread[:, 1, 1],
        feet_hidden=np.concatenate([np.zeros(0, np.bool_), *(one.hidden for one in seen)]),
    )
    return select(found, np.lexsort((track, camera, at[by_step])))


def _planned(task: task_pb2.Task, indexes: Sequence[FrameIndex]) -> Plan:
    environment = task.parameters.multi_camera.environment
    cameras = {camera.camera: position for position, camera in enumerate(environment.cameras)}
    names = [given.camera for given in task.inputs]
    sizes = {name: (index.width, index.height) for name, index in zip(names, indexes, strict=True)}
    recordings = []
    timed = []
    for given, index in zip(task.inputs, indexes, strict=True):
        camera, position = camera_of(given.camera), position_of(given.camera)
        timed.append((camera, Recorded(position, given.start_sec, index.times)))
        own = sizes[recording_name(camera, 0)]
        view = view_of(environment.cameras[cameras[camera]], sizes[given.camera], own)
        recordings.append(Recording(given.camera, cameras[camera], position, view))
    return Plan(recordings, schedule_of(timed))


def _steps_of(task: task_pb2.Task, schedule: Schedule) -> Ints:
    """The steps of a window; the first and the last window take what lies beyond as well."""
    window = task.window
    last = window.index == max((one.index for one in task.windows), default=window.index)
    return schedule.within(window.start_sec if window.index else -np.inf, np.inf if last else window.stop_sec)


def _frames(steps: Ints, within: Ints) -> slice:
    """The frames of a recording, whose steps are given, that belong to steps of a window."""
    if not len(within):
        return slice(0, 0)
    first, stop = np.searchsorted(steps, [within[0], within[-1] + 1]).tolist()
    return slice(first, stop)


def _part(plan: Plan, number: int, rows: TrackRows, looks: Sequence[LookRows], frames: slice) -> Part:
    rows = rows.where((rows.frame_index >= frames.start) & (rows.frame_index < frames.stop))
    rows = rows.where(np.lexsort((rows.track_id, rows.frame_index)))
    parts = [part for part in looks if len(part)]
    look = np.zeros((len(rows), parts[0].embedding.shape[1] if parts else 0), np.float32)
    worth = np.zeros(len(rows), np.float32)
    for part in parts:
        at, own = _matching(rows, part)
        look[at], worth[at] = part.embedding[own], part.quality[own]
    step, moment = plan.schedule.steps[number][rows.frame_index], plan.schedule.moments[number][rows.frame_index]
    return Part(plan.recordings[number], rows, step, moment, look, worth)


def _matching(rows: TrackRows, looks: LookRows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which rows are looked at, and by which look."""
    key = rows.frame_index << 32 | rows.track_id
    wanted = looks.frame_index << 32 | looks.track_id
    _, at, own = np.intersect1d(key, wanted, return_indices=True)
    return at, own


def _global_ids(person: NDArray[np.int32], job_id: str, gallery: PersonRows | None) -> NDArray[np.str_]:
    """UUID of each row's person; empty where that is not known."""
    numbers, which = np.unique(person, return_inverse=True)
    known = {} if gallery is None else dict(zip(gallery.person.tolist(), gallery.global_id.tolist(), strict=True))
    ids = [known.get(number) or global_id(job_id, number) if number else "" for number in numbers.tolist()]
    return np.array(ids, np.str_)[which.ravel()] if ids else np.zeros(0, np.str_)


def _key(task: task_pb2.Task, suffix: str) -> str:
    return keys.stage_result(task.job_id, "associate", ALL, task.window.index, suffix)


def _as_bytes(rows: SightingRows) -> bytes:
    return to_parquet(to_table(rows, SIGHTING_SCHEMA))
