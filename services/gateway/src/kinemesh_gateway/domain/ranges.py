"""Byte ranges and validators of HTTP (RFC 9110, sections 8.8, 13 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from kinemesh.errors import OutOfRange

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.IGNORECASE | re.ASCII)
_ETAGS = re.compile(r'(?:W/)?("[^"]*")')
_MOST_DIGITS = 19


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes ``[start, end)`` of ``size``."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The range that a ``Range`` header asks for; None if the whole is to be sent.

    The whole is sent, as the RFC allows, for several ranges, for other units and for what cannot be read.

    :raises OutOfRange: ``RANGE_NOT_SATISFIABLE``.
    """
    match = _ONE_RANGE.match(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if (not first and not last) or max(len(first), len(last)) > _MOST_DIGITS:
        return None
    if first:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    else:
        start = max(size - int(last), 0)
        end = size
    if start >= end:
        raise OutOfRange("RANGE_NOT_SATISFIABLE", "The range lies outside the object.", size=size)
    return ByteRange(start, end, size)


def none_match(header: str | None, etag: str) -> bool:
    """Whether ``If-None-Match`` lets the object be sent; compared weakly, as the RFC asks.

    :param etag: the object's entity tag with its quotes.
    """
    if header is None:
        return True
    return header.strip() != "*" and etag.removeprefix("W/") not in _ETAGS.findall(header)


def range_applies(header: str | None, etag: str, modified: datetime | None) -> bool:
    """Whether ``If-Range`` lets a range be sent: the entity tag is the same, or the date is exactly the object's."""
    if header is None:
        return True
    if '"' in header:
        return header.strip() == etag
    return modified is not None and _parse_date(header) == modified.replace(microsecond=0)


def http_date(moment: datetime) -> str:
    """A moment as HTTP writes it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _parse_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
