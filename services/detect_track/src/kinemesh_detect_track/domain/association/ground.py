"""Where people stand: from boxes in the picture to points on the ground, and how sure these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.boxes import Floats

USUAL_RATIO: Final = 2.5
"""Height by width of a person who stands or walks, until the person's own is known."""

# Standard deviations of the middle of a box's lower edge, in widths and heights of the box.
_ACROSS: Final = 0.08
_ALONG: Final = 0.03
_ALONG_HIDDEN: Final = 0.2
_LEAST_PX: Final = 2.0

_CUT_PX: Final = 3.0
_LOWEST: Final = 0.2
"""Share of the box that is legs and feet."""
_COVERED: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Feet:
    """Where boxes touch the ground, in the picture.

    :ivar point: float64 [N, 2], pixels.
    :ivar covariance: float64 [N, 2, 2], pixels².
    :ivar hidden: bool [N], whether feet were cut by the picture's border or covered by somebody nearer, so that they
        were estimated from the width.
    """

    point: Floats
    covariance: Floats
    hidden: NDArray[np.bool_]


def feet(box: Floats, ratio: Floats, height: int) -> Feet:
    """The feet of boxes [N, 4] ``x1 y1 x2 y2`` in pixels of a picture.

    :param ratio: float64 [N], height by width of each when the whole person is seen.
    :param height: of the picture in pixels.
    """
    wide, tall = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    hidden = (box[:, 3] >= height - _CUT_PX) | (_covered(box) > _COVERED)
    whole = np.where(hidden, np.maximum(tall, wide * ratio), tall)
    along = np.where(hidden, _ALONG_HIDDEN, _ALONG) * whole
    covariance = np.zeros((len(box), 2, 2))
    covariance[:, 0, 0] = np.maximum(_ACROSS * wide, _LEAST_PX) ** 2
    covariance[:, 1, 1] = np.maximum(along, _LEAST_PX) ** 2
    return Feet(np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 1] + whole], axis=1), covariance, hidden)


def _covered(box: Floats) -> Floats:
    """The largest share of each box's lowest part that one nearer box covers, one whose lower edge is lower."""
    if not len(box):
        return np.zeros(0)
    legs = box.copy()
    legs[:, 1] = box[:, 3] - _LOWEST * (box[:, 3] - box[:, 1])
    low = np.maximum(legs[:, None, :2], box[None, :, :2])
    high = np.minimum(legs[:, None, 2:], box[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2) * (box[None, :, 3] > box[:, None, 3])
    size = np.prod(legs[:, 2:] - legs[:, :2], axis=1)
    result: Floats = shared.max(axis=1) / np.maximum(size, 1)
    return result
