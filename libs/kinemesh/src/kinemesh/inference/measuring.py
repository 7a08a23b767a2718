"""How long requests to the model server take, by model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kinemesh.errors import KinemeshError
from kinemesh.telemetry.metrics import INFERENCE_SECONDS, INFERENCE_WAIT_SECONDS

SHIPPED: Final = frozenset(
    {
        "pose_detector",
        "pose_landmarks",
        "face_detector",
        "person_detector",
        "person_colors",
        "rtmdet_nano_person",
        "yolox_tiny",
        "yolox_nano",
        "yolo11n",
        "person_reid_0287",
        "person_reid_0248",
    }
)
"""The models of the manifest. All others were named by users, and are measured as one."""

_IMPORTED: Final = "imported"


def model_label(model: str) -> str:
    """How a model is called in metrics."""
    return model if model in SHIPPED else _IMPORTED


@contextmanager
def measured(model: str) -> Iterator[Callable[[], None]]:
    """Measure a request; whoever makes it calls what this yields once it need not wait any longer."""
    label = model_label(model)
    outcome = "ok"
    asked = time.perf_counter()
    sent: float | None = None

    def begun() -> None:
        nonlocal sent
        sent = time.perf_counter()

    try:
        yield begun
    except KinemeshError as error:
        outcome = error.reason
        raise
    except asyncio.CancelledError:
        outcome = "CANCELLED"
        raise
    except BaseException:
        outcome = "INTERNAL"
        raise
    finally:
        ended = time.perf_counter()
        INFERENCE_WAIT_SECONDS.labels(label).observe((sent or ended) - asked)
        INFERENCE_SECONDS.labels(label, outcome).observe(ended - (sent or ended))
