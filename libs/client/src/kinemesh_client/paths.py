"""Parts of the API's paths and queries."""

from __future__ import annotations

from typing import Any

from kinemesh.errors import InvalidArgument


def page_params(limit: int, page_token: str) -> dict[str, Any]:
    """What asks for a page of a list."""
    return {"limit": limit, **({"page_token": page_token} if page_token else {})}


def path_id(value: str) -> str:
    """An id as part of a path: one that holds a slash would name something else.

    :raises InvalidArgument: ``INVALID_ID``.
    """
    if not value or not all(char.isalnum() or char in "._-" for char in value) or value.startswith("."):
        raise InvalidArgument("INVALID_ID", f"{value!r} is not an id.")
    return value
