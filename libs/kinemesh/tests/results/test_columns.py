from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from kinemesh.results.columns import joined, select
from kinemesh.results.columns_parquet import (
    LOOK_SCHEMA,
    PATH_SCHEMA,
    PERSON_SCHEMA,
    SIGHTING_SCHEMA,
    from_parquet,
    to_parquet,
    to_table,
)
from kinemesh.results.looks import LookRows
from kinemesh.results.sightings import PathRows, PersonRows, SightingRows

KINDS = [
    (LookRows, LOOK_SCHEMA),
    (SightingRows, SIGHTING_SCHEMA),
    (PathRows, PATH_SCHEMA),
    (PersonRows, PERSON_SCHEMA),
]


def rows_of(kind: type, schema: object, count: int) -> object:
    random = np.random.default_rng(count)
    columns = []
    for kind_of_column in schema.types:  # type: ignore[attr-defined]
        name = str(kind_of_column)
        if name == "string":
            columns.append(np.array(["", "a", "ü,1"])[random.integers(0, 3, count)])
        elif name.startswith("list"):
            columns.append(random.normal(size=(count, 5 if count else 0)).astype(np.float32))
        elif name == "bool":
            columns.append(random.random(count) < 0.5)
        elif name.startswith("int"):
            columns.append(random.integers(0, 100, count).astype(name))
        else:
            column = random.normal(size=count).astype({"float": np.float32, "double": np.float64}[name])
            columns.append(np.where(random.random(count) < 0.2, column.dtype.type("nan"), column))
    return kind(*columns)


@pytest.mark.parametrize(("kind", "schema"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("count", [0, 1, 50])
def test_rows_come_back_as_they_were(kind: type, schema: object, count: int) -> None:
    rows = rows_of(kind, schema, count)
    data = to_parquet(to_table(rows, schema))
    assert data == to_parquet(to_table(rows, schema))
    again: Any = from_parquet(kind, data, schema)
    assert len(again) == count
    for field in fields(kind):
        before, after = getattr(rows, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(before, after)
        assert before.dtype.kind == after.dtype.kind


@pytest.mark.parametrize(("kind", "schema"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_parts_join_and_are_chosen_from(kind: type, schema: object) -> None:
    parts = [rows_of(kind, schema, count) for count in (0, 3, 0, 4)]
    whole = joined(parts)
    assert len(whole) == 7  # type: ignore[arg-type]
    last = select(whole, np.arange(7) >= 3)
    for field in fields(kind):
        np.testing.assert_array_equal(getattr(last, field.name), getattr(parts[3], field.name))
    assert len(joined([parts[0], parts[2]])) == 0  # type: ignore[arg-type]
