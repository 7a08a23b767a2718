"""Who the instructor is."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh.errors import FailedPrecondition
from kinemesh.results.tracks import TrackRows, empty_rows
from kinemesh_detect_track.domain.subject import Click, clicked, longest_present

WIDTH, HEIGHT = 1000, 500


def rows(*boxes: tuple[int, int, tuple[float, float, float, float]], filled: tuple[int, ...] = ()) -> TrackRows:
    """Boxes (frame, id, corners) at 10 frames per second; ``filled`` names those that were filled in."""
    frame = np.array([box[0] for box in boxes], np.int64)
    return TrackRows(
        frame,
        frame / 10,
        np.array([box[1] for box in boxes], np.int32),
        np.array([box[2] for box in boxes], np.float32),
        np.full(len(boxes), 0.9, np.float32),
        np.zeros(len(boxes), np.int16),
        np.isin(np.arange(len(boxes)), filled),
    )


LEFT, RIGHT, INNER = (100, 100, 200, 400), (600, 100, 700, 400), (120, 120, 160, 300)


def test_the_longest_presence_counts_what_was_seen() -> None:
    some = rows((0, 1, LEFT), (1, 1, LEFT), (2, 1, LEFT), (0, 2, RIGHT), (1, 2, RIGHT), filled=(1, 2))
    assert longest_present(some) == 2
    assert longest_present(rows((0, 3, LEFT), (0, 2, RIGHT))) == 2
    assert longest_present(rows((0, 0, LEFT), (1, 0, LEFT), (0, 5, RIGHT))) == 5
    assert longest_present(rows((0, 1, LEFT), filled=(0,))) is None
    assert longest_present(empty_rows()) is None


def test_a_click_takes_who_is_there() -> None:
    some = rows((20, 1, LEFT), (20, 2, RIGHT), (20, 3, INNER))
    assert clicked(some, Click(2.0, 0.65, 0.5), WIDTH, HEIGHT) == 2
    assert clicked(some, Click(2.0, 0.14, 0.4), WIDTH, HEIGHT) == 3  # the smaller of two
    assert clicked(some, Click(2.9, 0.11, 0.75), WIDTH, HEIGHT) == 1
    assert clicked(some, Click(2.0, 0.73, 0.5), WIDTH, HEIGHT) == 2  # beside the box


def test_the_frame_nearest_in_time_decides() -> None:
    some = rows((10, 1, LEFT), (13, 2, LEFT), (18, 2, RIGHT))
    at = 0.15, 0.5
    assert clicked(some, Click(1.1, *at), WIDTH, HEIGHT) == 1
    assert clicked(some, Click(1.25, *at), WIDTH, HEIGHT) == 2
    assert (
        clicked(some, Click(1.8, *at), WIDTH, HEIGHT) == 2
    )  # an earlier box contains it, the nearest in time does not
    assert clicked(rows((10, 2, INNER), (12, 1, LEFT)), Click(1.1, 0.14, 0.4), WIDTH, HEIGHT) in (1, 2)


@pytest.mark.parametrize("click", [Click(3.5, 0.15, 0.5), Click(2.0, 0.95, 0.9), Click(0.5, 0.65, 0.5)])
def test_nobody_there_is_an_error(click: Click) -> None:
    some = rows((20, 1, LEFT), (20, 0, (900, 400, 990, 490)))
    for tracks in (some, empty_rows()):
        with pytest.raises(FailedPrecondition) as failure:
            clicked(tracks, click, WIDTH, HEIGHT)
        assert failure.value.reason == "SUBJECT_NOT_FOUND"
