"""From a network's answers to people: what measures them while they learn."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from kinemesh_training.boxes import decode, flatten, places
from kinemesh_training.network import DEVIATION, MEAN, Detector
from kinemesh_training.pictures import letterbox

# An answer's people: how many at most, how much two may overlap, and what is none.
ROWS, OVERLAP, LEAST_SCORE = 300, 0.5, 0.01
# From a square picture, uint8 [S, S, 3], RGB, to the probability of a person at every cell, [A], and its box, [A, 4].
Cells = Callable[[NDArray[np.uint8]], tuple[torch.Tensor, torch.Tensor]]


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Indices of boxes that no better one overlaps, best first."""
    kept = cv2.dnn.NMSBoxes(
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist(), scores.tolist(), LEAST_SCORE, OVERLAP
    )
    return np.asarray(kept, np.intp).reshape(-1)[:ROWS]


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [B, S, S, 3] as the network is fed, float32 [B, 3, S, S]."""
    return (pictures.permute(0, 3, 1, 2).float() - MEAN) / DEVIATION


def cells_of(network: Detector) -> Cells:
    """What a network says."""
    device = next(network.parameters()).device

    @torch.no_grad()
    def answer(square: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
        levels = [level.cpu() for level in network(normalised(torch.from_numpy(square)[None].to(device)))]
        points, strides = places([(level.shape[2], level.shape[3]) for level in levels])
        answers = flatten(levels)[0]
        return answers[:, 0].sigmoid(), decode(answers[:, 1:], points, strides)

    return answer


def find(cells: Cells, pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """People in a picture, float32 [N, 5]: x1 y1 x2 y2 score in its pixels, best first."""
    square, scale = letterbox(pixels, size)
    scores, boxes = cells(square)
    chosen = scores.topk(min(1000, len(scores))).indices
    height, width = pixels.shape[:2]
    corners = (boxes[chosen].numpy() / scale).clip(0, [width, height, width, height]).astype(np.float32)
    scored = scores[chosen].numpy()
    kept = suppress(corners, scored)
    return np.concatenate([corners[kept], scored[kept, None]], 1)
