"""Who was where when: questions over finished jobs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import detect_track_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from kinemesh.job.v1 import job_pb2
from kinemesh.pipelining import in_thread
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.jobs import Jobs
from kinemesh_detect_track.query_sql import Area, Found, Question, Span, answered, opened
from kinemesh_detect_track.query_tables import JobTables, Tables
from kinemesh_detect_track.settings import QuerySettings

_DEFAULT_PAGE, _MOST_PAGE, _MOST_SKIPPED = 20, 100, 1_000_000
_DEFAULT_GAP_S: Final = 1.0
_MOST_NAMES: Final = 1000
_MOST_CORNERS: Final = 1000
_MOST_PEOPLE: Final = 1 << 31
_MEBI: Final = 1 << 20
_TIDY_S: Final = 60.0
_KEPT_S: Final = 300.0


class Queries:
    """Answers one question after the other, so that together they take no more memory than one may.

    :param folder: for tables of finished jobs; goes when the process does.
    """

    def __init__(self, store: ObjectStore, jobs: Jobs, settings: QuerySettings, folder: Path) -> None:
        self._jobs = jobs
        self._settings = settings
        self._folder = folder
        self._tables = Tables(store, folder, settings.cache_mb * _MEBI)
        self._turn = asyncio.Semaphore(1)

    async def tidy(self, stop: asyncio.Event) -> None:
        """Let tables go that nobody has asked for lately, until ``stop`` is set: their jobs may have been deleted."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TIDY_S)
            async with self._turn:
                await self._tables.drop_unused(_KEPT_S)

    async def query(
        self, request: detect_track_pb2.QueryTracksRequest, owner: str
    ) -> detect_track_pb2.QueryTracksResponse:
        """Answer who was where when.

        :raises InvalidArgument: OUT_OF_RANGE, SITE_OR_JOBS_NEEDED, POLYGON_INVALID, UNKNOWN_ZONE, SPAN_EMPTY,
            INVALID_PAGE_TOKEN, WRONG_PIPELINE, PATHS_TOO_LONG
        :raises NotFound: ENVIRONMENT_NOT_FOUND, JOB_NOT_FOUND
        :raises FailedPrecondition: JOB_NOT_SUCCEEDED, NO_TIME_OF_DAY
        :raises DeadlineExceeded: QUERY_TIMED_OUT
        :raises ResourceExhausted: QUERY_TOO_LARGE
        """
        _check(request)
        after = _after(request.page_token)
        try:
            async with asyncio.timeout(self._settings.timeout_s) as deadline:
                now, sites = await self._sites(request, owner)
                if now is not None:
                    _question(request, after, [now])  # what cannot be asked is refused, even if no job has ended yet
                async with self._turn:
                    tables = await self._tables.of(list(sites))
                    question = _question(request, after, [sites[one.job_id] for one in tables])
                    found, more, total = await self._answered(tables, question, deadline.when())
        except TimeoutError:
            raise DeadlineExceeded("QUERY_TIMED_OUT", "The query took too long; ask for less.") from None
        presences = [_presence(one, tables[one.job].job_id, sites[tables[one.job].job_id]) for one in found]
        token = _token(found[-1], tables[found[-1].job].job_id) if more else ""
        return detect_track_pb2.QueryTracksResponse(presences=presences, next_page_token=token, total_size=total)

    async def _sites(
        self, request: detect_track_pb2.QueryTracksRequest, owner: str
    ) -> tuple[environment_pb2.Environment | None, dict[str, environment_pb2.Environment]]:
        """The site that was named, as it is now; and the jobs to look at with each one's site: that one, or else the
        site as it was then."""
        given = request.environment_id
        now = await self._jobs.environment(given, owner) if given else None
        if request.job_ids:
            jobs = [await self._jobs.finished_job(job_id, owner) for job_id in dict.fromkeys(request.job_ids)]
            jobs = [job for job in jobs if not given or job.parameters.multi_camera.environment_id == given]
        else:
            jobs = await self._jobs.finished_jobs(given, owner)
        return now, {job.job_id: now or job.parameters.multi_camera.environment for job in sorted(jobs, key=_id)}

    async def _answered(
        self, tables: Sequence[JobTables], question: Question, until: float | None
    ) -> tuple[list[Found], bool, int]:
        connection = await in_thread(opened, self._folder, self._settings.memory_mb)
        loop = asyncio.get_running_loop()
        interrupting = loop.call_at(until if until is not None else loop.time(), connection.interrupt)
        try:
            return await in_thread(answered, connection, tables, question)
        finally:
            interrupting.cancel()
            connection.close()


def _id(job: job_pb2.Job) -> str:
    return job.job_id


def _check(request: detect_track_pb2.QueryTracksRequest) -> None:
    if not request.environment_id and not request.job_ids:
        raise InvalidArgument("SITE_OR_JOBS_NEEDED", "Name an environment, or jobs.", field="environment_id")
    for job_id in request.job_ids:
        keys.component(job_id, "job_ids")
    for name, most in (("job_ids", _MOST_NAMES), ("global_ids", _MOST_NAMES), ("cameras", _MOST_NAMES), ("zones", 100)):
        if len(getattr(request, name)) > most:
            raise InvalidArgument("OUT_OF_RANGE", f"{name} may have {most} values at most.", field=name)
    for name in ("min_duration_sec", "max_gap_sec", "path_step_sec"):
        if not (math.isfinite(value := getattr(request, name)) and value >= 0):
            raise InvalidArgument("OUT_OF_RANGE", f"{name} must be a number that is not negative.", field=name)
    if not 0 <= request.page_size <= _MOST_PAGE:
        raise InvalidArgument("OUT_OF_RANGE", f"page_size must lie between 1 and {_MOST_PAGE}.", field="page_size")
    if not 0 <= request.skip <= _MOST_SKIPPED:
        raise InvalidArgument("OUT_OF_RANGE", f"skip must lie between 0 and {_MOST_SKIPPED}.", field="skip")
    corners = _corners(request.within)
    if len(corners) and not (3 <= len(corners) <= _MOST_CORNERS and np.isfinite(corners).all()):
        raise InvalidArgument(
            "POLYGON_INVALID",
            f"A polygon has from 3 to {_MOST_CORNERS} corners, all of them numbers.",
            field="within",
        )


def _question(
    request: detect_track_pb2.QueryTracksRequest,
    after: tuple[float, str, int, str, str] | None,
    sites: Sequence[environment_pb2.Environment],
) -> Question:
    """What was asked, of jobs at these sites."""
    return Question(
        global_ids=request.global_ids,
        cameras=request.cameras,
        areas=_areas(request.zones, sites) if request.zones else None,
        within=_corners(request.within) if request.within else None,
        spans=[_span(request, site) for site in sites],
        min_duration_sec=request.min_duration_sec,
        max_gap_sec=request.max_gap_sec if request.HasField("max_gap_sec") else _DEFAULT_GAP_S,
        path_step_sec=request.path_step_sec,
        size=request.page_size or _DEFAULT_PAGE,
        skip=request.skip,
        after=after,
    )


def _areas(names: Sequence[str], sites: Sequence[environment_pb2.Environment]) -> list[Area]:
    """The zones that are asked for; sites that are the same are looked at once."""
    jobs: dict[bytes, list[int]] = {}
    zones: dict[bytes, environment_pb2.Zone] = {}
    for number, site in enumerate(sites):
        for zone in site.zones:
            if zone.zone in names:
                key = zone.SerializeToString(deterministic=True)
                zones[key] = zone
                jobs.setdefault(key, []).append(number)
    unknown = sorted(set(names) - {zone.zone for zone in zones.values()})
    if unknown and sites:
        raise InvalidArgument("UNKNOWN_ZONE", f"The site has no zone {unknown[0][:64]!r}.", field="zones")
    return [
        Area(zone.zone, _corners(zone.image.corners), zone.image.camera, jobs[key])
        if zone.WhichOneof("area") == "image"
        else Area(zone.zone, _corners(zone.map.corners), "", jobs[key])
        for key, zone in zones.items()
    ]


def _span(request: detect_track_pb2.QueryTracksRequest, site: environment_pb2.Environment) -> Span:
    when = request.WhichOneof("when")
    start, stop = -math.inf, math.inf
    if when == "clock":
        start = request.clock.start_sec if request.clock.HasField("start_sec") else start
        stop = request.clock.end_sec if request.clock.HasField("end_sec") else stop
    elif when == "time":
        if not site.HasField("clock_start_time"):
            raise FailedPrecondition(
                "NO_TIME_OF_DAY",
                "The site's clock has no time of day; set clock_start_time, or ask by the clock.",
                environment_id=site.environment_id,
            )
        origin = site.clock_start_time.ToDatetime(UTC)
        span = request.time
        start = _seconds(span.start_time, origin) if span.HasField("start_time") else start
        stop = _seconds(span.end_time, origin) if span.HasField("end_time") else stop
    if not start < stop:
        raise InvalidArgument("SPAN_EMPTY", "The end must be later than the beginning.", field=when)
    return Span(start, stop)


def _seconds(moment: Timestamp, origin: datetime) -> float:
    try:
        return (moment.ToDatetime(UTC) - origin).total_seconds()
    except (ValueError, OverflowError):
        raise InvalidArgument("OUT_OF_RANGE", "The time is not one of the years 1 to 9999.", field="time") from None


def _corners(points: Sequence[Any]) -> Floats:
    return np.array([(point.x, point.y) for point in points], np.float64).reshape(-1, 2)


def _presence(found: Found, job_id: str, site: environment_pb2.Environment) -> detect_track_pb2.Presence:
    presence = detect_track_pb2.Presence(
        global_id=found.global_id,
        job_id=job_id,
        camera=found.camera,
        zone=found.zone,
        start_sec=found.start_sec,
        end_sec=found.end_sec,
        start_frame=found.start,
        stop_frame=found.stop,
        distance=found.distance,
        score=found.score,
    )
    if site.HasField("clock_start_time"):
        origin = site.clock_start_time.ToDatetime(UTC)
        presence.start_time.FromDatetime(origin + timedelta(seconds=found.start_sec))
        presence.end_time.FromDatetime(origin + timedelta(seconds=found.end_sec))
    if found.first is not None and found.last is not None:
        presence.first_position.CopyFrom(common_pb2.MapPoint(x=found.first[0], y=found.first[1]))
        presence.last_position.CopyFrom(common_pb2.MapPoint(x=found.last[0], y=found.last[1]))
    times, x, y = found.path
    if times:
        presence.path.CopyFrom(detect_track_pb2.Path(time_sec=times, x=x, y=y))
    return presence


def _token(last: Found, job_id: str) -> str:
    key = [last.start_sec, job_id, last.person, last.zone, last.camera]
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _after(token: str) -> tuple[float, str, int, str, str] | None:
    """The last presence of the page before.

    :raises InvalidArgument: INVALID_PAGE_TOKEN
    """
    if not token:
        return None
    try:
        start, job_id, person, zone, camera = json.loads(base64.urlsafe_b64decode(token))
        after = float(start), str(job_id), int(person), str(zone), str(camera)
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        after = None
    if after is None or not (math.isfinite(after[0]) and 0 <= after[2] < _MOST_PEOPLE):
        raise InvalidArgument("INVALID_PAGE_TOKEN", "page_token is not one that this list gave.", field="page_token")
    return after
