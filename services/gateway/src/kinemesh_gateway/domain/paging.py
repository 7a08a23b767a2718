"""Pages of lists."""

from __future__ import annotations

from dataclasses import dataclass

from kinemesh.errors import InvalidArgument

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_OFFSET = 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """At most ``limit`` items, after ``offset`` items or from where ``token`` points."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    token: str = ""


def page(limit: int, offset: int, token: str) -> Page:
    """A page by number or by token.

    :raises InvalidArgument: ``PAGE_AMBIGUOUS``, if both are given.
    """
    if offset and token:
        raise InvalidArgument("PAGE_AMBIGUOUS", "Give either offset or page_token, not both.", field="page_token")
    return Page(limit, offset, token)
