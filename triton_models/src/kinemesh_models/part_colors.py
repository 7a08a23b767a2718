"""What the parts of a person look like, from head to feet: colours, lightness and texture, without any network.

Horizontal parts survive a change of viewpoint: Gray and Tao, Viewpoint invariant pedestrian recognition with an
ensemble of localized features (ECCV 2008). Histograms are compared as Hellinger's distance does: by their square roots,
whose inner product is the Bhattacharyya coefficient.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Axis = tuple[int, NDArray[np.float64]]  # how many bins, and where each pixel lies, from 0 to 1

HEIGHT, WIDTH = 256, 128
"""Of the pictures that every embedder takes."""
PARTS = 8
_CHROMAS, _LIGHTS, _SLOPES = 8, 8, 8
DIMENSION = PARTS * (_CHROMAS**2 + _LIGHTS + _SLOPES)
_ROWS, _COLUMNS = 128, 64  # finer detail is noise of the camera more than cloth
_SPREAD = 12.0  # of the attention to the middle, in columns: the sides of a box show what is behind
_STRONGEST = 60.0  # of a* and b*, beyond which colours count as one


def describe(picture: NDArray[np.uint8]) -> Floats:
    """The descriptor [:data:`DIMENSION`] of a person [256, 128, 3] RGB, of length one; alike for its mirror image.

    Lightness is half a pixel's own, half its rank in the picture, which survives a change of light. Chroma is spread by
    its square root, since most clothes are nearly grey.
    """
    small = cv2.resize(picture, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weights = np.exp(-0.5 * ((np.arange(_COLUMNS) - (_COLUMNS - 1) / 2) / _SPREAD) ** 2)
    weights = np.broadcast_to(weights, (_ROWS, _COLUMNS))
    lightness = lab[:, :, 0].astype(np.float64) / 100
    green_red, blue_yellow = (_spread(lab[:, :, axis].astype(np.float64)) for axis in (1, 2))
    across = cv2.Sobel(lab[:, :, 0], cv2.CV_32F, 1, 0).astype(np.float64)
    down = cv2.Sobel(lab[:, :, 0], cv2.CV_32F, 0, 1).astype(np.float64)
    # Unsigned: who turns round walks in the mirror image.
    slope = np.arctan2(np.abs(down), np.abs(across)) / (np.pi / 2)
    light = (lightness + _rank(lightness, weights)) / 2
    parts = [
        _histogram([(_CHROMAS, green_red), (_CHROMAS, blue_yellow)], weights),
        _histogram([(_LIGHTS, light)], weights),
        _histogram([(_SLOPES, slope)], weights * np.hypot(across, down)),
    ]
    roots = np.concatenate([np.sqrt(part).ravel() for part in parts])
    vector: Floats = (roots / np.linalg.norm(roots)).astype(np.float32)
    return vector


def _spread(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    root: NDArray[np.float64] = np.sign(chroma) * np.sqrt(np.abs(chroma) / _STRONGEST)
    return root / 2 + 0.5


def _rank(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which share of the picture is darker than a pixel."""
    order = np.argsort(values, axis=None, kind="stable")
    share = np.empty(values.size)
    share[order] = np.cumsum(weights.ravel()[order])
    ranks: NDArray[np.float64] = (share / share.max()).reshape(values.shape)
    return ranks


def _histogram(axes: list[_Axis], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares [PARTS, bins]. A pixel counts for the bins on both sides of it, so that none tips over by a hair."""
    part = np.repeat(np.arange(PARTS), weights.shape[0] // PARTS)[:, None]
    cells = [(part, weights)]
    bins = 1
    for count, values in axes:
        place = values * count - 0.5
        low = np.floor(place)
        above = place - low
        sides = ((low, 1 - above), (low + 1, above))
        cells = [
            (cell * count + np.clip(side, 0, count - 1).astype(np.int64), weight * share)
            for cell, weight in cells
            for side, share in sides
        ]
        bins *= count
    sums = np.zeros(PARTS * bins)
    for cell, weight in cells:
        sums += np.bincount(cell.ravel(), weight.ravel(), PARTS * bins)
    rows = sums.reshape(PARTS, bins)
    return np.asarray(rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-9))
