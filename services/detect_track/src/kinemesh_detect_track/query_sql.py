"""Presences as DuckDB finds them in the tables of finished jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from kinemesh.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.query_tables import JobTables

_MOST_POSITIONS: Final = 200_000
_LATEST: Final = float(1 << 53)

Positions = tuple[list[float], list[float], list[float]]


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A polygon on the map, or in one camera's picture in fractions of it; ``jobs`` are positions of those whose site
    has it."""

    zone: str
    corners: Floats
    camera: str
    jobs: Sequence[int]


@dataclass(frozen=True, slots=True)
class Span:
    """On a job's own clock, in seconds; half open."""

    start_sec: float = -np.inf
    stop_sec: float = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Whom to look for.

    :ivar spans: one per job.
    :ivar areas: None if zones were not asked for.
    :ivar after: (start, job's id, person, zone, camera) of the last presence of the page before.
    """

    global_ids: Sequence[str]
    cameras: Sequence[str]
    areas: Sequence[Area] | None
    within: Floats | None
    spans: Sequence[Span]
    min_duration_sec: float
    max_gap_sec: float
    path_step_sec: float
    size: int
    skip: int
    after: tuple[float, str, int, str, str] | None


@dataclass(frozen=True, slots=True)
class Found:
    """One presence; positions are None without any. ``path`` has times, x and y."""

    job: int
    global_id: str
    person: int
    camera: str
    zone: str
    start: int
    stop: int
    start_sec: float
    end_sec: float
    first: tuple[float, float] | None
    last: tuple[float, float] | None
    distance: float
    score: float
    path: Positions


def opened(folder: Path, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """A database in memory that can read and spill in one folder, and reach nothing else."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": 1,  # so that sums come out the same every time
            "temp_directory": str(folder / "spill"),
            "max_temp_directory_size": f"{4 * memory_mb}MB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        },
    )
    connection.execute(f"SET allowed_directories = [{_text(str(folder))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def answered(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[JobTables], question: Question
) -> tuple[list[Found], bool, int]:
    """A page of presences, whether more follow, and how many there are in all.

    :raises DeadlineExceeded: QUERY_TIMED_OUT, if the connection was interrupted.
    :raises ResourceExhausted: QUERY_TOO_LARGE
    :raises InvalidArgument: PATHS_TOO_LONG
    """
    if not tables:
        return [], False, 0
    try:
        return _answered(connection, tables, question)
    except duckdb.InterruptException:
        raise DeadlineExceeded("QUERY_TIMED_OUT", "The query took too long; ask for less.") from None
    except (duckdb.OutOfMemoryException, duckdb.IOException):
        raise ResourceExhausted("QUERY_TOO_LARGE", "The query needs more memory than it may have.") from None


def _answered(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[JobTables], question: Question
) -> tuple[list[Found], bool, int]:
    connection.register("jobs", _jobs(tables, question.spans))
    connection.register("recordings", _recordings(tables))
    values: dict[str, Any] = {
        "sightings": [str(one.sightings) for one in tables],
        "paths": [str(one.paths) for one in tables],
    }
    connection.execute(*_presences(question, values))
    (total,) = connection.execute("SELECT count(*) FROM presences").fetchall()[0]
    after = "" if question.after is None else "WHERE (start_sec, job_id, person, zone, camera) > ($1, $2, $3, $4, $5)"
    rows = connection.execute(
        f"SELECT * EXCLUDE (job_id) FROM presences {after} "  # noqa: S608 - no value of the caller's is in the text
        f"ORDER BY start_sec, job_id, person, zone, camera LIMIT {question.size + 1} OFFSET {question.skip}",
        list(question.after or ()),
    ).fetchall()
    more = len(rows) > question.size
    rows = rows[: question.size]
    paths: list[Positions] = [([], [], [])] * len(rows)
    if question.path_step_sec > 0 and rows:
        paths = _paths(connection, rows, values["paths"], question.path_step_sec)
    return [_found(row, path) for row, path in zip(rows, paths, strict=True)], more, int(total)


def _presences(question: Question, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement that finds all presences, and its values."""
    values = dict(values)
    wanted = ""
    for column, names in (("camera", question.cameras), ("global_id", question.global_ids)):
        if names:
            values[column] = list(names)
            wanted += f" AND s.{column} IN (SELECT unnest(${column}))"
    near = "TRUE" if question.within is None else _inside("x", "y", question.within)
    if question.areas is None:
        there = [_SELECT.format(zone="''", part="camera", condition=near)]
    else:
        there = []
        for number, area in enumerate(question.areas):
            values[f"zone{number}"] = area.zone
            place = ("across", "down") if area.camera else ("x", "y")
            condition = f"job IN ({', '.join(map(str, area.jobs))}) AND {near} AND {_inside(*place, area.corners)}"
            if area.camera:
                values[f"camera{number}"] = area.camera
                condition += f" AND camera = $camera{number}"
            there.append(_SELECT.format(zone=f"$zone{number}", part="''", condition=condition))
    values["gap"] = question.max_gap_sec
    values["least"] = question.min_duration_sec
    return _STATEMENT.format(wanted=wanted, there=" UNION ALL ".join(there)), values


_SELECT: Final = "SELECT *, {zone} AS zone, {part} AS part FROM seen WHERE {condition}"
_STATEMENT: Final = """
CREATE TEMP TABLE presences AS
WITH seen AS MATERIALIZED (
    SELECT j.job, j.job_id, j.rate, j.origin, s.step, least(s.step + r.lasts, j.stop_step) AS stop, s.track_id,
        s.person, s.global_id, s.camera, s.score::DOUBLE AS score, p.x, p.y,
        (s.x1::DOUBLE + s.x2::DOUBLE) / 2 / r.width AS across, s.y2::DOUBLE / r.height AS down
    FROM read_parquet($sightings, filename = true) s
    JOIN jobs j ON j.sightings = s.filename
    JOIN recordings r ON r.job = j.job AND r.recording = s.recording
    LEFT JOIN read_parquet($paths, filename = true) p
        ON p.filename = j.paths AND p.step = s.step AND p.person = s.person
    WHERE s.person > 0 AND s.step >= j.first_step AND s.step < j.stop_step{wanted}
), there AS (
    {there}
), gaps AS (
    SELECT *, step - max(stop) OVER earlier AS gap, lag(x) OVER earlier_one AS x0, lag(y) OVER earlier_one AS y0
    FROM there
    WINDOW earlier AS (PARTITION BY job, person, zone, part ORDER BY step, camera, track_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           earlier_one AS (PARTITION BY job, person, zone, part ORDER BY step, camera, track_id)
), begun AS (
    SELECT *, gap IS NULL OR (gap > 0 AND gap >= $gap * rate - 1e-6) AS begins FROM gaps
), islands AS (
    SELECT *, sum(begins::INTEGER) OVER (PARTITION BY job, person, zone, part ORDER BY step, camera, track_id
                                         ROWS UNBOUNDED PRECEDING) AS island,
        CASE WHEN begins THEN 0 ELSE coalesce(sqrt((x - x0) ** 2 + (y - y0) ** 2), 0) END AS leg
    FROM begun
), cameras AS (
    SELECT job, any_value(job_id) AS job_id, any_value(rate) AS rate, any_value(origin) AS origin, person, zone, part,
        island, camera, any_value(global_id) AS global_id, min(step) AS start, max(stop) AS stop,
        sum(score * (stop - step)) AS worth, sum(score) AS score, count(*) AS boxes, sum(leg) AS distance,
        min(step) FILTER (x IS NOT NULL) AS placed, max(step) FILTER (x IS NOT NULL) AS last_placed,
        arg_min(x, step) AS x1, arg_min(y, step) AS y1, arg_max(x, step) AS x2, arg_max(y, step) AS y2
    FROM islands GROUP BY job, person, zone, part, island, camera
)
SELECT job, any_value(job_id) AS job_id, any_value(global_id) AS global_id, person,
    first(camera ORDER BY worth DESC, camera) AS camera, zone, min(start)::BIGINT AS start_frame,
    max(stop)::BIGINT AS stop_frame, any_value(origin) + min(start) / any_value(rate) AS start_sec,
    any_value(origin) + max(stop) / any_value(rate) AS end_sec,
    arg_min(x1, placed) AS x1, arg_min(y1, placed) AS y1, arg_max(x2, last_placed) AS x2,
    arg_max(y2, last_placed) AS y2, sum(distance) AS distance, sum(score) / sum(boxes) AS score
FROM cameras GROUP BY job, person, zone, part, island
HAVING (max(stop) - min(start)) / any_value(rate) >= $least - 1e-9
"""


def _paths(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Any], files: Sequence[str], every_sec: float
) -> list[Positions]:
    """The way of each presence, by times, first and second coordinates."""
    page = {
        "number": list(range(len(rows))),
        "job": [row[0] for row in rows],
        "person": [row[2] for row in rows],
        "start": [row[5] for row in rows],
        "stop": [row[6] for row in rows],
    }
    connection.register("page", pa.table(page))
    found = connection.execute(
        """
        SELECT g.number, j.origin + p.step / j.rate, p.x, p.y
        FROM page g JOIN jobs j ON j.job = g.job
        JOIN read_parquet($paths, filename = true) p ON p.filename = j.paths AND p.person = g.person
        WHERE p.step >= g.start AND p.step < g.stop
        QUALIFY row_number() OVER (
            PARTITION BY g.number, floor((p.step - g.start) / j.rate / $every + 1e-6) ORDER BY p.step) = 1
        ORDER BY g.number, p.step LIMIT $most
        """,
        {"paths": list(files), "every": every_sec, "most": _MOST_POSITIONS + 1},
    ).fetchnumpy()
    number, *columns = found.values()
    if len(number) > _MOST_POSITIONS:
        raise InvalidArgument(
            "PATHS_TOO_LONG",
            "The paths have too many positions for one answer; ask for longer steps or fewer presences.",
            field="path_step_sec",
            most=_MOST_POSITIONS,
        )
    borders = np.searchsorted(number, np.arange(len(rows) + 1))
    return [
        (columns[0][low:high].tolist(), columns[1][low:high].tolist(), columns[2][low:high].tolist())
        for low, high in pairwise(borders.tolist())
    ]


def _found(row: Any, path: Positions) -> Found:
    job, gid, person, camera, zone, start, stop, start_sec, end_sec, x1, y1, x2, y2, distance, score = row
    first, last = None if x1 is None else (x1, y1), None if x2 is None else (x2, y2)
    return Found(job, gid, person, camera, zone, start, stop, start_sec, end_sec, first, last, distance, score, path)


def _jobs(tables: Sequence[JobTables], spans: Sequence[Span]) -> pa.Table:
    def step(one: JobTables, seconds: float) -> int:
        return int(np.ceil(np.clip((seconds - one.start_sec) * one.rate - 1e-6, 0, _LATEST)))

    return pa.table(
        {
            "job": pa.array(range(len(tables)), pa.int64()),
            "job_id": [one.job_id for one in tables],
            "sightings": [str(one.sightings) for one in tables],
            "paths": [str(one.paths) for one in tables],
            "origin": pa.array([one.start_sec for one in tables], pa.float64()),
            "rate": pa.array([one.rate for one in tables], pa.float64()),
            "first_step": [step(one, span.start_sec) for one, span in zip(tables, spans, strict=True)],
            "stop_step": [step(one, span.stop_sec) for one, span in zip(tables, spans, strict=True)],
        }
    )


def _recordings(tables: Sequence[JobTables]) -> pa.Table:
    rows = [(job, name, *known) for job, one in enumerate(tables) for name, known in one.recordings.items()]
    names = ("job", "recording", "camera", "width", "height", "lasts")
    return pa.table([list(column) for column in zip(*rows, strict=True)], names=names)


def _inside(x: str, y: str, corners: Floats) -> str:
    """Whether a place lies in a polygon, by the same arithmetic as :func:`kinemesh.geometry.polygons.inside`."""
    low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    near = f"{x} BETWEEN {low[0]:.17e} AND {high[0]:.17e} AND {y} BETWEEN {low[1]:.17e} AND {high[1]:.17e}"
    crossed = [
        f"CASE WHEN ({y1:.17e} > {y}) <> ({y2:.17e} > {y}) "
        f"AND {x} < {x1:.17e} + ({y} - {y1:.17e}) / ({y2 - y1:.17e}) * ({x2 - x1:.17e}) THEN 1 ELSE 0 END"
        for (x1, y1), (x2, y2) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True)
        if y1 != y2
    ]
    return f"({near} AND list_sum([{', '.join(crossed)}]) % 2 = 1)"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
