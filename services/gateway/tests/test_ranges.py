"""Ranges and validators."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinemesh.errors import InvalidArgument, OutOfRange
from kinemesh_gateway.domain.files import inline, safe_type
from kinemesh_gateway.domain.frames import FrameOrder
from kinemesh_gateway.domain.paging import page
from kinemesh_gateway.domain.ranges import http_date, none_match, parse_range, range_applies


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("Bytes = 5 - 9", (5, 10)),
    ],
)
def test_ranges(header: str, expected: tuple[int, int]) -> None:
    found = parse_range(header, 100)
    assert found is not None
    assert (found.start, found.end) == expected
    assert found.content_range == f"bytes {expected[0]}-{expected[1] - 1}/100"


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=-", "bytes=5-3", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b", "bytes=1e3-", "bytes=٣-"],
)
def test_what_is_no_single_range_asks_for_the_whole(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=200-300", 100)]
)
def test_ranges_outside_the_object(header: str, size: int) -> None:
    with pytest.raises(OutOfRange):
        parse_range(header, size)


@given(st.text(max_size=40), st.integers(0, 1000))
def test_no_header_reads_outside_the_object(text: str, size: int) -> None:
    for header in (text, "bytes=" + text):
        try:
            found = parse_range(header, size)
        except OutOfRange:
            continue
        assert found is None or 0 <= found.start < found.end <= size


@pytest.mark.parametrize(
    ("header", "sent"),
    [(None, True), ('"a"', False), ('W/"a"', False), ('"b", "a"', False), ("*", False), ('"b"', True), ("a", True)],
)
def test_if_none_match(header: str | None, sent: bool) -> None:
    assert none_match(header, '"a"') is sent


def test_if_range() -> None:
    modified = datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC)
    assert range_applies(None, '"a"', modified)
    assert range_applies('"a"', '"a"', modified)
    assert not range_applies('"b"', '"a"', modified)
    assert not range_applies('W/"a"', '"a"', modified)
    assert range_applies(http_date(modified), '"a"', modified)
    assert not range_applies("Fri, 02 Jan 2026 03:04:06 GMT", '"a"', modified)
    assert not range_applies("yesterday", '"a"', modified)
    assert not range_applies(http_date(modified), '"a"', None)


def test_names_in_headers_cannot_break_out_of_them() -> None:
    assert inline("run.mp4") == 'inline; filename="run.mp4"'
    header = inline('a"\r\nX: é.mp4')
    assert header.isascii()
    assert header.isprintable()
    assert "filename*=UTF-8''a%22%0D%0AX%3A%20%C3%A9.mp4" in header


def test_types_that_could_run_scripts_become_plain_bytes() -> None:
    assert safe_type("video/mp4; codecs=avc1") == "video/mp4"
    assert safe_type("text/html") == safe_type("image/svg+xml") == "application/octet-stream"


def test_frames_never_repeat_and_never_go_back() -> None:
    order = FrameOrder()
    assert order.fresh("a", [0, 1, 2]) == [0, 1, 2]
    assert order.fresh("a", [1, 2, 3, 3]) == [2]
    assert order.fresh("b", [0]) == [0]
    assert order.fresh("a", [0]) == []


def test_a_page_is_named_in_one_way() -> None:
    assert page(5, 10, "").offset == 10
    with pytest.raises(InvalidArgument):
        page(5, 10, "token")
