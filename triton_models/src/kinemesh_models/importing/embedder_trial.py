"""Runs an embedder on pictures of people and refuses what can tell nobody apart. Runs in a confined process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_models.embedder import HEIGHT, WIDTH, Embedder, Floats, unit
from kinemesh_models.importing import onnx_structure
from kinemesh_models.importing.trial import read_picture
from kinemesh_models.onnx_embedder import Colours, describe_embedder
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


def drawn_person(number: int, *, moved: bool = False) -> NDArray[np.uint8]:
    """Somebody of a few ellipses in clothes of one's own before a wall, as a camera's noise shows it [256, 128, 3].

    :param moved: a little aside, in a little more light.
    """
    dice = np.random.default_rng([7, number])
    wall, skin, top, trousers, shoes = (tuple(map(float, dice.uniform(20, 230, 3))) for _ in range(5))
    shade = np.linspace(0.7, 1.1, HEIGHT, dtype=np.float32)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to(np.array(wall, np.float32) * shade, (HEIGHT, WIDTH, 3)))
    x, y = (6, -4) if moved else (0, 0)
    parts = [((x, 184), (11, 64), trousers), ((x, 90), (27, 50), top), ((x, 28), (13, 18), skin)]
    for (aside, height), size, colour in parts:
        sides = (-14, 14) if colour is trousers else (0,)
        for side in sides:
            cv2.ellipse(canvas, (WIDTH // 2 + aside + side, height + y), size, 0, 0, 360, colour, -1, cv2.LINE_AA)
    for side in (-16, 16):
        cv2.ellipse(canvas, (WIDTH // 2 + x + side, 248 + y), (12, 5), 0, 0, 360, shoes, -1, cv2.LINE_AA)
    noise = np.random.default_rng([8, number, moved]).normal(0, 6, canvas.shape).astype(np.float32)
    light = np.float32(1.1 if moved else 1.0)
    picture: NDArray[np.uint8] = np.clip(np.rint(canvas * light + noise), 0, 255).astype(np.uint8)
    return picture


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest part of a picture around its middle that has an embedder's proportions, at its size."""
    height, width = image.shape[:2]
    tall = min(height, max(1, width * HEIGHT // WIDTH))
    wide = min(width, max(1, height * WIDTH // HEIGHT))
    top, left = (height - tall) // 2, (width - wide) // 2
    part = image[top : top + tall, left : left + wide]
    return cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
