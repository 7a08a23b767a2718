"""Values as they stand in JSON: six decimals, more than any of them means, and names instead of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def six(value: float) -> float:
    return round(float(value), 6)


def rounded(values: NDArray[np.floating]) -> list[float]:
    decimals: list[float] = np.round(values.astype(np.float64), 6).tolist()
    return decimals


def label_of(class_id: int, labels: Sequence[str]) -> str:
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)
