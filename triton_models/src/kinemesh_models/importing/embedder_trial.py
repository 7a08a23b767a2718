"""Runs an embedder on pictures of people and refuses what can tell nobody apart. Runs in a confined process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_models.embedder import Embedder, Floats, unit
from kinemesh_models.importing import onnx_structure
from kinemesh_models.importing.drawn_people import drawn_person
from kinemesh_models.importing.trial import read_picture
from kinemesh_models.onnx_embedder import Colours, describe_embedder
from kinemesh_models.part_colors import HEIGHT, WIDTH
from kinemesh_models.refusal import RefusedError

_LAST_DIGIT = 1e-6
_PEOPLE = 3


def examine(
    model: str, picture: str | None, order: str = "", mean: tuple[float, ...] = (), scale: tuple[float, ...] = ()
) -> dict[str, Any]:
    """How the network in the file ``model`` is fed, after it has answered to drawn people, to nothing, and to the
    middle of ``picture``; and how alike one person in two pictures and two people are to it.

    :raises RefusedError: UNKNOWN_FORMAT, WRONG_HEAD, MODEL_TOO_LARGE, INVALID_COLOURS, NOT_FINITE, NOT_DETERMINISTIC,
        DEAD_MODEL, INVALID_PICTURE.
    """
    cv2.setNumThreads(1)
    onnx_structure.check(Path(model))
    feed = describe_embedder(Path(model), Colours(order, tuple(mean), tuple(scale)))
    embedder = Embedder(Path(model), feed)
    people = [drawn_person(number) for number in range(_PEOPLE)]
    if picture is not None:
        people.append(_middle(read_picture(Path(picture))))
    nothing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    answers = [embedder.raw(shown) for shown in (*people, nothing)]
    if not all(np.isfinite(answer).all() for answer in answers):
        raise RefusedError("NOT_FINITE", "The network answers with infinities, or with values that are not numbers.")
    if not np.array_equal(embedder.raw(people[0]), answers[0]):
        raise RefusedError("NOT_DETERMINISTIC", "The network answers twice differently to one picture.")
    vectors = np.stack([unit(answer) for answer in answers[:-1]])
    if not any(answer.any() for answer in answers):
        raise RefusedError("DEAD_MODEL", "The network answers with zeros, whoever is shown.", embeddings="zero")
    gaps = np.abs(vectors[:, None] - vectors[None]).max(axis=2)[np.triu_indices(len(vectors), 1)]
    if gaps.min() <= _LAST_DIGIT:
        message = "The network gives different people the same vector, to the last digit."
        raise RefusedError("DEAD_MODEL", message, embeddings="constant")
    again = np.stack([unit(embedder.raw(drawn_person(number, moved=True))) for number in range(_PEOPLE)])
    return {"feed": asdict(feed), "alike": _alike(vectors[:_PEOPLE], again)}


def _alike(first: Floats, second: Floats) -> dict[str, float]:
    """Mean cosines of one person in two pictures and of two people."""
    cosines = first @ second.T
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    return {"same": round(float(np.trace(cosines)) / len(cosines), 4), "different": round(float(others.mean()), 4)}


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest part of a picture around its middle that has an embedder's proportions, at its size."""
    height, width = image.shape[:2]
    tall = min(height, max(1, width * HEIGHT // WIDTH))
    wide = min(width, max(1, height * WIDTH // HEIGHT))
    top, left = (height - tall) // 2, (width - wide) // 2
    part = image[top : top + tall, left : left + wide]
    return cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
