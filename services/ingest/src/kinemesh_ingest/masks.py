"""Which fields an update changes."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from kinemesh import errors


def changed_fields(given: Message, paths: Sequence[str], changeable: Sequence[str]) -> list[str]:
    """The fields that a mask names; all of ``changeable`` that are set when it is empty.

    :raises InvalidArgument: INVALID_MASK, if it names any other.
    """
    wrong = sorted(set(paths) - set(changeable))
    if wrong:
        raise errors.InvalidArgument(
            "INVALID_MASK",
            f"update_mask takes {', '.join(changeable)}.",
            field="update_mask",
            paths=",".join(wrong)[:500],
        )
    return list(paths) or [field.name for field, _ in given.ListFields() if field.name in changeable]
