"""What may be asked for. Every refusal names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from kinemesh.errors import InvalidArgument

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_MAX_COLORS = 32


def check_id(field: str, value: str) -> str:
    """An id that a caller chose."""
    if not _ID.match(value):
        raise InvalidArgument("INVALID_ID", f"{field} must be 1 to 64 letters, digits, '-' or '_'.", field=field)
    return value


def check_range(field: str, value: float, low: float, high: float) -> None:
    """A number in ``[low, high]``."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidArgument(
            "OUT_OF_RANGE", f"{field} must lie between {low:g} and {high:g}.", field=field, value=value
        )


def check_style(
    colors: Sequence[str], line_thickness: int, joint_radius: int, trail_sec: float, field: str = "style"
) -> None:
    """How overlays are drawn; zero means the default."""
    if len(colors) > _MAX_COLORS:
        raise InvalidArgument("OUT_OF_RANGE", f"{field}.colors takes at most {_MAX_COLORS}.", field=f"{field}.colors")
    for color in colors:
        if not _COLOR.match(color):
            raise InvalidArgument("INVALID_COLOR", f"{field}.colors must look like #1f77b4.", field=f"{field}.colors")
    check_range(f"{field}.line_thickness", line_thickness, 0, 32)
    check_range(f"{field}.joint_radius", joint_radius, -1, 32)
    check_range(f"{field}.trail_sec", trail_sec, 0, 10)


def check_filename(value: str) -> str:
    """A file's name without any folder.

    :raises InvalidArgument: INVALID_FILENAME, when nothing is left or it is too long.
    """
    name = value.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or len(name) > 255 or any(ord(char) < 32 for char in name):
        raise InvalidArgument("INVALID_FILENAME", "filename must be 1 to 255 printable characters.", field="filename")
    return name
