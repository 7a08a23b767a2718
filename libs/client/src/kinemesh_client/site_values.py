"""Values of a site's file, each refused with the field that it stands in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from kinemesh.errors import InvalidArgument


def invalid(where: str, what: str) -> InvalidArgument:
    """The refusal of a field."""
    return InvalidArgument("FIELD_INVALID", f"{where} {what}.", field=where)


def known(values: Mapping[str, Any], names: Set[str], where: str) -> None:
    """Refuse fields that there are not.

    :raises InvalidArgument: ``FIELD_UNKNOWN``.
    """
    for name in values:
        if name not in names:
            field = f"{where}.{name}" if where else name
            raise InvalidArgument("FIELD_UNKNOWN", f"There is no field {field}.", field=field)


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects; an empty one for nothing."""
    if not isinstance(value, list | None):
        raise invalid(where, "must be a list")
    for index, row in enumerate(value or ()):
        if not isinstance(row, dict):
            raise invalid(f"{where}[{index}]", "must be an object")
    return value or []


def text(value: Any, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise invalid(where, "must be a text")
    return value


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise invalid(where, "must be a number")
    return float(value)


def local_file(value: Any, folder: Path, where: str) -> Path:
    """A file that is there, by its path relative to ``folder``.

    :raises InvalidArgument: also ``FILE_NOT_FOUND``.
    """
    path = folder / Path(text(value, where)).expanduser()
    if not path.is_file():
        raise InvalidArgument("FILE_NOT_FOUND", f"{where}: there is no file {path}.", field=where, path=path)
    return path


def point(value: Any, where: str) -> dict[str, float]:
    """A point from ``[x, y]`` or ``{"x", "y"}``; a third coordinate of a point on the ground must be 0."""
    if isinstance(value, dict):
        known(value, frozenset("xy"), where)
        value = [value.get("x"), value.get("y")]
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise invalid(where, "must be a point, [x, y]")
    if len(value) == 3 and number(value[2], f"{where}[2]"):
        raise invalid(f"{where}[2]", "must be 0: only points on the ground calibrate")
    return {"x": number(value[0], f"{where}[0]"), "y": number(value[1], f"{where}[1]")}


def polygon(value: Any, where: str) -> list[dict[str, float]]:
    """Corners; whether they make sense is for the mesh to say."""
    if not isinstance(value, list):
        raise invalid(where, "must be a list of points")
    return [point(corner, f"{where}[{index}]") for index, corner in enumerate(value)]
