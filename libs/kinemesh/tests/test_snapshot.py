"""Bytes that hold what was put in, and are refused when they are anything else."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.snapshot import SnapshotFormat


@dataclass(frozen=True)
class Things:
    count: int
    origin: NDArray[np.float64]
    ids: NDArray[np.int64]
    looks: NDArray[np.float32]


FORMAT = SnapshotFormat(
    b"TEST",
    3,
    ("count",),
    {"origin": ("<f8", (2,)), "ids": ("<i8", ("things",)), "looks": ("<f4", ("things", "size"))},
)


def things(rows: int, size: int) -> Things:
    rng = np.random.default_rng(rows + 100 * size)
    return Things(-7, rng.normal(size=2), rng.integers(-9, 9, rows), rng.normal(size=(rows, size)).astype(np.float32))


@given(st.integers(0, 5), st.integers(0, 5))
def test_what_was_written_is_read(rows: int, size: int) -> None:
    before = things(rows, size)
    data = FORMAT.pack(before)
    after = Things(**FORMAT.unpack(data))
    for name in ("origin", "ids", "looks"):
        old, new = getattr(before, name), getattr(after, name)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        np.testing.assert_array_equal(new, old)
        assert new.flags.writeable
    assert after.count == -7
    assert FORMAT.pack(after) == data


def test_every_cut_is_noticed() -> None:
    data = FORMAT.pack(things(2, 3))
    for bad in (*(data[:length] for length in range(len(data))), data + b"\0", b"PICK" + data[4:]):
        with pytest.raises(InvalidArgument) as refused:
            FORMAT.unpack(bad)
        assert refused.value.reason == "SNAPSHOT_CORRUPT"


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("length", [-1, 1 << 62, 1 << 40])
def test_a_length_that_the_data_do_not_have_is_noticed(length: int, rows: int) -> None:
    data = bytearray(FORMAT.pack(things(rows, 3)))
    struct.pack_into("<q", data, 8 + 8 + 8, length)
    with pytest.raises(InvalidArgument):
        FORMAT.unpack(bytes(data))


def test_another_version_is_told_apart_from_damage() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        replace(FORMAT, version=4).unpack(FORMAT.pack(things(1, 1)))
    assert refused.value.reason == "SNAPSHOT_VERSION"


@pytest.mark.parametrize("change", [{"origin": np.zeros(3)}, {"ids": np.zeros(5, np.int64)}, {"looks": np.zeros(2)}])
def test_arrays_of_other_shapes_are_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="shape"):
        FORMAT.pack(replace(things(2, 3), **change))
