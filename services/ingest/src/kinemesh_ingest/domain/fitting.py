"""From points or a matrix to a homography of the camera's own upright, straightened picture, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.errors import InvalidArgument
from kinemesh.geometry.homography import (
    LEAST_POINTS,
    Fit,
    Floats,
    agreement,
    apply,
    checked,
    condition,
    fit,
    in_front,
    inverse,
)
from kinemesh.geometry.lens import Lens, straightened
from kinemesh_ingest.domain.calibration import Calibration, Matrix

_USUAL_SIZE: Final = (1920, 1080)
_SWAP: Final = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
_GOOD_SHARE: Final = 0.01
_LARGE_CONDITION: Final = 1e4
_OUTLIER: Final = 3.0


@dataclass(frozen=True, slots=True)
class Conventions:
    """How a user's numbers are meant.

    :ivar image_yx, map_yx: whether coordinates come as y, x.
    :ivar map_to_image: whether a matrix maps the map to the image.
    :ivar taken_from: width and height of the pictures that image coordinates are of; None for the camera's own.
    """

    image_yx: bool = False
    map_yx: bool = False
    map_to_image: bool = False
    taken_from: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A camera.

    :ivar size: width and height of its upright picture; None while it has no recording.
    :ivar plane: extent of the map; 0 where it is not known.
    """

    size: tuple[int, int] | None = None
    lens: Lens | None = None
    plane: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A homography.

    :ivar image_to_map: float64 [3, 3].
    :ivar fit: how it agrees with its points; None of a bare matrix.
    """

    image_to_map: Floats
    fit: Fit | None
    condition: float
    warnings: tuple[str, ...]


def fitted(given: Calibration, conventions: Conventions, view: View) -> Fitted:
    """The homography of a calibration.

    :raises InvalidArgument: TOO_FEW_POINTS, POINTS_DEGENERATE, POINTS_INCONSISTENT, POINTS_INVALID, MATRIX_SINGULAR.
    """
    own = view.size or conventions.taken_from or _USUAL_SIZE
    taken = conventions.taken_from or own
    to_taken = np.array([taken[0] / own[0], taken[1] / own[1]])
    if isinstance(given, Matrix):
        matrix = checked(_canonical(given.values, conventions) @ np.diag([*to_taken, 1.0]), _lower_part(own))
        return Fitted(matrix, None, condition(matrix, _lower_part(own)), tuple(_of_matrix(matrix, own, view)))
    image = (given.image[:, ::-1] if conventions.image_yx else given.image) / to_taken
    target = given.map[:, ::-1] if conventions.map_yx else given.map
    straight = straightened(view.lens, np.ascontiguousarray(image))
    matrix = fit(straight, np.ascontiguousarray(target))
    left = agreement(matrix, straight, target)
    worth = condition(matrix, straight)
    return Fitted(matrix, left, worth, tuple(_of_points(image, target, left, worth, own, view)))


def _canonical(matrix: Floats, conventions: Conventions) -> Floats:
    """From (x, y) in the image to (x, y) on the map."""
    if not np.isfinite(matrix).all():
        raise InvalidArgument("POINTS_INVALID", "The matrix holds a value that is no number.", side="matrix")
    if conventions.map_to_image:
        if np.linalg.matrix_rank(matrix) < 3:
            raise InvalidArgument("MATRIX_SINGULAR", "The matrix has no inverse.")
        matrix = inverse(matrix)
    if conventions.image_yx:
        matrix = matrix @ _SWAP
    return _SWAP @ matrix if conventions.map_yx else matrix


def _lower_part(size: tuple[int, int]) -> Floats:
    """Points [9, 2] in the lower third of the picture, where the ground is if it is anywhere."""
    width, height = size
    return np.array([(width * x, height * y) for y in (0.7, 0.85, 1.0) for x in (0.25, 0.5, 0.75)])


def _of_matrix(matrix: Floats, own: tuple[int, int], view: View) -> list[str]:
    said = ["A bare matrix has no points: nothing tells how well it fits."]
    if view.size is None:
        said.append("The camera has no recording yet: the size of its pictures is not known.")
    corners = np.array([(0, 0), (own[0], 0), (own[0], own[1]), (0, own[1])], np.float64)
    if view.size is not None and not in_front(matrix, corners).all():
        said.append("The horizon runs through the picture: what is above it has no place on the map.")
    return [*said, *_plane(apply(matrix, _lower_part(own)), view, "The lower part of the picture lies")]


def _of_points(image: Floats, target: Floats, left: Fit, worth: float, own: tuple[int, int], view: View) -> list[str]:
    said = []
    rms = float(np.sqrt(np.mean(left.errors_px**2)))
    if len(image) == LEAST_POINTS:
        said.append("Four points are always met exactly: a fifth would tell whether they are right.")
    elif not rms <= _GOOD_SHARE * own[0]:
        said.append(f"The points are missed by {rms:.1f} pixels: is a pair mixed up, or the order of coordinates?")
    worst = int(np.argmax(left.errors))
    others = np.delete(left.errors, worst)
    usual = float(np.sqrt(np.mean(others**2)))
    if len(image) > LEAST_POINTS + 1 and rms > 1 and left.errors[worst] > _OUTLIER * usual:
        said.append(f"Point {worst + 1} is off by {left.errors[worst]:.3g}, far more than the others.")
    if worth > _LARGE_CONDITION:
        said.append("The homography nearly degenerates: points that lie further apart would make it more certain.")
    if view.size is None:
        said.append("The camera has no recording yet: the size of its pictures is not known.")
    elif not ((image >= 0) & (image <= own)).all():
        said.append(
            f"Image points lie outside the picture of {own[0]}×{own[1]}: were they taken from pictures of another size?"
        )
    return [*said, *_plane(target, view, "Map points lie")]


def _plane(points: Floats, view: View, what: str) -> list[str]:
    extent = np.array(view.plane)
    if (extent > 0).all() and not ((points >= -0.5 * extent) & (points <= 1.5 * extent)).all():
        return [f"{what} far outside the ground plane: are they in another unit?"]
    return []
