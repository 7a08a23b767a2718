"""A made-up site with two cameras over one floor, and what the stage associate would leave of people who walk there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.common.v1.common_pb2 import MapPoint, NormalizedPoint
from kinemesh.environment.v1 import environment_pb2 as environment
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix
from kinemesh.results.columns import select
from kinemesh.results.columns_parquet import PERSON_SCHEMA, SIGHTING_SCHEMA, to_parquet, to_table
from kinemesh.results.sightings import PersonRows, SightingRows
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.domain.association.decisions import Decision
from kinemesh_detect_track.domain.association.people import nobody
from kinemesh_detect_track.site import decisions_to_lines

BEGAN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
WIDTH, HEIGHT = 1000, 500
START = 100.0
"""Of the first recording, on the environment's clock."""

RATES: Final = {"c1": 20, "c2": 10}
STARTS: Final = {"c1": START, "c2": START + 0.5}

Way = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Walk:
    """A person on the floor as one camera shows them: from second ``start`` to ``stop`` of the job."""

    number: int
    camera: str
    track: int
    start: float
    stop: float
    way: Way
    placed: bool = True
    undecided_sec: float = 0.0


@dataclass
class Scene:
    """Two cameras, 20 and 10 frames per second, for ``seconds``; c2 begins half a second later."""

    job_id: str
    walks: Sequence[Walk]
    seconds: float = 20.0
    decisions: Sequence[Decision] = ()
    looks: dict[int, Any] = field(default_factory=dict)
    site: environment.Environment = field(default_factory=lambda: site())
    window_sec: float = 6.0
    cuts: Sequence[int] = (0, 70, 150)
    gallery: PersonRows | None = None

    def index(self, camera: str) -> FrameIndex:
        frames, first = round(self.seconds * RATES[camera]), np.zeros(1, np.int64)
        pts = np.arange(frames, dtype=np.int64) + 3
        base = Fraction(1, RATES[camera])
        return FrameIndex(0, base, pts, frames + 3, first, first, WIDTH, HEIGHT, Orientation(), ColorMatrix.BT709)

    def task(self) -> task_pb2.Task:
        segments = []
        for camera in RATES:
            frames = self.index(camera).frame_count
            starts = [cut for cut in self.cuts if cut < frames]
            segments += [
                task_pb2.Segment(camera=camera, index=number, start_frame=start, stop_frame=stop)
                for number, (start, stop) in enumerate(zip(starts, [*starts[1:], frames], strict=True))
            ]
        parameters = parameters_pb2.MultiCameraParameters(
            environment_id=self.site.environment_id, model="made-up", environment=self.site
        )
        return task_pb2.Task(
            task_id=f"{self.job_id}.resolve",
            job_id=self.job_id,
            stage="resolve",
            parameters=parameters_pb2.JobParameters(multi_camera=parameters),
            inputs=[
                job_pb2.JobInput(camera=camera, asset_id=f"{self.job_id}-{camera}", start_sec=STARTS[camera])
                for camera in RATES
            ],
            segments=segments,
            windows=self.windows(),
        )

    def windows(self) -> list[task_pb2.Window]:
        edges = [
            *np.arange(START, START + self.seconds - self.window_sec / 2, self.window_sec),
            START + self.seconds + 0.5,
        ]
        return [
            task_pb2.Window(index=number, start_sec=edges[number], stop_sec=edges[number + 1])
            for number in range(len(edges) - 1)
        ]

    def rows(self) -> SightingRows:
        """What all windows together say."""
        columns: list[list[Any]] = []
        for walk in self.walks:
            rate, late = RATES[walk.camera], STARTS[walk.camera] - START
            for frame in range(round(self.seconds * rate)):
                seconds = late + frame / rate
                if not walk.start <= seconds < walk.stop:
                    continue
                x, y = walk.way(seconds)
                left, low = 100 * x, 40 * y + 100
                place = (x, y, 0.04, 0.01, 0.09) if walk.placed else (np.nan,) * 5
                number = 0 if seconds < walk.start + walk.undecided_sec else walk.number
                known = round(seconds * 20), START + seconds, walk.camera, walk.camera, frame, walk.track, number, ""
                box = left - 20, low - 100, left + 20, low, 0.8, 0, False
                columns.append([*known, *box, *place, False])
        columns.sort(key=lambda row: (row[0], row[2], row[5]))
        kinds = [kind.to_pandas_dtype() for kind in SIGHTING_SCHEMA.types]
        return SightingRows(
            *(
                np.array(column, np.str_ if kind is str or kind is np.object_ else kind)
                for column, kind in zip(zip(*columns, strict=True), kinds, strict=True)
            )
        )

    async def put(self, store: ObjectStore) -> None:
        """Lay down what resolve reads."""
        for camera in RATES:
            await store.put_bytes(keys.asset_index(f"{self.job_id}-{camera}"), self.index(camera).to_bytes())
        if self.gallery is not None:
            data = to_parquet(to_table(self.gallery, PERSON_SCHEMA))
            await store.put_bytes(keys.stage_result(self.job_id, "recall", "all", 0), data)
        rows = self.rows()
        for window in self.windows():
            inside = (rows.time_sec >= window.start_sec) & (rows.time_sec < window.stop_sec)
            said = [one for one in self.decisions if window.start_sec <= one.time_sec < window.stop_sec]
            for suffix, data in (
                ("parquet", to_parquet(to_table(select(rows, inside), SIGHTING_SCHEMA))),
                ("decisions", decisions_to_lines(said, self.site)),
                ("state", self.state()),
            ):
                await store.put_bytes(keys.stage_result(self.job_id, "associate", "all", window.index, suffix), data)

    def state(self) -> bytes:
        numbers = sorted({walk.number for walk in self.walks} - {one.other for one in self.decisions})
        size = max((len(look) for look in self.looks.values()), default=0)
        looks = np.zeros((len(numbers), size), np.float32)
        for row, number in enumerate(numbers):
            looks[row] = self.looks.get(number, 0)
        people = nobody(2, looks)
        # As after many looks at everybody: the same person is alike by 0.9, others by 0.3.
        cosines = np.array([[200, 180, 163], [200, 60, 20]], np.float64)
        people = replace(people, cosines=cosines)
        return replace(people, numbers=np.array(numbers, np.int64), next_number=max(numbers, default=0) + 1).to_bytes()


def site(**changes: Any) -> environment.Environment:
    """One floor of 10 by 8 metres, a zone on the map and one in a camera's picture."""
    began = Timestamp()
    began.FromDatetime(BEGAN)
    corners = [(2, 2), (6, 2), (6, 6), (2, 6)]
    zones = [
        environment.Zone(
            zone="bay",
            map=environment.MapPolygon(corners=[MapPoint(x=x, y=y) for x, y in corners]),
            color="#FF8800",
        ),
        environment.Zone(
            zone="door",
            image=environment.ImagePolygon(
                camera="c2", corners=[NormalizedPoint(x=x, y=y) for x, y in [(0, 0), (0.5, 0), (0.5, 1), (0, 1)]]
            ),
        ),
    ]
    given = {
        "environment_id": "floor",
        "cameras": [environment.Camera(camera="c1"), environment.Camera(camera="c2")],
        "zones": zones,
        "ground_plane": environment.GroundPlane(unit="m", width=10, height=8),
        "clock_start_time": began,
    }
    return environment.Environment(**{**given, **changes})
