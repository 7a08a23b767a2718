"""What may be asked for. Every refusal names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from kinemesh.errors import InvalidArgument

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_CONTENT_TYPE = re.compile(r"[ -~]{1,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MODEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_MAX_COLORS = 32
_MAX_LABELS = 1000


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
        check_color(f"{field}.colors", color)
    check_range(f"{field}.line_thickness", line_thickness, 0, 32)
    check_range(f"{field}.joint_radius", joint_radius, -1, 32)
    check_range(f"{field}.trail_sec", trail_sec, 0, 10)


def check_color(field: str, value: str) -> None:
    """A colour as #RRGGBB."""
    if not _COLOR.match(value):
        raise InvalidArgument("INVALID_COLOR", f"{field} must look like #1f77b4.", field=field)


def check_filename(value: str) -> str:
    """A file's name without any folder.

    :raises InvalidArgument: INVALID_FILENAME, when nothing is left or it is too long.
    """
    name = value.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or len(name) > 255 or any(ord(char) < 32 for char in name):
        raise InvalidArgument("INVALID_FILENAME", "filename must be 1 to 255 printable characters.", field="filename")
    return name


def check_content_type(value: str) -> str:
    """A media type that headers can hold; that of plain bytes when empty.

    :raises InvalidArgument: INVALID_CONTENT_TYPE.
    """
    kind = value or "application/octet-stream"
    if not _CONTENT_TYPE.fullmatch(kind):
        text = "content_type must be 1 to 127 printable characters of ASCII, such as video/mp4."
        raise InvalidArgument("INVALID_CONTENT_TYPE", text, field="content_type")
    return kind


def check_sha256(field: str, value: str) -> str:
    """A SHA-256 in lower case; empty stays empty.

    :raises InvalidArgument: INVALID_CHECKSUM.
    """
    digits = value.lower()
    if digits and not _SHA256.match(digits):
        raise InvalidArgument("INVALID_CHECKSUM", f"{field} must be 64 hexadecimal digits.", field=field)
    return digits


def check_text(field: str, value: str, most: int, *, needed: bool = False, lines: bool = False) -> None:
    """A text without control characters but, with ``lines``, those that make lines."""
    if needed and not value.strip():
        raise InvalidArgument("MISSING_FIELD", f"{field} is needed.", field=field)
    if len(value) > most:
        raise InvalidArgument("OUT_OF_RANGE", f"{field} takes at most {most} characters.", field=field)
    if any(ord(char) < 32 and not (lines and char in "\n\r\t") for char in value):
        raise InvalidArgument("INVALID_TEXT", f"{field} must not hold control characters.", field=field)


def check_model_name(value: str) -> str:
    """The name that a model shall have."""
    if not _MODEL.match(value):
        raise InvalidArgument(
            "INVALID_NAME",
            "model must be 1 to 64 lower-case letters, digits, '-' or '_', beginning with a letter or digit.",
            field="model",
        )
    return value


def check_colors(mean: Sequence[float], scale: Sequence[float]) -> None:
    """What an embedder takes from pixels, and divides them by: nothing, or a number for each channel."""
    for field, numbers in (("mean", mean), ("scale", scale)):
        if len(numbers) not in (0, 3) or not all(map(math.isfinite, numbers)):
            raise InvalidArgument("INVALID_COLOURS", f"{field} takes three finite numbers.", field=field)
    if 0 in scale:
        raise InvalidArgument("INVALID_COLOURS", "scale must not be zero.", field="scale")


def check_labels(labels: Sequence[str]) -> None:
    """Names of a model's classes."""
    if len(labels) > _MAX_LABELS:
        raise InvalidArgument("OUT_OF_RANGE", f"labels takes at most {_MAX_LABELS}.", field="labels")
    for label in labels:
        check_text("labels", label, 100, needed=True)
