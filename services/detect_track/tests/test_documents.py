"""What jobs leave: files that agree with one another and with their definitions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format, struct_pb2

from kinemesh.errors import FailedPrecondition
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix
from kinemesh.results.tracks import TrackRows, empty_rows
from kinemesh.results.tracks_parquet import rows_from_parquet
from kinemesh.session.v1 import session_pb2
from kinemesh_detect_track.documents import Documents, instructor_files, pitstop_files

FRAMES, RATE = 2100, 30
LABELS = ("car", 'crew, "front"', "person")


def index_of(frames: int) -> FrameIndex:
    first = np.zeros(1, np.int64)
    pts = np.arange(frames, dtype=np.int64) + 45  # the file's clock starts at 1.5 s
    return FrameIndex(0, Fraction(1, RATE), pts, frames + 45, first, first, 1000, 500, Orientation(), ColorMatrix.BT709)


INDEX = index_of(FRAMES)


def rows_of(*classes: int) -> TrackRows:
    """One object of each class, ids from 1: each stands elsewhere, and is gone 300 frames before the one before."""
    parts = [np.arange(FRAMES - 300 * number) for number in range(len(classes))]
    frame = np.concatenate(parts) if parts else np.empty(0, np.int64)
    number = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.lexsort((number, frame))
    frame, number = frame[order], number[order]
    left = -20.0 + 200.0 * number
    box = np.stack([left, np.full(len(left), 100.0), left + 100, np.full(len(left), 400.0)], axis=1)
    return TrackRows(
        frame,
        INDEX.times[frame],
        (number + 1).astype(np.int32),
        box.astype(np.float32),
        np.full(len(frame), 0.9, np.float32),
        np.array(classes, np.int16)[number],
        (frame >= 600) & (frame < 660) & (number == 0),
    )


def pitstop(rows: TrackRows) -> Documents:
    parameters = parameters_pb2.PitstopParameters(model="mine", threshold=0.4, race="Spa")
    zone = parameters.zones.add(name="box")
    for x, y in ((0.0, 0.5), (0.3, 0.5), (0.3, 1.0), (0.0, 1.0)):
        zone.polygon.add(x=x, y=y)
    return pitstop_files(rows, INDEX, parameters, LABELS)


def instructor(rows: TrackRows, point: tuple[float, float, float] | None = None) -> Documents:
    parameters = parameters_pb2.InstructorParameters(model="small")
    if point is not None:
        parameters.subject_point.time_sec = point[0]
        parameters.subject_point.point.x, parameters.subject_point.point.y = point[1:]
    return instructor_files(rows, INDEX, parameters, LABELS)


def files_of(documents: Documents) -> dict[str, bytes]:
    return {name: data for name, _, data in documents.files}


def parsed(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(data, parse_constant=refuse)


def test_pit_stop_files_agree() -> None:
    rows = rows_of(0, 1, 1)
    documents = pitstop(rows)
    files = files_of(documents)
    assert documents.summary == {
        "objects": 3,
        "classes": {"car": 1, 'crew, "front"': 2},
        "model": "mine",
        "source_frame_count": FRAMES,
    }
    struct_pb2.Struct().update(documents.summary)
    assert len(documents.drawn) == len(rows)

    report = parsed(files["report.json"])
    assert (report["version"], report["frame_count"], report["fps"], report["race"]) == ("v1", FRAMES, 30.0, "Spa")
    assert report["threshold"] == 0.4
    assert [one["label"] for one in report["objects"]] == [LABELS[0], LABELS[1], LABELS[1]]
    assert report["objects"][0]["first_sec"] == 1.5
    assert report["objects"][0]["seen_sec"] == 68
    (zone,) = report["zones"]
    assert zone["polygon"][2] == {"x": pytest.approx(0.3), "y": 1.0}
    assert (zone["dwell"]["visits"], zone["classes"][0]["label"]) == (2, "car")
    assert [visit["track_id"] for visit in zone["visits"]] == [1, 2]
    assert [stop["complete"] for stop in report["stops"]] == [False] * 3

    lines = list(csv.DictReader(io.StringIO(files["events.csv"].decode())))
    assert len(lines) == len(report["events"])
    for line, event in zip(lines, report["events"], strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in event.items()}


def test_tracks_are_the_same_as_table_and_as_text() -> None:
    rows = rows_of(0, 1, 7)
    files = files_of(pitstop(rows))
    table = pq.read_table(io.BytesIO(files["tracks.parquet"]))
    assert set(table["label"].to_pylist()) == {"car", 'crew, "front"', "7"}
    back = rows_from_parquet(files["tracks.parquet"])
    assert np.array_equal(back.box, rows.box)
    assert np.array_equal(back.interpolated, rows.interpolated)
    lines = list(csv.DictReader(io.StringIO(files["tracks.csv"].decode())))
    assert len(lines) == len(rows)
    assert list(lines[0]) == table.column_names
    assert [line["label"] for line in lines] == table["label"].to_pylist()
    assert [int(line["frame_index"]) for line in lines] == rows.frame_index.tolist()
    assert np.allclose([float(line["x1"]) for line in lines], rows.box[:, 0])


def test_the_session_document_has_its_shape() -> None:
    documents = instructor(rows_of(2, 2))
    files = files_of(documents)
    result = parsed(files["instructor_tracking.json"])
    assert list(result) == ["version", "video", "frameDetections", "trackPoints", "derivedMetrics"]
    assert result["version"] == "v1"
    assert result["video"] == {"width": 1000, "height": 500, "fps": 30.0, "frameCount": FRAMES, "durationSec": 70.0}
    frames = result["frameDetections"]
    assert [frame["frameIndex"] for frame in frames] == list(range(FRAMES))
    assert frames[0] == {
        "frameIndex": 0,
        "timeSec": 1.5,
        "detections": [
            {"trackId": 1, "x1": 0, "y1": 0.2, "x2": 0.08, "y2": 0.8, "score": 0.9, "isInstructor": True},
            {"trackId": 2, "x1": 0.18, "y1": 0.2, "x2": 0.28, "y2": 0.8, "score": 0.9, "isInstructor": False},
        ],
    }
    assert [one["trackId"] for one in frames[630]["detections"]] == [2]  # 1 was filled in there
    points = result["trackPoints"]
    assert len(points) == FRAMES
    assert points[630]["interpolated"]
    assert points[0] == {
        "frameIndex": 0,
        "timeSec": 1.5,
        "x": 0.04,
        "y": 0.5,
        "width": 0.08,
        "height": 0.6,
        "score": 0.9,
        "interpolated": False,
    }
    derived = result["derivedMetrics"]
    assert derived["coveragePercent"] == pytest.approx(100 * 2040 / 2100, abs=1e-5)
    assert (derived["gapsCount"], derived["longestGapSec"], derived["totalDistance"]) == (1, 2.0, 0.0)
    assert derived["timeAtRestSec"] == pytest.approx(67.933333)
    assert len(derived["speedProfile"]) == 70
    assert np.shape(derived["heatMap"]["seconds"]) == (derived["heatMap"]["columns"] * derived["heatMap"]["rows"],)
    assert sum(derived["heatMap"]["seconds"]) == pytest.approx(68, abs=1e-3)
    assert {"jitter", "meanSpeed", "maxSpeed"} < set(derived)


def test_the_short_form_is_what_the_session_service_answers_with() -> None:
    files = files_of(instructor(rows_of(2, 2)))
    short = parsed(files["metrics.json"])
    message = json_format.ParseDict(short["metrics"], session_pb2.TrackMetrics())
    derived = parsed(files["instructor_tracking.json"])["derivedMetrics"]
    assert message.rest_sec == derived["timeAtRestSec"]
    assert list(message.speed_profile) == pytest.approx(derived["speedProfile"])
    assert len(message.heat_map.seconds) == 32 * 18
    assert {field.name for field, _ in message.ListFields()} <= set(short["metrics"])
    assert set(short["metrics"]) == set(session_pb2.TrackMetrics.DESCRIPTOR.fields_by_name)
    own = rows_from_parquet(files["instructor.parquet"])
    assert (set(own.track_id.tolist()), len(own), short["subject_track_id"]) == ({1}, FRAMES, 1)


def test_only_people_teach() -> None:
    documents = instructor(rows_of(0, 2, 1))
    assert documents.summary["subject_track_id"] == 2
    assert documents.summary["tracks"] == 1
    assert set(documents.drawn.track_id.tolist()) == {2}
    numbered = rows_of(0, 1)
    assert instructor_files(numbered, INDEX, parameters_pb2.InstructorParameters(), ()).summary["tracks"] == 2


def test_a_click_chooses() -> None:
    rows = rows_of(2, 2, 2)
    assert instructor(rows, (3.0, 0.23, 0.5)).summary["subject_track_id"] == 2
    with pytest.raises(FailedPrecondition) as failure:
        instructor(rows, (3.0, 0.95, 0.1))
    assert failure.value.reason == "SUBJECT_NOT_FOUND"


def test_nobody_in_the_recording_is_an_answer_unless_somebody_was_pointed_at() -> None:
    documents = instructor(empty_rows())
    files = files_of(documents)
    assert documents.summary == {
        "coverage_percent": 0.0,
        "tracks": 0,
        "subject_track_id": None,
        "model": "small",
        "source_frame_count": FRAMES,
    }
    result = parsed(files["instructor_tracking.json"])
    assert result["trackPoints"] == []
    assert len(result["frameDetections"]) == FRAMES
    assert result["derivedMetrics"]["coveragePercent"] == 0
    assert set(result["derivedMetrics"]["speedProfile"]) == {-1}
    assert len(rows_from_parquet(files["instructor.parquet"])) == 0
    assert pq.read_schema(io.BytesIO(files["tracks.parquet"])).names[-1] == "label"
    assert parsed(files_of(pitstop(empty_rows()))["report.json"])["events"] == []
    with pytest.raises(FailedPrecondition):
        instructor(empty_rows(), (3.0, 0.5, 0.5))


def test_one_frame_is_a_recording() -> None:
    rows = rows_of(2).where(np.array([0]))
    documents = instructor_files(rows, index_of(1), parameters_pb2.InstructorParameters(), LABELS)
    result = parsed(files_of(documents)["instructor_tracking.json"])
    assert result["derivedMetrics"]["coveragePercent"] == 100
    assert result["derivedMetrics"]["speedProfile"] == [-1]
    assert pitstop_files(rows, index_of(1), parameters_pb2.PitstopParameters(), LABELS).summary["objects"] == 1


def test_equal_rows_give_equal_bytes() -> None:
    rows = rows_of(2, 1, 2)
    again = replace(rows, box=rows.box.copy())
    assert pitstop(rows).files == pitstop(again).files
    assert instructor(rows).files == instructor(again).files
