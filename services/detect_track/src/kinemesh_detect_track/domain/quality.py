"""How much a look at a person is worth: what is blurred, small, hidden or cut off says little about who it is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.boxes import Floats

_RATIO: Final = 2.5
"""Height by width of a person who stands or walks and is seen whole."""
_BORDER_PX: Final = 2.0
# In a crowd, both are where looks begin to find their own track again rather than another.
_TALL_PX: Final = 96.0
"""Height from which on more pixels say little more."""
_SHARP: Final = 0.005
"""Share of the detail in a picture's contrast at which half of the sharpness is there."""
_CELLS: Final = (16, 8)
"""Rows and columns that a box is divided into, to count what of it is hidden."""


def worth(
    pictures: NDArray[np.uint8], box: NDArray[np.floating], score: NDArray[np.floating], width: int, height: int
) -> NDArray[np.float32]:
    """What looks at people in one picture are worth, float32 [N], 0 to 1.

    :param pictures: uint8 [N, H, W, 3] RGB, of each person.
    :param box: float [N, 4], ``x1 y1 x2 y2`` in pixels of the picture.
    :param score: float [N], of the boxes, 0 to 1.
    :param width: of the picture in pixels.
    :param height: of the picture in pixels.
    """
    corners = box.astype(np.float64)
    tall = np.clip((corners[:, 3] - corners[:, 1]) / _TALL_PX, 0, 1)
    seen = (1 - hidden(corners)) * shown(corners, width, height)
    product: NDArray[np.float32] = (sharpness(pictures) * seen * tall * np.clip(score, 0, 1)).astype(np.float32)
    return product


def sharpness(pictures: NDArray[np.uint8]) -> Floats:
    """How sharp pictures uint8 [N, H, W, 3] are, [N], 0 to 1, whatever their contrast.

    The variance of the Laplacian (Pech-Pacheco et al., *Diatom autofocusing in brightfield microscopy*, 2000), as a
    share of the picture's own variance.
    """
    grey = pictures[..., 1].astype(np.float32)  # green is most of what is bright
    inner = grey[:, 1:-1, 1:-1]
    laplacian = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    detail = laplacian.var(axis=(1, 2), dtype=np.float64)
    detail /= inner.var(axis=(1, 2), dtype=np.float64) + 1
    share: Floats = detail / (detail + _SHARP)
    return share


def hidden(box: Floats) -> Floats:
    """Share of each box [N, 4] that nearer ones cover, [N]: on level ground, those whose lower edge is lower."""
    rows, columns = _CELLS
    size = box[:, 2:] - box[:, :2]
    x = box[:, :1] + size[:, :1] * (np.arange(columns) + 0.5) / columns
    y = box[:, 1:2] + size[:, 1:] * (np.arange(rows) + 0.5) / rows
    across = (x[:, None] > box[None, :, :1]) & (x[:, None] < box[None, :, 2:3])  # [N, N, columns]
    down = (y[:, None] > box[None, :, 1:2]) & (y[:, None] < box[None, :, 3:])
    nearer = box[None, :, 3] > box[:, None, 3]
    by_rows = (down & nearer[:, :, None]).transpose(0, 2, 1).astype(np.float32)
    covered = by_rows @ across.astype(np.float32) > 0
    share: Floats = covered.mean(axis=(1, 2))
    return share


def shown(box: Floats, width: int, height: int) -> Floats:
    """Share of each person that lies within the picture, [N], as the proportions of cut boxes [N, 4] tell."""
    wide, tall = np.maximum(box[:, 2] - box[:, 0], 1e-6), np.maximum(box[:, 3] - box[:, 1], 1e-6)
    ratio = tall / wide / _RATIO
    sides = (box[:, 0] <= _BORDER_PX) | (box[:, 2] >= width - _BORDER_PX)
    ends = (box[:, 1] <= _BORDER_PX) | (box[:, 3] >= height - _BORDER_PX)
    share = np.where(sides, np.minimum(1 / ratio, 1), 1.0) * np.where(ends, np.minimum(ratio, 1), 1.0)
    return np.where(sides & ends, share / 2, share)  # cut both ways, its proportions may be anything
