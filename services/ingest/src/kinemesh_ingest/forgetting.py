"""Taking one person out of a file of results."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinemesh.results.columns_parquet import to_parquet

_COLUMN = "global_id"


def without_person(name: str, data: bytes, global_id: str) -> bytes:
    """The file without the rows, objects and mentions of a person; as it is if it has none, or is of another kind."""
    if name.endswith(".parquet"):
        return _parquet(data, global_id)
    if global_id.encode() not in data:
        return data
    if name.endswith(".csv"):
        return _csv(data, global_id)
    if name.endswith((".json", ".geojson")):
        indent = 2 if b"\n" in data.strip() else None
        scrubbed = scrubbed_document(json.loads(data), global_id)
        return json.dumps(scrubbed, ensure_ascii=False, indent=indent).encode()
    return data


def scrubbed_document(value: Any, global_id: str) -> Any:
    """A JSON value without what is a person's: in lists, the objects that name the person themselves or in an object
    of theirs; elsewhere, the entries and the mentions."""
    if isinstance(value, list):
        return [scrubbed_document(one, global_id) for one in value if not _is_of(one, global_id)]
    if isinstance(value, dict):
        return {
            key: scrubbed_document(one, global_id)
            for key, one in value.items()
            if key != global_id and one != global_id
        }
    return value.replace(global_id, "") if isinstance(value, str) else value


def _is_of(value: Any, global_id: str) -> bool:
    if isinstance(value, dict):
        return any(_is_of(one, global_id) for one in value.values())
    return bool(value == global_id)


def _parquet(data: bytes, global_id: str) -> bytes:
    table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
    if _COLUMN not in table.schema.names:
        return data
    keep = pc.fill_null(pc.not_equal(table[_COLUMN], global_id), fill_value=True)
    kept = table.filter(keep)
    return data if len(kept) == len(table) else to_parquet(kept)


def _csv(data: bytes, global_id: str) -> bytes:
    text = data.decode()
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if global_id not in row]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n" if "\r\n" in text else "\n").writerows(rows)
    return file.getvalue().encode()
