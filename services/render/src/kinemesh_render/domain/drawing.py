"""Drawing on pictures, in place: skeletons, trails, boxes, polygons and captions.

Lines are anti-aliased and at sub-pixel positions, so that they move smoothly. Nothing blends whole pictures: that would
cost more than decoding them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.scene import LEAST_VISIBILITY, Area, Body, Scene, Thing, Trail
from kinemesh_render.domain.skeleton import (
    BONES,
    HEAD,
    JOINTS,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Side,
)
from kinemesh_render.domain.style import REFERENCE_LINES, Color, Style, ink_on, mix

Image = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""

_SHIFT: Final = 3  # OpenCV's fixed-point fraction bits: positions to an eighth of a pixel
_UNIT: Final = 1 << _SHIFT
_WHITE: Final[Color] = (255, 255, 255)
_OUTLINE: Final[Color] = (24, 26, 32)
_SURE: Final = 0.6
_LIGHTEN_LEFT: Final = 0.55
_LABEL_LINES: Final = 20
_TRAIL_STEPS: Final = 24
_SMOOTHINGS: Final = 2
_FAR: Final = 1 << 14  # landmarks this many pixels away are clipped, so that OpenCV's integers hold them


@dataclass(frozen=True, slots=True)
class Pen:
    """Sizes in pixels of one picture.

    :ivar line: thickness of bones.
    :ivar joint: radius of joints, 0 for none.
    :ivar outline: how far the dark outline reaches beyond a line.
    """

    line: float
    joint: float
    outline: float

    def limited_to(self, body: float) -> Pen:
        """A finer pen for a small person, whose limbs would otherwise be one blot; ``body`` is the torso's length."""
        factor = min(1.0, body / 9 / max(self.line, self.joint, 1e-6)) if body > 0 else 1.0
        return Pen(self.line * factor, self.joint * factor, self.outline)


def pen_for(style: Style, height: int) -> Pen:
    """The pen of a style on a picture of ``height`` lines."""
    scale = height / REFERENCE_LINES
    return Pen(style.line_thickness * scale, style.joint_radius * scale, max(1.0, 1.2 * scale))


def draw_scene(image: Image, scene: Scene, style: Style) -> None:
    """Draw everything on a picture, in place: what is underneath first.

    :param image: uint8 [height, width, 3], RGB, C-contiguous and writable.
    """
    pen = pen_for(style, image.shape[0])
    for area in scene.areas:
        _draw_area(image, area, style, pen)
    for trail in scene.trails:
        _draw_trail(image, trail, style, pen)
    # Larger is nearer: draw the near ones over the far ones.
    for body in sorted(scene.bodies, key=lambda body: (_torso(body), body.identity)):
        _draw_body(image, body, style, pen)
    for thing in scene.things:
        _draw_thing(image, thing, style, pen)
    if style.labels:
        for body in scene.bodies:
            _label_body(image, body, style)


def beside(original: Image, annotated: Image) -> Image:
    """Two pictures of the same height, the original on the left. uint8 [height, 2 × width, 3]."""
    return np.concatenate([original, annotated], axis=1)


def _side_color(color: Color, side: Side) -> Color:
    """The left side is a lighter tint of the person's colour; the spine's crossings lie between."""
    share = {Side.LEFT: _LIGHTEN_LEFT, Side.MIDDLE: _LIGHTEN_LEFT / 2, Side.RIGHT: 0.0}[side]
    return mix(color, _WHITE, share)


def _draw_body(image: Image, body: Body, style: Style, pen: Pen) -> None:
    pen = pen.limited_to(_torso(body))
    color = style.color(body.identity)
    points = _fixed(body.points)
    strength = body.visibility
    solid = [bone for bone in BONES if min(strength[bone.start], strength[bone.stop]) >= LEAST_VISIBILITY]
    widths: dict[int, list[NDArray[np.int32]]] = {}
    strokes: list[tuple[NDArray[np.int32], Color, int]] = []
    for bone in solid:
        line = points[[bone.start, bone.stop]]
        sure = min(strength[bone.start], strength[bone.stop]) >= _SURE
        width = pen.line * bone.weight * (1.0 if sure else 0.5)
        widths.setdefault(_whole(width + 2 * pen.outline), []).append(line)
        strokes.append((line, _side_color(color, bone.side), _whole(width)))
    # All outlines first: where bones meet, the outline of one must not cut the other.
    for thickness, lines in widths.items():
        _strokes(image, lines, _OUTLINE, thickness)
    for line, stroke, thickness in strokes:
        _strokes(image, [line], stroke, thickness)
    if pen.joint < 1:
        return
    for landmark, side in JOINTS:
        if strength[landmark] < LEAST_VISIBILITY:
            continue
        radius = pen.joint if strength[landmark] >= _SURE else pen.joint * 0.6
        _dot(image, points[landmark], radius + pen.outline, _OUTLINE)
        _dot(image, points[landmark], radius, _WHITE)
        _dot(image, points[landmark], radius * 0.6, _side_color(color, side))


def _draw_trail(image: Image, trail: Trail, style: Style, pen: Pen) -> None:
    """A tapering line. Its thickness changes in steps, so that a trail is a handful of drawn lines."""
    points, age = _thinned(trail)
    if len(points) < 2:
        return
    color = style.color(trail.identity)
    fixed = _fixed(points)
    thick = [max(1, _whole(pen.line * 0.9 * (1 - a) ** 0.8)) for a in age[1:].tolist()]
    start = 0
    for stop in range(1, len(thick) + 1):
        if stop < len(thick) and thick[stop] == thick[start]:
            continue
        shade = mix(color, _OUTLINE, 0.55 * float(age[start]))
        _strokes(image, [fixed[start : stop + 1]], shade, thick[start])
        start = stop


def _thinned(trail: Trail) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = len(trail.points)
    if count < 2:
        return trail.points, trail.age
    # Means over equal spans of age: they move smoothly from frame to frame, where every n-th point would jump.
    bins = np.minimum((trail.age * _TRAIL_STEPS).astype(np.int64), _TRAIL_STEPS - 1)
    starts = np.flatnonzero(np.diff(bins, prepend=bins[0] + 1))
    sizes = np.diff(starts, append=count)[:, None]
    points = np.add.reduceat(trail.points, starts, axis=0) / sizes
    age = np.add.reduceat(trail.age, starts) / sizes[:, 0]
    points = np.concatenate([points, trail.points[-1:]])
    age = np.concatenate([age, trail.age[-1:]])
    for _ in range(_SMOOTHINGS):
        points[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
    return points.astype(np.float32), age.astype(np.float32)


def _draw_thing(image: Image, thing: Thing, style: Style, pen: Pen) -> None:
    color = style.color(thing.identity)
    x1, y1, x2, y2 = thing.box.tolist()
    corners = _fixed(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32))
    thickness = max(1, _whole(pen.line * 0.75))
    _strokes(image, [corners], _OUTLINE, _whole(thickness + 2 * pen.outline), closed=True)
    _strokes(image, [corners], color, thickness, closed=True)
    if thing.caption and style.labels:
        _paste(image, _caption(thing.caption, color, _caption_lines(image)), x1, y1, above=True, centred=False)


def _draw_area(image: Image, area: Area, style: Style, pen: Pen) -> None:
    if len(area.corners) < 3:
        return
    thickness = max(1, _whole(pen.line * 0.5))
    corners = _fixed(area.corners)
    _strokes(image, [corners], _OUTLINE, _whole(thickness + 2 * pen.outline), closed=True)
    _strokes(image, [corners], _WHITE, thickness, closed=True)
    if area.name and style.labels:
        x, y = area.corners.min(axis=0).tolist()
        _paste(image, _caption(area.name, _WHITE, _caption_lines(image)), x, y, above=False, centred=False)


def _label_body(image: Image, body: Body, style: Style) -> None:
    if body.visibility[list(HEAD)].max() < LEAST_VISIBILITY:
        return
    head = body.points[list(HEAD)]
    sprite = _caption(str(body.identity), style.color(body.identity), _caption_lines(image))
    gap = max(0.22 * _torso(body), 4.0)  # from the eyes to above the hair
    _paste(image, sprite, float(head[:, 0].mean()), float(head[:, 1].min()) - gap, above=True, centred=True)


def _torso(body: Body) -> float:
    """Length of the longest of the torso's lines in pixels: it does not collapse when a person turns."""
    points = body.points
    spine = (points[LEFT_SHOULDER] + points[RIGHT_SHOULDER] - points[LEFT_HIP] - points[RIGHT_HIP]) / 2
    shoulders = points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]
    return float(max(np.hypot(*spine), np.hypot(*shoulders)))


# -- captions


def _caption_lines(image: Image) -> int:
    return int(max(11, round(_LABEL_LINES * image.shape[0] / REFERENCE_LINES)))


@lru_cache(maxsize=512)
def _caption(text: str, color: Color, size: int) -> tuple[Image, NDArray[np.uint16]]:
    """A rounded plate with text: its pixels, and how much each covers (uint16 [height, width, 1], 0 to 256)."""
    font = cv2.FontFace("sans")
    box = cv2.getTextSize((4096, 256), text, (0, 0), font, size, 600)
    pad = round(size * 0.45)
    height = round(size * 1.35)
    width = max(int(box[2]) + 2 * pad, height)
    plate = np.empty((height, width, 3), np.uint8)
    plate[:] = color
    left = (width - int(box[2])) // 2 - int(box[0])
    baseline = (height + round(size * 0.72)) // 2
    cv2.putText(plate, text, (left, baseline), ink_on(color), font, size, 600)
    radius = height // 2
    cover = np.zeros((height, width), np.uint8)
    ends = [((height - 1) / 2, (height - 1) / 2), (width - 1 - (height - 1) / 2, (height - 1) / 2)]
    _strokes(cover, [_fixed(np.array(ends, np.float32))], (255, 255, 255), 2 * radius - 1)
    return plate, (cover.astype(np.uint16) + (cover > 127))[:, :, None]


def _paste(
    image: Image,
    sprite: tuple[Image, NDArray[np.uint16]],
    x: float,
    y: float,
    *,
    above: bool,
    centred: bool,
) -> None:
    """Blend a caption in at a point; where it would leave the picture it is moved inside."""
    plate, cover = sprite
    rows, columns = plate.shape[:2]
    if not (np.isfinite(x) and np.isfinite(y)) or rows > image.shape[0] or columns > image.shape[1]:
        return
    left = int(np.clip(x - columns / 2 if centred else x, 0, image.shape[1] - columns))
    top = int(np.clip(y - rows if above else y, 0, image.shape[0] - rows))
    region = image[top : top + rows, left : left + columns]
    region[:] = (plate * cover + region * (256 - cover)) >> 8


# -- OpenCV's lines


def _fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    """Points as OpenCV's fixed-point numbers."""
    finite = np.nan_to_num(points, nan=-_FAR, posinf=_FAR, neginf=-_FAR)
    return np.rint(np.clip(finite, -_FAR, _FAR) * _UNIT).astype(np.int32)


def _whole(thickness: float) -> int:
    return max(1, min(255, round(thickness)))


def _strokes(
    image: Image, lines: Iterable[NDArray[np.int32]], color: Color, thickness: int, *, closed: bool = False
) -> None:
    cv2.polylines(image, list(lines), closed, color, thickness, cv2.LINE_AA, _SHIFT)


def _dot(image: Image, centre: Sequence[int] | NDArray[np.int32], radius: float, color: Color) -> None:
    x, y = int(centre[0]), int(centre[1])
    cv2.circle(image, (x, y), round(radius * _UNIT), color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
