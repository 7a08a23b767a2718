"""What cameras show at a step: boxes in pictures, and the places on the map where their feet are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry import homography
from kinemesh.geometry.lens import Lens, straightened
from kinemesh.results.columns import joined
from kinemesh_detect_track.domain.association.ground import USUAL_RATIO, feet
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Site
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks

_STEP_PX: Final = 0.5
_HELD: Final = 0.7
_WIDTH_M: Final = 0.5
"""Width of a person's box in metres at the ground, as most people stand and walk."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How pictures of a recording lie on the map.

    :ivar height: of the pictures in pixels.
    :ivar ground: float64 [3, 3], the homography from pixels without distortion to the map, scaled so that what is in
        front of the camera has ``w > 0``; None if there is none.
    :ivar lens: None if it bends nothing.
    :ivar scale: float64 [2], pixels of the pictures for which lens and homography hold by pixels of these.
    """

    height: int
    ground: Floats | None = None
    lens: Lens | None = None
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The N tracks in one picture.

    :ivar camera: position among the site's cameras.
    :ivar track: int64 [N], ids that are unique within the camera, each at most once.
    :ivar box: float64 [N, 4], ``x1 y1 x2 y2`` in pixels.
    :ivar look: float32 [N, E], embeddings; zeros where none was made.
    :ivar worth: float32 [N], of the looks, 0 to 1.
    """

    camera: int
    view: View
    track: Ints
    box: Floats
    look: Looks
    worth: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Everybody whom the cameras show at one step.

    :ivar camera: int64 [N], position among the site's cameras.
    :ivar track: int64 [N], id of the track within the camera; a camera shows each at most once.
    :ivar position: float64 [N, 2] on the map; NaN if the camera has no homography.
    :ivar covariance: float64 [N, 2, 2]; anything where ``position`` is NaN.
    :ivar look: float32 [N, E], embedding; zeros if none was made.
    :ivar worth: float32 [N], of the look, 0 to 1.
    :ivar ratio: float64 [N], height by width of the box; NaN where not the whole person was seen.
    :ivar doubles: int64 [N], id of the track whose box holds most of this one's, or is held by it; -1 if there is none.
    """

    camera: Ints
    track: Ints
    position: Floats
    covariance: Floats
    look: Looks
    worth: NDArray[np.float32]
    ratio: Floats
    doubles: Ints

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """bool [N], whether feet were not seen, so that places were estimated from the body."""
        return np.isnan(self.ratio)


def seen_by(people: People, shown: Sequence[Shown], site: Site) -> Seen:
    """What all cameras show at one step, in the order given.

    :param people: the state before the step; it knows how tall people are whose feet are hidden now.
    """
    size = people.looks.shape[1]
    none = np.zeros(0, np.int64)
    nobody = Seen(
        none,
        none,
        np.zeros((0, 2)),
        np.zeros((0, 2, 2)),
        np.zeros((0, size), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0),
        none,
    )
    return joined([nobody, *(_placed(people, one, site) for one in shown)])


def _placed(people: People, shown: Shown, site: Site) -> Seen:
    camera = np.full(len(shown.track), shown.camera, np.int64)
    found = feet(shown.box, ratios(people, camera, shown.track), shown.view.height)
    position, covariance = on_map(shown.view, found.point, found.covariance)
    # What is farther off than the map is wide, or beyond the horizon, is no place.
    lost = ~(np.trace(covariance, axis1=1, axis2=2) < site.area)
    position[lost] = np.nan
    covariance[lost] = 0
    wide, tall = shown.box[:, 2] - shown.box[:, 0], shown.box[:, 3] - shown.box[:, 1]
    ratio = np.where(found.hidden, np.nan, tall / np.maximum(wide, 1))
    return Seen(camera, shown.track, position, covariance, shown.look, shown.worth, ratio, _doubled(shown))


def _doubled(shown: Shown) -> Ints:
    box = shown.box
    if len(box) < 2:
        return np.full(len(box), -1)
    low, high = np.maximum(box[:, None, :2], box[None, :, :2]), np.minimum(box[:, None, 2:], box[None, :, 2:])
    size = np.prod(box[:, 2:] - box[:, :2], axis=1)
    shared = np.prod(np.maximum(high - low, 0), axis=2) / np.maximum(np.minimum(size[:, None], size[None]), 1)
    np.fill_diagonal(shared, 0)
    result: Ints = np.where(shared.max(axis=1) > _HELD, shown.track[shared.argmax(axis=1)], -1)
    return result


def on_map(view: View, point: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Where pixels [N, 2] with their covariance [N, 2, 2] lie on the map; NaN without homography or beyond the horizon.

    Covariances are carried to first order through lens and homography.
    """
    if view.ground is None or not len(point):
        return np.full((len(point), 2), np.nan), np.full((len(point), 2, 2), np.nan)
    scale = np.asarray(view.scale)
    straight = straightened(view.lens, point * scale)
    covariance = covariance * scale[:, None] * scale
    if view.lens is not None:
        beside = np.array([[1.0, 0.0], [0.0, 1.0]]) * _STEP_PX
        turn = np.stack(
            [
                (straightened(view.lens, point * scale + side) - straightened(view.lens, point * scale - side))
                for side in beside
            ],
            axis=2,
        ) / (2 * _STEP_PX)
        covariance = turn @ covariance @ turn.transpose(0, 2, 1)
    front = homography.in_front(view.ground, straight)
    position = np.full((len(point), 2), np.nan)
    spread = np.full((len(point), 2, 2), np.nan)
    position[front] = homography.apply(view.ground, straight[front])
    spread[front] = homography.covariances(view.ground, straight[front], covariance[front])
    return position, spread


def ratios(people: People, camera: Ints, track: Ints) -> Floats:
    """Height by width of the people on tracks [N], as far as they have been seen whole, or that of most people: [N]."""
    found = np.full(len(camera), np.nan)
    if len(people.track_id) and len(camera):
        match = (people.track_camera[None] == camera[:, None]) & (people.track_id[None] == track[:, None])
        found = np.where(match.any(axis=1), people.track_ratio[match.argmax(axis=1)], np.nan)
    return np.where(np.isnan(found), USUAL_RATIO, found)


def metre_seen(boxes: Sequence[tuple[View, NDArray[np.floating]]]) -> float:
    """Length of a metre in the map's unit, by how wide people are on the map; NaN if nobody is on it.

    :param boxes: views, and boxes [N, 4] of people in them.
    """
    widths = [np.zeros(0)]
    for view, box in boxes:
        middle = np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], axis=1).astype(np.float64)
        half = np.stack([(box[:, 2] - box[:, 0]) / 2, np.zeros(len(box))], axis=1).astype(np.float64)
        whole = box[:, 3] < view.height - 1
        sides = [
            on_map(view, middle[whole] + side, np.zeros((int(whole.sum()), 2, 2)))[0]
            for side in (-half[whole], half[whole])
        ]
        widths.append(np.linalg.norm(sides[1] - sides[0], axis=1))
    wide = np.concatenate(widths)
    wide = wide[np.isfinite(wide) & (wide > 0)]
    return float(np.median(wide)) / _WIDTH_M if len(wide) else float("nan")
