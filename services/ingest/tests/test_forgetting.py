"""One person's data taken out of results."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq

from kinemesh.results.columns_parquet import PATH_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.sightings import PathRows
from kinemesh_ingest.forgetting import scrubbed_document, without_person

GONE = "11111111-1111-4111-8111-111111111111"
STAYS = "22222222-2222-4222-8222-222222222222"


def paths(ids: list[str]) -> bytes:
    count = len(ids)
    one = np.ones(count)
    rows = PathRows(
        step=np.arange(count),
        time_sec=np.arange(count) / 10.0,
        person=np.ones(count, np.int32),
        global_id=np.array(ids, np.str_),
        x=one,
        y=one,
        vx=one,
        vy=one,
        cameras=np.ones(count, np.int32),
    )
    return to_parquet(to_table(rows, PATH_SCHEMA))


def test_rows_of_a_person_leave_a_table() -> None:
    data = without_person("trajectories.parquet", paths([GONE, STAYS, "", GONE, STAYS]), GONE)
    assert from_parquet(PathRows, data, PATH_SCHEMA).step.tolist() == [1, 2, 4]
    assert pq.ParquetFile(io.BytesIO(data)).schema_arrow.equals(PATH_SCHEMA)
    assert without_person("trajectories.parquet", data, GONE) is data
    assert len(from_parquet(PathRows, without_person("a.parquet", paths([GONE]), GONE), PATH_SCHEMA)) == 0


def test_rows_of_a_person_leave_a_text() -> None:
    for end in ("\n", "\r\n"):
        text = f'step,global_id,zone{end}1,{GONE},"a, b"{end}2,{STAYS},"a, b"{end}3,,c{end}'
        left = without_person("zones.csv", text.encode(), GONE).decode()
        assert [row[0] for row in csv.reader(io.StringIO(left))] == ["step", "2", "3"]
        assert left.count(end) == 3


def test_a_person_leaves_documents() -> None:
    told = {
        "persons": [
            {"global_id": GONE, "merged": [{"with": STAYS}]},
            {"global_id": STAYS, "merged": [{"with": GONE, "why": "near"}, {"with": "x"}], "said": f"not {GONE}"},
        ],
        "by_person": {GONE: 3, STAYS: 4},
        "longest": GONE,
        "ids": [GONE, STAYS],
        "features": [{"type": "Feature", "properties": {"global_id": GONE}, "geometry": {"coordinates": [[1, 2]]}}],
        "zones": [{"zone": "door", "visits": [{"global_id": GONE}, {"global_id": STAYS}]}],
    }
    expected = {
        "persons": [{"global_id": STAYS, "merged": [{"with": "x"}], "said": "not "}],
        "by_person": {STAYS: 4},
        "ids": [STAYS],
        "features": [],
        "zones": [{"zone": "door", "visits": [{"global_id": STAYS}]}],
    }
    assert scrubbed_document(told, GONE) == expected
    for indent in (None, 2):
        left = without_person("identities.json", json.dumps(told, indent=indent).encode(), GONE)
        assert json.loads(left) == expected
        assert (b"\n" in left) == (indent is not None)


def test_what_names_nobody_stays_as_it_is() -> None:
    for name, data in (("heatmap.png", GONE.encode()), ("zones.json", b'{"a":  1}'), ("zones.csv", b"a,b\n")):
        assert without_person(name, data, GONE) is data
