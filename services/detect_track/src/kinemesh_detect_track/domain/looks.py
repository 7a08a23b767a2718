"""How much two objects look alike, by the embeddings that a recognition network gives."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument
from kinemesh_detect_track.domain.boxes import Floats

Looks = NDArray[np.float32]

_MEMORY: Final = 0.9
"""Share of what was known in a running mean, as in StrongSORT (Du et al., 2023)."""


def of_size(looks: Looks | None, count: int, size: int) -> Looks:
    """Embeddings [count, size]; zeros, which stand for "not known", if there are none.

    :raises InvalidArgument: EMBEDDING_SIZE_CHANGED
    """
    if looks is None or not looks.shape[1]:
        return np.zeros((count, size), np.float32)
    if looks.shape[1] != size:
        raise InvalidArgument(
            "EMBEDDING_SIZE_CHANGED", "All embeddings must have one length.", size=looks.shape[1], expected=size
        )
    return looks


def averaged(before: Looks, now: Looks) -> Looks:
    """Running means [N, E] after new embeddings [N, E], L2-normalised; where either is not known, the other."""
    mixed = np.where(_known(before)[:, None], _MEMORY * before + (1 - _MEMORY) * now, now)
    mixed = np.where(_known(now)[:, None], mixed, before)
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    result: Looks = (mixed / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return result


def alike(a: Looks, b: Looks) -> Floats:
    """Cosine of every embedding of ``a`` [N, E] with every one of ``b`` [M, E]: [N, M]; NaN where one is not known."""
    cosine = a.astype(np.float64) @ b.astype(np.float64).T
    return np.where(_known(a)[:, None] & _known(b)[None], cosine, np.nan)


def cosines(a: Looks, b: Looks) -> Floats:
    """Cosine of embeddings [N, E], pair by pair: [N]; NaN where one is not known."""
    cosine = np.einsum("ij,ij->i", a.astype(np.float64), b.astype(np.float64))
    return np.where(_known(a) & _known(b), cosine, np.nan)


def _known(looks: Looks) -> NDArray[np.bool_]:
    return np.asarray(looks.any(axis=1), np.bool_)
