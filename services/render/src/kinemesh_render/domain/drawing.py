"""Drawing on pictures, in place: skeletons, trails, boxes, polygons and captions.

Lines are anti-aliased and at sub-pixel positions, so that they move smoothly. Nothing blends whole pictures: that would
cost more than decoding them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import Image
from kinemesh_render.domain.canvas import Canvas, dot, fixed, paste, strokes, tint
from kinemesh_render.domain.captions import OUTLINE, WHITE, caption, caption_lines, plates
from kinemesh_render.domain.scene import LEAST_VISIBILITY, Area, Body, Scene, Spot, Thing, Trail
from kinemesh_render.domain.skeleton import (
    BONES,
    HEAD,
    JOINTS,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Bone,
    Side,
)
from kinemesh_render.domain.style import REFERENCE_LINES, Color, Style, ink_on, mix

_SURE: Final = 0.6
_LIGHTEN_LEFT: Final = 0.55
_CAPTION_SHARES: Final = ((0.2, 1.0), (0.14, 0.8), (0.0, 0.65))
"""Small things are often many. In few steps, so that a caption does not tremble with its box: the side of a square as
large as the box, in heights of the picture, and the size of the caption."""

_TRAIL_STEPS: Final = 24
_SMOOTHINGS: Final = 2
_OCCUPIED: Final[Color] = (255, 190, 40)
_TINT: Final = 0.16
_TINT_OCCUPIED: Final = 0.28
_DASH: Final = 9  # length of a dash and its gap, in thicknesses of the line
_DASH_SHARE: Final = 0.55
_BONE_DASH: Final = 4.5  # the same of a bone, which is short, in thicknesses of its outline
_GUESSED: Final = 0.7  # of the thickness of a bone that was seen
_PALER: Final = 0.35
_SPOT: Final = 2.0  # radius of a place on a map, in thicknesses of the line
_SPOT_SHARE: Final = 0.8
_BEYOND: Final = 64  # of a box that reaches further outside the picture nothing more is drawn


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


def draw_scene(canvas: Canvas, scene: Scene, style: Style) -> None:
    """Draw everything on a picture: what is underneath first."""
    pen = pen_for(style, canvas.lines)
    for area in scene.areas:
        _draw_area(canvas, area, pen)
    for trail in scene.trails:
        _draw_trail(canvas, trail, style, pen)
    # Larger is nearer: draw the near ones over the far ones.
    for body in sorted(scene.bodies, key=lambda body: (_torso(body), body.identity)):
        _draw_body(canvas, body, style, pen)
    # What stands lower is nearer, and so are captions to who reads them.
    things = sorted(scene.things, key=lambda thing: (float(thing.box[3]), thing.identity))
    for thing in things:
        _draw_thing(canvas, thing, style, pen)
    for spot in scene.spots:
        _draw_spot(canvas, spot, pen)
    if style.labels:
        for area in scene.areas:
            _label_area(canvas, area)
        for thing in things:
            _label_thing(canvas, thing, style)
        for body in scene.bodies:
            _label_body(canvas, body, style)
        for spot in scene.spots:
            _label_spot(canvas, spot, pen)


def beside(original: Image, annotated: Image) -> Image:
    """Two pictures of the same height, the original on the left. uint8 [height, 2 × width, 3]."""
    return np.concatenate([original, annotated], axis=1)


def _side_color(color: Color, side: Side) -> Color:
    """The left side is a lighter tint of the person's colour; the spine's crossings lie between."""
    share = {Side.LEFT: _LIGHTEN_LEFT, Side.MIDDLE: _LIGHTEN_LEFT / 2, Side.RIGHT: 0.0}[side]
    return mix(color, WHITE, share)


def _draw_body(canvas: Canvas, body: Body, style: Style, pen: Pen) -> None:
    pen = pen.limited_to(_torso(body))
    color = body.color or style.color(body.identity)
    points = fixed(body.points)
    strength = body.visibility.tolist()
    solid = [bone for bone in BONES if min(strength[bone.start], strength[bone.stop]) >= LEAST_VISIBILITY]
    if body.guessed:
        _draw_guessed(canvas, body.points, solid, color, pen)
        return
    outlines: dict[int, list[tuple[int, int]]] = {}
    fillings: dict[tuple[Color, int], list[tuple[int, int]]] = {}
    for bone in solid:
        ends = bone.start, bone.stop
        sure = min(strength[bone.start], strength[bone.stop]) >= _SURE
        width = pen.line * bone.weight * (1.0 if sure else 0.5)
        outlines.setdefault(_whole(width + 2 * pen.outline), []).append(ends)
        fillings.setdefault((_side_color(color, bone.side), _whole(width)), []).append(ends)
    # All outlines first: where bones meet, the outline of one must not cut the other.
    for thickness, bones in outlines.items():
        strokes(canvas, points[bones], OUTLINE, thickness)
    for (shade, thickness), bones in fillings.items():
        strokes(canvas, points[bones], shade, thickness)
    if pen.joint < 1:
        return
    for landmark, side in JOINTS:
        if strength[landmark] < LEAST_VISIBILITY:
            continue
        radius = pen.joint if strength[landmark] >= _SURE else pen.joint * 0.6
        dot(canvas, points[landmark], radius + pen.outline, OUTLINE)
        dot(canvas, points[landmark], radius, WHITE)
        dot(canvas, points[landmark], radius * 0.6, _side_color(color, side))


def _draw_guessed(canvas: Canvas, points: NDArray[np.float32], bones: Sequence[Bone], color: Color, pen: Pen) -> None:
    """Bones that nobody saw: dashed, thin and pale, without joints."""
    if not bones:
        return
    thickness = _whole(pen.line * _GUESSED)
    outline = _whole(thickness + 2 * pen.outline)
    size = np.array((canvas.width, canvas.height), np.float32)
    near = np.fmin(np.fmax(points, -size), 2 * size)  # nothing has dashes without end
    ends = near[[(bone.start, bone.stop) for bone in bones]]
    lines = fixed(_dashes(ends[:, 0], ends[:, 1], _BONE_DASH * outline))
    strokes(canvas, lines, OUTLINE, outline)
    strokes(canvas, lines, mix(color, WHITE, _PALER), thickness)


def _draw_trail(canvas: Canvas, trail: Trail, style: Style, pen: Pen) -> None:
    """A tapering line. Its thickness changes in steps, so that a trail is a handful of drawn lines."""
    points, age = _thinned(trail)
    if len(points) < 2:
        return
    color = trail.color or style.color(trail.identity)
    path = fixed(points)
    full, darkening = (1.4, 0.3) if trail.outlined else (0.9, 0.55)
    thick = [_whole(pen.line * full * (1 - a) ** 0.8) for a in age[1:].tolist()]
    borders = [0, *(n for n in range(1, len(thick)) if thick[n] != thick[n - 1]), len(thick)]
    spans = list(pairwise(borders))
    if trail.outlined:
        for start, stop in spans:
            strokes(canvas, path[None, start : stop + 1], OUTLINE, _whole(thick[start] + 2 * pen.outline))
    for start, stop in spans:
        shade = mix(color, OUTLINE, darkening * float(age[start]))
        strokes(canvas, path[None, start : stop + 1], shade, thick[start])


def _thinned(trail: Trail) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = len(trail.points)
    if count < 2:
        return trail.points, trail.age
    # Means over equal spans of age: they move smoothly from frame to frame, where every n-th point would jump.
    bins = np.minimum((trail.age * _TRAIL_STEPS).astype(np.int64), _TRAIL_STEPS - 1)
    borders = np.flatnonzero(bins[1:] != bins[:-1]) + 1
    starts = np.concatenate([[0], borders])
    sizes = np.concatenate([borders, [count]]) - starts
    values = np.column_stack([trail.points, trail.age])
    points = np.concatenate([np.add.reduceat(values, starts) / sizes[:, None], values[-1:]])
    points, age = points[:, :2], points[:, 2]
    for _ in range(_SMOOTHINGS):
        points[1:-1] = (points[:-2] + 2 * points[1:-1] + points[2:]) / 4
    return points.astype(np.float32), age.astype(np.float32)


def _draw_thing(canvas: Canvas, thing: Thing, style: Style, pen: Pen) -> None:
    color = thing.color or style.color(thing.identity)
    size = np.array((canvas.width, canvas.height), np.float32)
    low, high = np.fmin(np.fmax(thing.box.reshape(2, 2), -_BEYOND), size + _BEYOND)
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], np.float32)
    thickness = _whole(pen.line * (0.5 if thing.guessed else 0.75))
    if thing.guessed:
        lines, closed = fixed(_dashes(corners, np.roll(corners, -1, axis=0), _DASH * max(thickness, 2))), False
    elif thing.feet_hidden:
        lines, closed = fixed(corners[[3, 0, 1, 2]])[None], False  # open below
    else:
        lines, closed = fixed(corners)[None], True
    outline = _whole(thickness + 2 * pen.outline)
    strokes(canvas, lines, OUTLINE, outline, closed=closed)
    strokes(canvas, lines, color, thickness, closed=closed)
    if thing.feet_hidden:
        mark = fixed(_chevrons(corners[2], corners[3], canvas.height - outline, 3 * thickness))
        strokes(canvas, mark, OUTLINE, outline)
        strokes(canvas, mark, color, thickness)


def _dashes(starts: NDArray[np.float32], stops: NDArray[np.float32], period: float) -> NDArray[np.float32]:
    """The dashes of lines [L, 2], with half of one at each end: float32 [D, 2, 2]."""
    dashes = []
    for start, stop in zip(starts, stops, strict=True):
        count = max(1, round(float(np.hypot(*(stop - start))) / period))
        ends = np.arange(count + 1, dtype=np.float32)[:, None] + np.array((-0.5, 0.5), np.float32) * _DASH_SHARE
        along = np.clip(ends, 0, count) / count
        dashes.append(start + along[..., None] * (stop - start))
    return np.concatenate(dashes).astype(np.float32)


def _chevrons(right: NDArray[np.float32], left: NDArray[np.float32], lowest: float, size: float) -> NDArray[np.float32]:
    """Two marks, one above the other, that point downwards from the middle of a lower edge: float32 [2, 3, 2]."""
    size = min(size, float(right[0] - left[0]) / 4)
    x, y = float(left[0] + right[0]) / 2, min(float(left[1]), lowest - size)
    one = np.array([(x - size, y - size), (x, y), (x + size, y - size)], np.float32)
    return np.stack([one, one + np.array((0, size), np.float32)])


def _label_thing(canvas: Canvas, thing: Thing, style: Style) -> None:
    if thing.caption:
        x1, y1, x2, y2 = thing.box.tolist()
        side = math.sqrt(max(0.0, (x2 - x1) * (y2 - y1))) / canvas.height
        share = next((share for least, share in _CAPTION_SHARES if side >= least), 1.0)
        lines = caption_lines(canvas, share)
        plates(canvas, x1, y1, thing.caption, thing.detail, thing.color or style.color(thing.identity), lines)


def _draw_area(canvas: Canvas, area: Area, pen: Pen) -> None:
    if len(area.corners) < 3:
        return
    thickness = _whole(pen.line * 0.5)
    corners = fixed(area.corners)
    color = _area_color(area)
    tint(canvas, corners, color, _TINT_OCCUPIED if area.occupied else _TINT)
    strokes(canvas, corners[None], OUTLINE, _whole(thickness + 2 * pen.outline), closed=True)
    strokes(canvas, corners[None], color, thickness, closed=True)


def _label_area(canvas: Canvas, area: Area) -> None:
    """At the lower left corner, where what stands in the area hides it least."""
    if area.name and len(area.corners) >= 3:
        x, y = area.corners[np.argmin(area.corners[:, 0] - area.corners[:, 1])].tolist()
        plates(canvas, x, y, area.name, area.detail, _area_color(area), caption_lines(canvas))


def _area_color(area: Area) -> Color:
    if area.color is not None:
        return area.color
    return _OCCUPIED if area.occupied else WHITE


def _label_body(canvas: Canvas, body: Body, style: Style) -> None:
    if body.visibility[list(HEAD)].max() < LEAST_VISIBILITY:
        return
    head = body.points[list(HEAD)]
    text = str(body.identity) if body.caption is None else body.caption
    if not text:
        return
    color = body.color or style.color(body.identity)
    label = caption(text, color, ink_on(color), caption_lines(canvas), canvas.matrix)
    gap = max(0.22 * _torso(body), 4.0)  # from the eyes to above the hair
    paste(canvas, label, float(head[:, 0].mean()) - label.width / 2, float(head[:, 1].min()) - gap - label.height)


def _draw_spot(canvas: Canvas, spot: Spot, pen: Pen) -> None:
    centre, radius = fixed(spot.point), _SPOT * pen.line
    dot(canvas, centre, radius + pen.outline, OUTLINE)
    dot(canvas, centre, radius, spot.color)
    if spot.guessed:
        dot(canvas, centre, radius * 0.55, OUTLINE)


def _label_spot(canvas: Canvas, spot: Spot, pen: Pen) -> None:
    if spot.caption:
        x, y = spot.point.tolist()
        away = _SPOT * pen.line
        plates(canvas, x + away, y - away, spot.caption, "", spot.color, caption_lines(canvas, _SPOT_SHARE))


def _torso(body: Body) -> float:
    """Length of the longest of the torso's lines in pixels: it does not collapse when a person turns."""
    points = body.points
    spine = (points[LEFT_SHOULDER] + points[RIGHT_SHOULDER] - points[LEFT_HIP] - points[RIGHT_HIP]) / 2
    shoulders = points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]
    return float(max(np.hypot(*spine), np.hypot(*shoulders)))


def _whole(thickness: float) -> int:
    return max(1, round(thickness))
