"""The files of a job of several cameras, written window by window, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemesh.environment.v1 import environment_pb2
from kinemesh.geometry.polygons import inside
from kinemesh.nv12 import Image
from kinemesh.results.columns import joined, select
from kinemesh.results.columns_parquet import PATH_SCHEMA, SIGHTING_SCHEMA, to_parquet, to_table
from kinemesh.results.sightings import PathRows, SightingRows
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.domain.floor import Floor, measured, pictured
from kinemesh_detect_track.domain.presence import Stay, stays
from kinemesh_detect_track.domain.ways import Ways
from kinemesh_detect_track.domain.zones import feet
from kinemesh_detect_track.heat import heat_map
from kinemesh_detect_track.outcome import Outcome
from kinemesh_detect_track.site_documents import (
    Recording,
    Times,
    geojson,
    identities_json,
    paths_csv,
    zones_csv,
    zones_json,
)

_PARQUET: Final = "application/vnd.apache.parquet"
_CSV: Final = "text/csv; charset=utf-8"
_JSON: Final = "application/json"
CONTENT_TYPES: Final = {
    "sightings.parquet": _PARQUET,
    "trajectories.parquet": _PARQUET,
    "trajectories.csv": _CSV,
    "trajectories.geojson": "application/geo+json",
    "identities.json": _JSON,
    "zones.json": _JSON,
    "zones.csv": _CSV,
    "heatmap.png": "image/png",
}
"""What the user gets, by name."""

_CHUNK: Final = 1 << 16
_NAMES: Final = ["camera", "recording", "global_id"]
_LONGEST_SIDE: Final = 2048

_Inside = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]
"""Who is in a zone, from which step, to which."""


class _Point(Protocol):
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


class SiteFiles:
    """Writes into a folder: sightings window by window within ``with``, all else with :meth:`write` afterwards."""

    def __init__(
        self,
        folder: Path,
        environment: environment_pb2.Environment,
        times: Times,
        recordings: Sequence[Recording],
        ids: Mapping[int, str],
        segments: Sequence[task_pb2.Segment],
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._times = times
        self._recordings = recordings
        # By number, so that one look-up names all rows.
        self._ids = np.zeros(max(ids, default=0) + 1, "<U36")
        for number, known in ids.items():
            self._ids[number] = known
        self._open = {
            one.name: sorted((s for s in segments if s.camera == one.name), key=lambda s: s.index) for one in recordings
        }
        self._waiting: dict[str, list[SightingRows]] = {one.name: [] for one in recordings}
        self._inside: dict[str, list[_Inside]] = {zone.zone: [] for zone in environment.zones}
        self._closing = ExitStack()

    def __enter__(self) -> SiteFiles:
        self._table = self._closing.enter_context(_writer(self.path("sightings.parquet"), SIGHTING_SCHEMA))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def path(self, name: str) -> Path:
        return self._folder / name

    def add(self, rows: SightingRows, person: NDArray[np.int32]) -> list[tuple[task_pb2.Segment, bytes]]:
        """The next window, with everybody's final number; answers with the segments that are complete now."""
        rows = replace(rows, person=person, global_id=self._ids[person])
        self._table.write_table(to_table(rows, SIGHTING_SCHEMA))
        complete = []
        for one in self._recordings:
            own = select(rows, rows.recording == one.name)
            if not len(own):
                continue
            self._waiting[one.name].append(own)
            self._look_into_zones(own, one)
            newest = int(own.camera_frame_index.max())
            while self._open[one.name] and newest >= self._open[one.name][0].stop_frame:
                complete.append(self._cut(one.name))
        return complete

    def rest(self) -> list[tuple[task_pb2.Segment, bytes]]:
        """The segments that are left when there is no further window."""
        return [self._cut(name) for name, left in self._open.items() for _ in range(len(left))]

    def write(self, found: Outcome, metre: float, background: Image | None) -> None:
        """All files but the sightings.

        :param metre: length of a metre in the map's unit.
        :param background: the map's picture, RGB.
        """
        environment, times = self._environment, self._times
        people, ways, rate = found.people, found.ways, times.clock.rate
        document = identities_json(environment, times, self._recordings, people, found.decisions, found.reunions)
        self.path("identities.json").write_bytes(document)
        visits = self._stays(ways)
        self.path("zones.json").write_bytes(zones_json(environment, times, visits, found.ids))
        self.path("zones.csv").write_bytes(zones_csv(times, visits, found.ids))
        with (
            _writer(self.path("trajectories.parquet"), PATH_SCHEMA) as table,
            self.path("trajectories.csv").open("wb") as text,
        ):
            for start in range(0, max(len(ways), 1), _CHUNK):
                rows = self._paths(select(ways, np.arange(start, min(start + _CHUNK, len(ways)))))
                table.write_table(to_table(rows, PATH_SCHEMA))
                text.write(paths_csv(rows, times, header=start == 0))
        unit = environment.ground_plane.unit or "m"
        with self.path("trajectories.geojson").open("wb") as text:
            text.writelines(geojson(self._one_by_one(ways), unit, rate))
        floor, background = _floor(environment.ground_plane, ways.place, metre, background)
        zones = [
            (zone.zone, zone.color, _corners(zone.map.corners))
            for zone in environment.zones
            if zone.WhichOneof("area") == "map"
        ]
        picture = heat_map(floor, ways.place, 1 / rate, metre, unit, zones, background)
        self.path("heatmap.png").write_bytes(picture)

    def _cut(self, recording: str) -> tuple[task_pb2.Segment, bytes]:
        """Take the rows of the recording's next segment from those that wait."""
        segment = self._open[recording].pop(0)
        waiting = self._waiting[recording]
        if not waiting:
            return segment, to_parquet(SIGHTING_SCHEMA.empty_table())
        rows = joined(waiting)
        here = rows.camera_frame_index < segment.stop_frame
        self._waiting[recording] = [select(rows, ~here)] if not here.all() else []
        return segment, to_parquet(to_table(select(rows, here), SIGHTING_SCHEMA))

    def _look_into_zones(self, rows: SightingRows, recording: Recording) -> None:
        """Note who is inside the zones of the camera's picture."""
        rows = select(rows, rows.person > 0)
        for zone in self._environment.zones:
            if zone.WhichOneof("area") != "image" or zone.image.camera != recording.camera:
                continue
            box = np.stack([rows.x1, rows.y1, rows.x2, rows.y2], axis=1)
            there = inside(feet(box, recording.width, recording.height), _corners(zone.image.corners))
            start = rows.step[there]
            self._inside[zone.zone].append((rows.person[there], start, start + recording.interval))

    def _stays(self, ways: Ways) -> dict[str, list[Stay]]:
        for zone in self._environment.zones:
            if zone.WhichOneof("area") == "map":
                there = inside(ways.place, _corners(zone.map.corners))
                start = ways.step[there]
                self._inside[zone.zone].append((ways.person[there], start, start + 1))
        found = {}
        for name, parts in self._inside.items():
            person, start, stop = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NOBODY
            found[name] = stays(name, person, start, stop, self._times.clock.rate)
        return found

    def _paths(self, ways: Ways) -> PathRows:
        return PathRows(
            ways.step,
            self._times.clock.time_of(ways.step),
            ways.person,
            self._ids[ways.person],
            ways.place[:, 0],
            ways.place[:, 1],
            ways.velocity[:, 0],
            ways.velocity[:, 1],
            ways.cameras,
        )

    def _one_by_one(self, ways: Ways) -> Iterator[PathRows]:
        order = np.lexsort((ways.step, ways.person))
        for part in np.split(order, np.flatnonzero(np.diff(ways.person[order])) + 1) if len(order) else []:
            yield self._paths(select(ways, part))


_NOBODY: Final[_Inside] = (np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_NAMES, write_statistics=True)


def _corners(points: Iterable[_Point]) -> Floats:
    return np.array([(point.x, point.y) for point in points], np.float64).reshape(-1, 2)


def _floor(
    plane: environment_pb2.GroundPlane, place: Floats, metre: float, background: Image | None
) -> tuple[Floor, Image | None]:
    """The floor, and its picture, made smaller if it is very large."""
    if background is not None:
        height, width = background.shape[:2]
        scale = plane.pixels_per_unit or (width / plane.width if plane.width > 0 else 0.0)
        if scale > 0:
            less = min(1.0, _LONGEST_SIDE / max(width, height))
            size = max(round(width * less), 1), max(round(height * less), 1)
            smaller = cv2.resize(background, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            return pictured(*size, scale * less, plane.y_up), smaller
    return measured(place, plane.width, plane.height, plane.y_up, metre), None
