"""Dataclasses whose fields are equally long columns: arrays [R], or matrices [R, K]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

R = TypeVar("R")


def columns(rows: object) -> list[NDArray[Any]]:
    """The columns in their order."""
    return [getattr(rows, field.name) for field in fields(rows)]  # type: ignore[arg-type]


def select(rows: R, keep: NDArray[np.bool_] | NDArray[np.intp]) -> R:
    """The rows that a mask or an index array names."""
    return type(rows)(*(column[keep] for column in columns(rows)))


def joined(parts: Sequence[R]) -> R:
    """The rows of all parts, of which there is at least one, in their order."""
    parts = [part for part in parts if len(columns(part)[0])] or parts[:1]  # without rows, matrices have no width
    return type(parts[0])(*(np.concatenate(column) for column in zip(*map(columns, parts), strict=True)))
