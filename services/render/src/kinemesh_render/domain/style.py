"""How overlays look: checked, with defaults filled in, and scaled to a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kinemesh.errors import InvalidArgument

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

PALETTE = ("#21C7B7", "#FFA62B", "#F2606A", "#8C7BFF", "#3FA9F5", "#A4D13A", "#F27EC1", "#E8C547")
"""Neighbours differ in hue and lightness, and all stand out from skin, grass, asphalt and gym floors."""

DEFAULT_LINE_THICKNESS = 4
DEFAULT_JOINT_RADIUS = 5
REFERENCE_LINES = 720
MOST_COLORS = 64

_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")


@dataclass(frozen=True, slots=True)
class Style:
    """A checked style; sizes in pixels of a picture with 720 lines.

    :ivar colors: of persons, used in turn by their ids.
    :ivar line_thickness: of bones, 1 to 32.
    :ivar joint_radius: 0 to 32; 0 draws no joints.
    :ivar trail_sec: seconds of motion that a trail shows, 0 to 10.
    :ivar side_by_side: puts the original to the left of the annotated picture.
    :ivar labels: draws the persons' ids.
    """

    colors: tuple[Color, ...]
    line_thickness: float = DEFAULT_LINE_THICKNESS
    joint_radius: float = DEFAULT_JOINT_RADIUS
    trail_sec: float = 0.0
    side_by_side: bool = False
    labels: bool = True

    def color(self, identity: int) -> Color:
        """The colour of a person or track."""
        return self.colors[identity % len(self.colors)]


def resolve(
    colors: Sequence[str] = (),
    line_thickness: int = 0,
    joint_radius: int = 0,
    trail_sec: float = 0.0,
    *,
    side_by_side: bool = False,
    hide_labels: bool = False,
) -> Style:
    """A style from what a user asked for, where zero and empty mean the default and a radius of -1 no joints.

    :raises InvalidArgument: INVALID_STYLE, with ``field`` in its metadata.
    """
    if len(colors) > MOST_COLORS:
        raise _invalid("colors", f"There may be at most {MOST_COLORS} colours.")
    for color in colors:
        if not _HEX.match(color):
            raise _invalid("colors", "A colour is written as #RRGGBB.")
    if line_thickness and not 1 <= line_thickness <= 32:
        raise _invalid("line_thickness", "The thickness of lines must lie between 1 and 32.")
    if not -1 <= joint_radius <= 32:
        raise _invalid("joint_radius", "The radius of joints must lie between 0 and 32, or be -1 for none.")
    if not 0 <= trail_sec <= 10:  # also refuses NaN
        raise _invalid("trail_sec", "Trails may show between 0 and 10 seconds.")
    return Style(
        colors=tuple(_rgb(color) for color in colors or PALETTE),
        line_thickness=line_thickness or DEFAULT_LINE_THICKNESS,
        joint_radius=max(joint_radius, 0) if joint_radius else DEFAULT_JOINT_RADIUS,
        trail_sec=trail_sec,
        side_by_side=side_by_side,
        labels=not hide_labels,
    )


def mix(color: Color, other: Color, share: float) -> Color:
    """``color`` with a share (0 to 1) of ``other`` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def ink_on(color: Color) -> Color:
    """Black or white, whichever is read better on a colour (relative luminance, ITU-R BT.709)."""
    luminance = 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2]
    return (20, 22, 26) if luminance > 140 else (255, 255, 255)


def _rgb(color: str) -> Color:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _invalid(field: str, message: str) -> InvalidArgument:
    return InvalidArgument("INVALID_STYLE", message, field=f"style.{field}")
