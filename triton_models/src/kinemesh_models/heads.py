"""What detectors answer with, as boxes: numpy, and OpenCV's non-maximum suppression.

Every decoder takes the raw outputs for one picture and gives candidates [M, 6]: x1 y1 x2 y2 in input pixels, score,
class. Sources: Ge et al., YOLOX (arXiv:2107.08430); Ultralytics' and mmdeploy's exports, as their files show them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROWS = 300
MIN_SCORE = 0.05
MAX_IOU = 0.65
STRIDE = 32  # sides of resizable networks are multiples of it
_STRIDES = (8, 16, 32)
_MOST_CANDIDATES = 3000  # suppression is quadratic: noise must not hold an instance for seconds

KINDS = ("yolox", "objectness", "classes", "end2end", "nms")


@dataclass(frozen=True, slots=True)
class Head:
    """How a network is fed and how its answer is read.

    :param kind: ``yolox`` [A,5+C] offsets from a grid; ``objectness`` [A,5+C] and ``classes`` [4+C,A] centres and sizes
        in pixels; ``end2end`` dets [K,5] and labels [K]; ``nms`` [K,6] x1 y1 x2 y2 score class.
    :param outputs: names, in the order that decoding takes.
    :param height, width: the input's; where the network takes other sizes too, the one that suits it best.
    :param dynamic: the graph itself leaves its size open.
    :param resizable: any multiple of 32 can be had, as OpenVINO can reshape many graphs of a fixed size.
    :param order: of the channels, ``RGB`` or ``BGR``; ``mean`` and ``scale`` in this order: (pixel - mean) / scale.
    :param classes: how many; 0 if the graph does not tell.
    :param labels: names of the classes that the file itself tells; empty if none.
    :param half: the input is float16.
    :param runtime: what runs it on a CPU here: ``openvino``, or ``onnxruntime`` where that cannot.
    """

    kind: str
    input: str
    outputs: tuple[str, ...]
    height: int
    width: int
    dynamic: bool = False
    resizable: bool = False
    order: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (255.0, 255.0, 255.0)
    classes: int = 0
    labels: tuple[str, ...] = ()
    half: bool = False
    runtime: str = "openvino"

    @property
    def size(self) -> int:
        """The longest side a letterboxed picture should have."""
        return max(self.height, self.width)

    def parameters(self) -> dict[str, str]:
        """As parameters of ``config.pbtxt``; :func:`from_parameters` reads them."""
        return {
            "head": self.kind,
            "input": self.input,
            "outputs": json.dumps(self.outputs),
            "height": str(self.height),
            "width": str(self.width),
            "dynamic": "true" if self.dynamic else "",
            "resizable": "true" if self.resizable else "",
            "order": self.order,
            "mean": json.dumps(self.mean),
            "scale": json.dumps(self.scale),
            "half": "true" if self.half else "",
            "runtime": self.runtime,
        }


def from_parameters(parameters: Mapping[str, str]) -> Head:
    """The head that :meth:`Head.parameters` wrote; classes and labels are not the backend's business."""
    return Head(
        kind=parameters["head"],
        input=parameters["input"],
        outputs=tuple(json.loads(parameters["outputs"])),
        height=int(parameters["height"]),
        width=int(parameters["width"]),
        dynamic=parameters["dynamic"] == "true",
        resizable=parameters["resizable"] == "true",
        order=parameters["order"],
        mean=tuple(json.loads(parameters["mean"])),
        scale=tuple(json.loads(parameters["scale"])),
        half=parameters["half"] == "true",
        runtime=parameters["runtime"],
    )


def boxes(kind: str, outputs: Sequence[Floats], height: int, width: int, least: float = MIN_SCORE) -> Floats:
    """The boxes [D ≤ 300, 6] in a network's answer for one picture of ``height`` × ``width``, best first.

    :param outputs: without the batch dimension.
    :param least: the lowest score that counts.
    """
    first = outputs[0]
    if kind == "yolox":
        return suppressed(_yolox(first, grid(width, height), least), least)
    if kind == "objectness":
        return suppressed(_with_objectness(first, least), least)
    if kind == "classes":
        return suppressed(_without_objectness(first, least), least)
    if kind == "end2end":
        return _ordered(np.concatenate([first[:, :5], outputs[1].reshape(-1, 1)], axis=1, dtype=np.float32), least)
    if kind == "nms":
        return _ordered(first, least)
    raise ValueError(f"there is no head {kind!r}")


@lru_cache(maxsize=8)
def grid(width: int, height: int, strides: tuple[int, ...] = _STRIDES) -> Floats:
    """Column, row and stride of every cell: [A, 3], by stride, then row, then column."""
    cells = []
    for stride in strides:
        row, column = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([column.ravel(), row.ravel(), np.full(row.size, stride)], axis=1))
    return np.concatenate(cells).astype(np.float32)


def _yolox(raw: Floats, cells: Floats, least: float) -> Floats:
    """Offsets in cells, logarithms of sizes in cells, objectness and classes as probabilities."""
    likely = np.flatnonzero(raw[:, 4] >= least)
    rows, cell = raw[likely], cells[likely]
    centre = (rows[:, :2] + cell[:, :2]) * cell[:, 2:]
    # No box is larger than e^8 cells; beyond that exp overflows.
    size = np.exp(np.minimum(rows[:, 2:4], 8.0)) * cell[:, 2:]
    return _scored(centre, size, rows[:, 4:5] * rows[:, 5:], least)


def _with_objectness(raw: Floats, least: float) -> Floats:
    rows = raw[raw[:, 4] >= least]
    return _scored(rows[:, :2], rows[:, 2:4], rows[:, 4:5] * rows[:, 5:], least)


def _without_objectness(raw: Floats, least: float) -> Floats:
    likely = np.flatnonzero(raw[4:].max(axis=0) >= least)
    rows = raw[:, likely].T
    return _scored(rows[:, :2], rows[:, 2:4], rows[:, 4:], least)


def _scored(centre: Floats, size: Floats, classes: Floats, least: float) -> Floats:
    best = classes.argmax(axis=1)
    score: Floats = classes[np.arange(len(classes)), best]
    usable = (score >= least) & np.isfinite(centre).all(axis=1) & np.isfinite(size).all(axis=1)
    centre, half, score, best = centre[usable], size[usable] / 2, score[usable], best[usable]
    candidates: Floats = np.concatenate(
        [centre - half, centre + half, score[:, None], best[:, None]], axis=1, dtype=np.float32
    )
    return candidates


def suppressed(candidates: Floats, least: float = MIN_SCORE) -> Floats:
    """The best of every group of boxes of one class that overlap, best first."""
    candidates = _ordered(candidates, least, _MOST_CANDIDATES)
    if not len(candidates):
        return candidates
    corner_and_size = np.concatenate([candidates[:, :2], candidates[:, 2:4] - candidates[:, :2]], axis=1)
    scores, classes = candidates[:, 4].tolist(), candidates[:, 5].astype(np.int32).tolist()
    # Lists: OpenCV reads arrays item by item, which takes twice as long.
    kept = cv2.dnn.NMSBoxesBatched(corner_and_size.tolist(), scores, classes, 0.0, MAX_IOU)
    best: Floats = candidates[np.sort(np.asarray(kept, np.int64).ravel())[:ROWS]]
    return best


def _ordered(candidates: Floats, least: float, most: int = ROWS) -> Floats:
    """Those that score enough and make sense, best first; of equals, the one that came first."""
    usable = np.isfinite(candidates).all(axis=1) & (candidates[:, 4] >= least) & (candidates[:, 5] >= 0)
    candidates = candidates[usable & (candidates[:, 2:4] > candidates[:, :2]).all(axis=1)]
    return candidates[np.argsort(-candidates[:, 4], kind="stable")[:most]]
