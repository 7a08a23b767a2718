from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemesh.errors import Unavailable
from kinemesh.positioned import PositionedFile
from kinemesh.storage.range_reader import Blocks, read_ranges

DATA = bytes(range(256)) * 5 + b"tail"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 700), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-1500, 1500), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
    ),
    max_size=30,
)


@settings(deadline=None)  # threads make it slow on a busy machine
@given(STEPS, st.integers(1, 400), st.integers(1, 4), st.booleans())
def test_behaves_like_a_file(steps: list[tuple[str, int, int]], block: int, cached: int, ahead: bool) -> None:
    with ThreadPoolExecutor(1) as executor:
        reader = read_ranges(
            lambda start, end: DATA[start:end],
            len(DATA),
            executor=executor if ahead else None,
            block_bytes=block,
            cached_blocks=cached,
        )
        model = io.BytesIO(DATA)
        for verb, value, whence in steps:
            if verb == "read":
                assert reader.read(value) == model.read(value)
            elif (base := {0: 0, 1: model.tell(), 2: len(DATA)}[whence]) + value < 0:
                with pytest.raises(ValueError, match="before the start"):
                    reader.seek(value, whence)
            else:
                assert reader.seek(value, whence) == model.seek(base + value)
            assert reader.tell() == model.tell()
        reader.close()


def test_fetches_each_block_once_when_read_forward() -> None:
    asked: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        return DATA[start:end]

    with ThreadPoolExecutor(1) as executor, read_ranges(fetch, len(DATA), executor=executor, block_bytes=100) as reader:
        pieces = []
        while piece := reader.read(7):
            pieces.append(piece)
    assert b"".join(pieces) == DATA
    assert sorted(asked) == [(start, min(start + 100, len(DATA))) for start in range(0, len(DATA), 100)]


def test_memory_is_bounded() -> None:
    blocks = Blocks(lambda start, end: bytes(end - start), 10**6, None, 1000, 3)
    reader = PositionedFile(10**6, blocks.read_at)
    for position in range(0, 10**6, 50_000):
        reader.seek(position)
        reader.read(2500)
        assert len(blocks._cache) <= 3


def test_a_failed_fetch_ahead_is_raised_when_its_bytes_are_wanted() -> None:
    def fetch(start: int, end: int) -> bytes:
        if start >= 100:
            raise Unavailable("STORAGE_UNAVAILABLE", "gone")
        return DATA[start:end]

    with ThreadPoolExecutor(1) as executor, read_ranges(fetch, 300, executor=executor, block_bytes=100) as reader:
        assert reader.read(100) == DATA[:100]
        with pytest.raises(Unavailable):
            reader.read(1)


def test_a_closed_reader_refuses() -> None:
    reader = read_ranges(lambda start, end: DATA[start:end], len(DATA))
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)
