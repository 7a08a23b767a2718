from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.recordings import camera_of, position_of, recording_name, usual_rate


@pytest.mark.parametrize(("position", "name"), [(0, "c09"), (1, "c09.2"), (11, "c09.12")])
def test_a_recordings_name_tells_its_camera_and_its_place(position: int, name: str) -> None:
    assert recording_name("c09", position) == name
    assert (camera_of(name), position_of(name)) == ("c09", position)


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        (np.arange(100) * 0.1, 10.0),
        (np.delete(np.arange(100) / 25, [3, 4, 50]), 25.0),  # frames were dropped
        (np.arange(100) * 1001 / 30000, 29.97003),
        (np.zeros(1), 1.0),
    ],
)
def test_the_usual_rate_is_a_round_one(times: NDArray[np.float64], rate: float) -> None:
    assert usual_rate(times) == rate
