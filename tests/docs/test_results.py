"""Tables of results have the columns, in the order and of the types, that the documentation says."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinemesh.bodies.skeleton import LANDMARKS
from kinemesh.results.columns_parquet import PATH_SCHEMA, SIGHTING_SCHEMA
from kinemesh.results.poses import PoseRows, landmark_table
from kinemesh.results.tracks_parquet import TRACK_SCHEMA
from kinemesh_matcher.documents import MATCHES_SCHEMA

PAGE = Path(__file__).parents[2] / "docs/results.md"
_TYPES = {"double": "float64", "float": "float32"}


def pose(*, smooth: bool = False, interpolated: bool = False) -> pa.Schema:
    """The columns of a table of landmarks of one person in one frame."""
    rows = PoseRows(
        frame_index=np.zeros(1, np.int64),
        time_sec=np.zeros(1),
        person_id=np.ones(1, np.int32),
        score=np.ones(1, np.float32),
        warm_up=np.zeros(1, bool),
        image=np.zeros((1, 33, 5), np.float32),
        world=np.zeros((1, 33, 3), np.float32),
    )
    table = landmark_table(
        rows,
        LANDMARKS,
        np.zeros((1, 33, 3), np.float32) if smooth else None,
        np.zeros(1, bool) if interpolated else None,
    )
    return pq.read_schema(io.BytesIO(table))


LABELLED = TRACK_SCHEMA.append(pa.field("label", pa.dictionary(pa.int32(), pa.string())))
TABLES = {
    ("pose", "landmarks.parquet"): pose(smooth=True),
    ("pitstop", "tracks.parquet"): LABELLED,
    ("multi_camera", "sightings.parquet"): SIGHTING_SCHEMA,
    ("multi_camera", "trajectories.parquet"): PATH_SCHEMA,
    ("route_match", "landmarks.parquet"): pose(interpolated=True),
    ("route_match", "matches.parquet"): MATCHES_SCHEMA,
}


def documented(pipeline: str, file: str) -> list[tuple[str, str]]:
    """Columns with their types, as the page's table of a file has them."""
    parts = re.split(r"^# `(\w+)`$", PAGE.read_text(), flags=re.MULTILINE)
    chapter = dict(zip(parts[1::2], parts[2::2], strict=True))[pipeline]
    section = next(text for text in re.split(r"^## ", chapter, flags=re.MULTILINE) if text.startswith(f"`{file}`"))
    found = []
    for names, kind in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", section, flags=re.MULTILINE):
        columns = re.findall(r"`(\w+)`", names)
        if "…" in names:  # of a matrix
            columns = [f"h{row}{column}" for row in range(3) for column in range(3)]
        found += [(column, kind.strip()) for column in columns]
    return found


def kind_of(kind: pa.DataType) -> str:
    return "dictionary of strings" if pa.types.is_dictionary(kind) else _TYPES.get(str(kind), str(kind))


@pytest.mark.parametrize(("pipeline", "file"), TABLES)
def test_columns_are_those_of_the_page(pipeline: str, file: str) -> None:
    expected = [(field.name, kind_of(field.type)) for field in TABLES[pipeline, file]]
    left_out = {"landmark"} if (pipeline, file) == ("route_match", "landmarks.parquet") else set()
    assert documented(pipeline, file) == [column for column in expected if column[0] not in left_out]
