"""Uploads in parts: how a file is cut, and which of the parts that arrived make it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.storage.multipart import MAX_PARTS, Part

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cut:
    """A file of ``size`` bytes in parts of ``part_size`` bytes, of which the last may be shorter."""

    size: int
    part_size: int

    @property
    def count(self) -> int:
        """Number of parts."""
        return ceil(self.size / self.part_size)

    def length(self, number: int) -> int:
        """Bytes of a part, by its number from 1; 0 when there is no such part."""
        start = (number - 1) * self.part_size
        return max(0, min(self.part_size, self.size - start)) if number > 0 else 0


def part_size(most: int, part_mb: int) -> int:
    """Bytes of a part: ``part_mb`` MiB, or more for files so large that there would be too many parts."""
    return max(part_mb, ceil(most / _MIB / MAX_PARTS)) * _MIB


def arrived(found: Iterable[Part], cut: Cut) -> tuple[Part, ...]:
    """The parts that have arrived whole, by number. Of a part that was sent several times, the newest."""
    whole = (part for part in found if part.size == cut.length(part.number))
    return _newest(whole)


def chosen(found: Iterable[Part], claimed: Mapping[int, str], cut: Cut | None) -> tuple[Part, ...]:
    """The parts that a file is made of, by number.

    :param claimed: ETags by number, of the client that sent them; empty if it does not say.
    :param cut: None where the sender decides.
    :raises FailedPrecondition: ``PARTS_MISMATCH``, when others were sent; ``UPLOAD_MISSING``, when some were not.
    :raises InvalidArgument: ``SIZE_MISMATCH``, when a part has another size than it must have.
    """
    found = tuple(found)
    if claimed:
        named = [part for part in found if claimed.get(part.number) == part.etag]
        parts = _newest(named)
        if {part.number for part in parts} != set(claimed) or {part.number for part in found} != set(claimed):
            raise FailedPrecondition("PARTS_MISMATCH", "The parts are not the ones that were uploaded.", field="parts")
    elif cut is not None:
        whole = {part.number: part for part in arrived(found, cut)}
        parts = tuple(whole.get(part.number, part) for part in _newest(found))
    else:
        parts = _newest(found)
    if cut is not None:
        _check(parts, cut)
    return parts


def _check(parts: tuple[Part, ...], cut: Cut) -> None:
    for part in parts:
        if part.size != cut.length(part.number):
            raise InvalidArgument(
                "SIZE_MISMATCH",
                "The uploaded file has another size than was announced.",
                announced=cut.size,
                uploaded=sum(one.size or 0 for one in parts),
                part_number=part.number,
            )
    if len(parts) != cut.count:
        raise FailedPrecondition(
            "UPLOAD_MISSING", "Not all parts have been uploaded.", uploaded=len(parts), parts=cut.count
        )


def _newest(parts: Iterable[Part]) -> tuple[Part, ...]:
    newest: dict[int, Part] = {}
    for part in parts:
        before = newest.get(part.number)
        if before is None or _is_older(before, part):
            newest[part.number] = part
    return tuple(newest[number] for number in sorted(newest))


def _is_older(one: Part, other: Part) -> bool:
    return one.modified is not None and other.modified is not None and one.modified < other.modified
