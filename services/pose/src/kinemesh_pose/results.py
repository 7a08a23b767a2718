"""What a pose job leaves for its user: tables, documents, and the rows that render draws."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemesh.bodies import skeleton
from kinemesh.media import FrameIndex
from kinemesh.results.poses import PoseRows, landmark_table
from kinemesh_pose.domain.movement.report import PersonTrack, empty_table, movement_metrics
from kinemesh_pose.domain.smoothing import smooth_landmarks

VERSION = "v1"

_JSON = "application/json"
_PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of the stage movement.

    :ivar drawn: the rows as they are to be drawn: smoothed if that was asked for.
    :ivar persons: ids of the persons that the job is about.
    :ivar files: ``(name, content type, bytes)``.
    """

    drawn: PoseRows
    persons: list[int]
    files: tuple[tuple[str, str, bytes], ...]


def to_documents(rows: PoseRows, index: FrameIndex, *, smooth: bool) -> Outcome:
    """Measure every person in ``rows`` and write everything down.

    :param rows: the chosen persons' poses, ordered by frame, then person.
    """
    aspect = index.width / index.height
    persons = [int(person) for person in np.unique(rows.person_id)]
    smoothed = _smoothed(rows, persons, aspect) if smooth else None
    reports = [movement_metrics(_track(rows, person, aspect, index)) for person in persons]
    series = [_series(report.table, person) for report, person in zip(reports, persons, strict=True)]
    table = pa.concat_tables(series or [_series(empty_table(), 0)])
    metrics = {"version": VERSION, **_clip(index), "persons": [report.summary for report in reports]}
    return Outcome(
        drawn=rows if smoothed is None else replace(rows, image=smoothed),
        persons=persons,
        files=(
            ("landmarks.parquet", _PARQUET, landmark_table(rows, skeleton.LANDMARKS, _xyz(smoothed))),
            ("landmarks.json", _JSON, _landmarks_json(rows, index, smoothed)),
            ("metrics.json", _JSON, orjson.dumps(metrics)),
            ("movement.parquet", _PARQUET, _to_parquet(table)),
        ),
    )


def _track(rows: PoseRows, person: int, aspect: float, index: FrameIndex) -> PersonTrack:
    own = rows.where(rows.person_id == person)
    return PersonTrack(person, own.frame_index, own.time_sec, own.image, own.world, aspect, index.times)


def _smoothed(rows: PoseRows, persons: list[int], aspect: float) -> NDArray[np.float32]:
    smoothed = rows.image.copy()
    for person in persons:
        own = rows.person_id == person
        smoothed[own] = smooth_landmarks(rows.time_sec[own], rows.image[own], aspect)
    return smoothed


def _xyz(landmarks: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    return None if landmarks is None else landmarks[:, :, :3]


def _clip(index: FrameIndex) -> dict[str, Any]:
    return {
        "width": index.width,
        "height": index.height,
        "frame_count": index.frame_count,
        "fps": round(float(index.frame_rate), 6),
        "duration_sec": round(index.duration_s, 6),
    }


def _series(columns: dict[str, NDArray[Any]], person: int) -> pa.Table:
    length = len(columns["frame"])
    ids = pa.array(np.full(length, person, np.int32))
    names = {"frame": "frame_index", "time_s": "time_sec"}
    return pa.table({"person_id": ids, **{names.get(name, name): pa.array(v) for name, v in columns.items()}})


def _to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _landmarks_json(rows: PoseRows, index: FrameIndex, smoothed: NDArray[np.float32] | None) -> bytes:
    """One object: facts of the clip, and every frame with its persons.

    A person's ``landmarks`` are 33 × [x, y, z, visibility, presence] in the image, ``world`` 33 × [x, y, z] in metres,
    and ``smooth``, if smoothing was asked for, 33 × [x, y, z] in the image.
    """
    starts = np.searchsorted(rows.frame_index, np.arange(index.frame_count + 1))
    image, world = np.ascontiguousarray(rows.image), np.ascontiguousarray(rows.world)
    smooth = None if smoothed is None else np.ascontiguousarray(smoothed[:, :, :3])
    frames = []
    for frame in range(index.frame_count):
        persons = []
        for row in range(starts[frame], starts[frame + 1]):
            person: dict[str, Any] = {
                "person_id": int(rows.person_id[row]),
                "score": rows.score[row],
                "landmarks": image[row],
                "world": world[row],
            }
            if smooth is not None:
                person["smooth"] = smooth[row]
            persons.append(person)
        frames.append({"frame_index": frame, "time_sec": float(index.times[frame]), "persons": persons})
    document = {"version": VERSION, **_clip(index), "landmark_names": list(skeleton.LANDMARKS), "frames": frames}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
