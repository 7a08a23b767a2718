"""What the stage associate leaves to resolve beside its rows: decisions as JSON lines, and the ids that it gave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Final
from uuid import UUID, uuid5

import orjson

from kinemesh_detect_track.domain.association.associate import Decision, Kind

_NAMESPACE: Final = UUID("6d0c8a52-3f1e-5b7a-9a44-2f6b1d0f5c11")


def global_id(job_id: str, number: int) -> str:
    """The UUID of a person whom no gallery knew; the same in all stages of the job."""
    return str(uuid5(_NAMESPACE, f"{job_id}/{number}"))


def decision_lines(decisions: Iterable[Decision]) -> bytes:
    """Decisions, one to a line, in their order; cameras by their positions among the site's."""
    return b"".join(orjson.dumps(asdict(one), option=orjson.OPT_APPEND_NEWLINE) for one in decisions)


def decisions_of(data: bytes) -> list[Decision]:
    """Read what :func:`decision_lines` wrote."""
    lines = (orjson.loads(line) for line in data.splitlines() if line)
    return [Decision(**{**line, "kind": Kind(line["kind"])}) for line in lines]
