"""What jobs of the pipelines pitstop and instructor leave for their users. docs/results.md describes every file."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex
from kinemesh.results.tracks import TrackRows
from kinemesh.results.tracks_parquet import rows_to_parquet, to_table
from kinemesh_detect_track.domain.path import Path, measure
from kinemesh_detect_track.domain.recording import Recording
from kinemesh_detect_track.domain.report import report
from kinemesh_detect_track.domain.subject import Click, clicked, longest_present
from kinemesh_detect_track.domain.zones import Zone
from kinemesh_detect_track.pitstop_document import events_csv, report_sections
from kinemesh_detect_track.session_document import VERSION, metrics_of, tracking_json
from kinemesh_detect_track.values import label_of, six

PERSON: Final = "person"

_JSON = "application/json"
_PARQUET = "application/vnd.apache.parquet"
_CSV = "text/csv; charset=utf-8"
_ROW_GROUP = 1 << 16  # a reader of a range of frames skips the others


@dataclass(frozen=True, slots=True)
class Documents:
    """What a job leaves.

    :ivar files: ``(name, content type, bytes)``.
    :ivar summary: JSON-ready, for the job.
    :ivar drawn: the rows that the job is about and that render draws.
    """

    files: tuple[tuple[str, str, bytes], ...]
    summary: dict[str, Any]
    drawn: TrackRows


def pitstop_files(
    rows: TrackRows, index: FrameIndex, parameters: parameters_pb2.PitstopParameters, labels: Sequence[str]
) -> Documents:
    """Report on all objects.

    :param rows: final rows of the whole recording, by frame, then id; those of no track (id 0) are left out.
    :param labels: names of the model's classes.
    """
    rows = rows.where(rows.track_id > 0)
    zones = [
        Zone(z.name, np.array([(c.x, c.y) for c in z.polygon], np.float64).reshape(-1, 2)) for z in parameters.zones
    ]
    found = report(rows, _recording(index), zones)
    sections = report_sections(found, zones, labels)
    table = _labelled(rows, labels)
    document = {
        "version": VERSION,
        **_clip(index),
        "model": parameters.model,
        "threshold": six(parameters.threshold) if parameters.HasField("threshold") else None,
        "series": parameters.series,
        "race": parameters.race,
        "notes": parameters.notes,
        **sections,
    }
    classes: Counter[str] = Counter()
    for one in found.classes:
        classes[label_of(one.class_id, labels)] += one.objects
    return Documents(
        files=(
            ("tracks.parquet", _PARQUET, _to_parquet(table)),
            ("tracks.csv", _CSV, _tracks_csv(table)),
            ("report.json", _JSON, orjson.dumps(document)),
            ("events.csv", _CSV, events_csv(sections["events"])),
        ),
        summary={
            "objects": len(found.objects),
            "classes": dict(classes),
            "model": parameters.model,
            "source_frame_count": index.frame_count,
        },
        drawn=rows,
    )


def instructor_files(
    rows: TrackRows, index: FrameIndex, parameters: parameters_pb2.InstructorParameters, labels: Sequence[str]
) -> Documents:
    """Find the instructor and measure the path.

    Boxes are cut at the picture's edges first, so that everything normalised lies in 0–1 and the figures can be
    recomputed from it. If the model knows the class ``person``, all others are left out.

    :param rows: as for :func:`pitstop_files`.
    :raises FailedPrecondition: SUBJECT_NOT_FOUND if a point was given and nobody is there.
    """
    rows = _within(_people(rows.where(rows.track_id > 0), labels), index)
    subject = _subject(rows, index, parameters)
    own = rows.where(rows.track_id == (subject or -1))
    recording = _recording(index)
    figures = measure(Path(own.frame_index, own.box.astype(np.float64), ~own.interpolated), recording)
    measured = {
        "version": VERSION,
        **_clip(index),
        "model": parameters.model,
        "subject_track_id": subject,
        "metrics": metrics_of(figures),
    }
    return Documents(
        files=(
            ("instructor_tracking.json", _JSON, b"".join(tracking_json(rows, own, subject, index, figures))),
            ("tracks.parquet", _PARQUET, _to_parquet(_labelled(rows, labels))),
            ("instructor.parquet", _PARQUET, rows_to_parquet(own)),
            ("metrics.json", _JSON, orjson.dumps(measured)),
        ),
        summary={
            "coverage_percent": six(figures.coverage_percent),
            "tracks": len(np.unique(rows.track_id)),
            "subject_track_id": subject,
            "model": parameters.model,
            "source_frame_count": index.frame_count,
        },
        drawn=rows,
    )


def _recording(index: FrameIndex) -> Recording:
    times = index.times
    return Recording(times, float(times[0]) + index.duration_s, index.width, index.height)


def _people(rows: TrackRows, labels: Sequence[str]) -> TrackRows:
    persons = [number for number, label in enumerate(labels) if label.lower() == PERSON]
    return rows.where(np.isin(rows.class_id, persons)) if persons else rows


def _within(rows: TrackRows, index: FrameIndex) -> TrackRows:
    edges = np.array([index.width, index.height] * 2, np.float32)
    return replace(rows, box=np.clip(rows.box, 0, edges))


def _subject(rows: TrackRows, index: FrameIndex, parameters: parameters_pb2.InstructorParameters) -> int | None:
    if not parameters.HasField("subject_point"):
        return longest_present(rows)
    at = parameters.subject_point
    return clicked(rows, Click(at.time_sec, at.point.x, at.point.y), index.width, index.height)


def _clip(index: FrameIndex) -> dict[str, Any]:
    return {
        "width": index.width,
        "height": index.height,
        "frame_count": index.frame_count,
        "fps": six(float(index.frame_rate)),
        "duration_sec": six(index.duration_s),
    }


def _labelled(rows: TrackRows, labels: Sequence[str]) -> pa.Table:
    """Rows with a further column ``label``: a dictionary of the names of the classes that occur."""
    known, which = np.unique(rows.class_id, return_inverse=True)
    names = pa.array([label_of(number, labels) for number in known.tolist()], pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), names)
    return to_table(rows).append_column("label", column)


def _to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["label"], row_group_size=_ROW_GROUP)
    return buffer.getvalue()


def _tracks_csv(table: pa.Table) -> bytes:
    """The table with hundredths of pixels and ten thousandths of scores."""
    decimals = {"time_sec": 6, "x1": 2, "y1": 2, "x2": 2, "y2": 2, "score": 4}
    columns = [
        pc.round(table[name], decimals[name]) if name in decimals else table[name] for name in table.column_names
    ]
    buffer = io.BytesIO()
    options = pacsv.WriteOptions(quoting_style="needed", quoting_header="none")
    pacsv.write_csv(pa.table(columns, names=table.column_names), buffer, options)
    return buffer.getvalue()
