"""Turns the raw outputs of BlazePose and BlazeFace into detections and landmarks; numpy only.

Sources: Bazarevsky et al., "BlazeFace" (arXiv:1907.05047, SSD anchors and the blending of overlapping boxes) and
"BlazePose" (arXiv:2006.10204); constants as in MediaPipe's graphs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LOGIT_LIMIT = 80.0  # beyond it exp overflows float32, and the sigmoid is 0 or 1 anyway
_HEATMAP_RADIUS = 3
_HEATMAP_CONFIDENCE = 0.5


def sigmoid(logits: Floats) -> Floats:
    limited = np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)
    result: Floats = (1.0 / (1.0 + np.exp(-limited))).astype(np.float32)
    return result


def anchor_centres(size: int, strides: tuple[int, ...], per_cell: int) -> Floats:
    """Centres [A,2] (x, y as fractions) of the SSD anchors of a square input of ``size`` pixels.

    One layer per stride; layers of equal stride that follow each other share their cells, in which case the
    anchors of a cell lie next to each other. ``per_cell`` anchors per layer and cell.
    """
    rows: list[Floats] = []
    for stride in dict.fromkeys(strides):
        cells = -(-size // stride)
        y, x = np.divmod(np.arange(cells * cells), cells)
        centres = (np.stack([x, y], axis=1).astype(np.float32) + np.float32(0.5)) / np.float32(cells)
        rows.append(np.repeat(centres, per_cell * strides.count(stride), axis=0))
    return np.concatenate(rows)


def decode_detections(raw: Floats, logits: Floats, anchors: Floats, size: int, threshold: float) -> Floats:
    """Decode the anchors that score at least ``threshold`` into [M, 4 + 2k + 1].

    :param raw: [A, 4 + 2k] centre x, centre y, width, height and k points, in input pixels from the anchor's centre.
    :param logits: [A] scores before the sigmoid.
    :returns: x1, y1, x2, y2, the k points and the score; coordinates as fractions of the input. Boxes of negative
        size, which the network may give, are left out.
    """
    scores = sigmoid(logits)
    chosen = np.flatnonzero((scores >= threshold) & (raw[:, 2] >= 0) & (raw[:, 3] >= 0))
    values = raw[chosen] / np.float32(size)
    half = values[:, 2:4] / 2
    values[:, 0:2] += anchors[chosen]
    values[:, 4:] += np.tile(anchors[chosen], (1, (raw.shape[1] - 4) // 2))
    corners = np.concatenate([values[:, :2] - half, values[:, :2] + half], axis=1)
    return np.concatenate([corners, values[:, 4:], scores[chosen, None]], axis=1)


def blend_overlapping(detections: Floats, threshold: float) -> Floats:
    """Weighted non-maximum suppression: detections whose IoU with the best exceeds ``threshold`` become their mean.

    Box and points are averaged with the scores as weights; the best score stays. Best first.
    """
    rest = detections[np.argsort(-detections[:, -1], kind="stable")]
    kept: list[Floats] = []
    while len(rest):
        near = _iou(rest[0], rest) > threshold
        near[0] = True  # a box without area overlaps nothing, not even itself
        group = rest[near]
        weights = group[:, -1:]
        mean = (group[:, :-1] * weights).sum(axis=0) / weights.sum()
        kept.append(np.append(mean, group[0, -1]).astype(np.float32))
        rest = rest[~near]
    return np.stack(kept) if kept else detections[:0]


def _iou(box: Floats, boxes: Floats) -> Floats:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:4], boxes[:, 2:4])
    common = np.clip(high - low, 0, None).prod(axis=1)
    union = (box[2:4] - box[:2]).prod() + (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1) - common
    ratio: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ratio


def refine_with_heatmap(landmarks: Floats, heatmap: Floats, size: int) -> Floats:
    """Move each landmark to the centre of mass of its heat map around it, where the heat map is confident.

    :param landmarks: [L,≥2] with x, y in input pixels.
    :param heatmap: [H,W,L] logits over the same input of ``size`` pixels.
    :returns: a copy of ``landmarks`` with x, y refined.
    """
    height, width, count = heatmap.shape
    # Truncation toward zero, as in C++: points up to one cell outside count as inside.
    column = np.trunc(landmarks[:, 0] / size * width).astype(np.int64)
    row = np.trunc(landmarks[:, 1] / size * height).astype(np.int64)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    reach = np.arange(-_HEATMAP_RADIUS, _HEATMAP_RADIUS + 1)
    rows = row[:, None, None] + reach[None, :, None]
    columns = column[:, None, None] + reach[None, None, :]
    valid = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    logits = heatmap[rows.clip(0, height - 1), columns.clip(0, width - 1), np.arange(count)[:, None, None]]
    weights = np.where(valid, sigmoid(logits), np.float32(0))
    total = weights.sum(axis=(1, 2))
    confident = inside & (weights.max(axis=(1, 2)) >= _HEATMAP_CONFIDENCE)
    refined = landmarks.copy()
    x = (weights * columns).sum(axis=(1, 2))[confident] / total[confident] / width * size
    y = (weights * rows).sum(axis=(1, 2))[confident] / total[confident] / height * size
    refined[confident, 0] = x
    refined[confident, 1] = y
    return refined
