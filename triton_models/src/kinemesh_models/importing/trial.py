"""Runs a detector on two pictures and refuses what can find nothing. Runs in a confined process."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_models.detector import Detector
from kinemesh_models.heads import Floats, Head
from kinemesh_models.importing import onnx_structure
from kinemesh_models.onnx_head import describe_onnx
from kinemesh_models.refusal import RefusedError

LARGEST_SIDE = 1536
_PADDING = 114
_STRONGER = 1e4
_MOST_PIXELS = 64_000_000


def examine(model: str, picture: str | None) -> dict[str, Any]:
    """The head of the network in the file ``model``, after it has answered to two pictures: ``picture`` (else a
    generated one) and a generated one.

    :raises RefusedError: UNKNOWN_FORMAT, WRONG_HEAD, LABELS_MISMATCH, MODEL_TOO_LARGE, NOT_FINITE, DEAD_MODEL,
        INVALID_PICTURE.
    """
    cv2.setNumThreads(1)
    onnx_structure.check(Path(model))
    head = describe_onnx(Path(model))
    if head.size > LARGEST_SIDE:
        message = f"The network takes pictures of {head.width}×{head.height}; {LARGEST_SIDE} are the most."
        raise RefusedError("MODEL_TOO_LARGE", message, width=head.width, height=head.height)
    detector = Detector(Path(model), head)
    shown = _generated(head, 8) if picture is None else _letterboxed(read_picture(Path(picture)), head)
    pictures = (shown, _generated(head, 7))
    answers = _answers(detector, pictures)
    if not all(np.isfinite(output).all() for answer in answers for output in answer):
        raise RefusedError("NOT_FINITE", "The network answers with infinities, or with values that are not numbers.")
    scores = [_scores(head.kind, answer) for answer in answers]
    if not any(score.any() for score in scores):
        message = "The network finds nothing in two pictures: give one that shows what it should find (--picture)."
        raise RefusedError("DEAD_MODEL", message, scores="zero")
    if _all_alike(head.kind, scores) or (
        np.array_equal(scores[0], scores[1]) and not _stirs(Path(model), head, pictures)
    ):
        raise RefusedError("DEAD_MODEL", "The network gives the same scores, whatever the picture.", scores="constant")
    return {"head": asdict(head), "found": len(detector.boxes(shown))}


def _answers(detector: Detector, pictures: tuple[NDArray[np.uint8], ...]) -> list[list[Floats]]:
    return [[np.array(output) for output in detector.raw(picture)] for picture in pictures]


def _scores(kind: str, outputs: list[Floats]) -> Floats:
    """The scores [A, C] of all candidates in the network's answer."""
    first = outputs[0]
    if kind == "classes":
        return first[4:].T
    if kind in ("yolox", "objectness"):
        return first[:, 4:5] * first[:, 5:]
    return first[:, 4:5]  # end2end, nms


def _all_alike(kind: str, scores: list[Floats]) -> bool:
    """Whether every class has one score at all places of a picture; after suppression that may be chance."""
    raw = kind in ("classes", "objectness", "yolox")
    return raw and all(bool((np.ptp(score, axis=0) <= 1e-6 * score.max(axis=0)).all()) for score in scores)


def _stirs(model: Path, head: Head, pictures: tuple[NDArray[np.uint8], ...]) -> bool:
    """Whether a far stronger stimulus shows in the scores: a freshly initialised YOLO fades a picture to below the
    precision of floats, so that its scores are alike, but it is not dead."""
    strong = Detector(model, replace(head, scale=tuple(scale / _STRONGER for scale in head.scale)))
    first, second = (_scores(head.kind, answer) for answer in _answers(strong, pictures))
    return not np.array_equal(first, second, equal_nan=True)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture [H, W, 3] RGB.

    :raises RefusedError: INVALID_PICTURE.
    """
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None or image.shape[0] * image.shape[1] > _MOST_PIXELS:
        raise RefusedError("INVALID_PICTURE", "The picture to try the model on cannot be read.")
    return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)


def _letterboxed(image: NDArray[np.uint8], head: Head) -> NDArray[np.uint8]:
    """The picture at the top left of one of the network's size, as every detector's contract has it."""
    scale = min(head.height / image.shape[0], head.width / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    padded = np.full((head.height, head.width, 3), _PADDING, np.uint8)
    padded[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return padded


def _generated(head: Head, seed: int) -> NDArray[np.uint8]:
    """Coarse noise: blobs of colour at all places."""
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-head.height // 16), -(-head.width // 16), 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(16, axis=0).repeat(16, axis=1)[: head.height, : head.width])
