"""Looking back over a whole recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinemesh.results.tracks import TrackRows, empty_rows
from kinemesh_detect_track.domain.motion import NOMINAL_RATE
from kinemesh_detect_track.domain.refine import Refinement, refined

FRAMES = 200
TIMES = np.arange(FRAMES) / NOMINAL_RATE
STILL = np.zeros((FRAMES, 2))


@dataclass(frozen=True)
class Walk:
    """A box of 40 × 80 under one id, from its frames' positions."""

    track_id: int
    frames: Sequence[int]
    start: tuple[float, float] = (100, 100)
    speed: tuple[float, float] = (3, 0)
    score: float = 0.9
    class_id: int = 0


def tracks(*walks: Walk, camera: NDArray[np.float64] = STILL) -> TrackRows:
    parts, half = [], np.array([20, 40])
    for walk in walks:
        frame = np.array(walk.frames, np.int64)
        middle = np.array(walk.start) + frame[:, None] * np.array(walk.speed) + camera[frame]
        box = np.concatenate([middle - half, middle + half], axis=1)
        same = np.ones(len(frame))
        parts.append((frame, same * walk.track_id, box, same * walk.score, same * walk.class_id))
    frame, ids, box, score, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((ids, frame))
    return rows_of(frame[order], ids[order], box[order], score[order], classes[order])


def rows_of(
    frame: NDArray[np.int64],
    ids: NDArray[np.floating],
    box: NDArray[np.float64],
    score: NDArray[np.float64],
    classes: NDArray[np.floating],
) -> TrackRows:
    return TrackRows(
        frame,
        TIMES[frame],
        ids.astype(np.int32),
        box.astype(np.float32),
        score.astype(np.float32),
        classes.astype(np.int16),
        np.zeros(len(frame), np.bool_),
    )


def test_nothing_stays_empty_rows() -> None:
    assert len(refined(empty_rows(), TIMES, STILL, Refinement()).frame_index) == 0


def test_one_object_seen_twice_is_joined_and_the_gap_filled_and_said_so() -> None:
    result = refined(tracks(Walk(4, range(10, 60)), Walk(9, range(80, 120))), TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1]
    assert result.frame_index.tolist() == list(range(10, 120))
    assert result.frame_index[result.interpolated].tolist() == list(range(60, 80))
    middle = (result.box[:, 0] + result.box[:, 2]) / 2
    np.testing.assert_allclose(middle, 100 + 3 * result.frame_index, atol=0.5)
    np.testing.assert_allclose(result.score, 0.9)


def test_an_object_that_went_elsewhere_is_another() -> None:
    result = refined(tracks(Walk(1, range(60)), Walk(2, range(80, 120), start=(600, 400))), TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1, 2]
    assert not result.interpolated.any()


def test_classes_are_never_joined() -> None:
    both = tracks(Walk(1, range(60), class_id=0), Walk(2, range(61, 120), class_id=1))
    result = refined(both, TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1, 2]
    assert result.class_id[result.track_id == 1].tolist() == [0] * 60
    assert result.class_id[result.track_id == 2].tolist() == [1] * 59


def test_tracks_that_overlap_in_time_are_never_joined() -> None:
    result = refined(tracks(Walk(1, range(60)), Walk(2, range(59, 120))), TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1, 2]


def test_ghosts_are_dropped() -> None:
    short, doubtful = Walk(2, range(30, 35), (500, 300)), Walk(3, range(20, 90), (300, 500), score=0.4)
    result = refined(tracks(Walk(1, range(60)), short, doubtful), TIMES, STILL, Refinement(least_score=0.5))
    assert np.unique(result.track_id).tolist() == [1]
    assert len(result.frame_index) == 60


def test_of_an_object_that_was_seen_twice_the_weaker_is_dropped() -> None:
    double = Walk(2, range(10, 50), (104, 103), score=0.7)
    result = refined(tracks(Walk(1, range(60)), double), TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1]
    np.testing.assert_allclose(result.score, 0.9)


def test_who_passes_or_rides_is_no_double() -> None:
    passing = Walk(2, range(60), (200, 103), (-0.5, 0))
    bicycle = Walk(3, range(60), (101, 101), class_id=1)
    result = refined(tracks(Walk(1, range(60)), passing, bicycle), TIMES, STILL, Refinement())
    assert np.unique(result.track_id).tolist() == [1, 2, 3]


def test_doubtful_boxes_of_a_sure_object_are_kept() -> None:
    walk = tracks(Walk(1, range(60), score=0.35))
    walk.score[30], walk.score[:20] = 0.8, 0.1
    assert len(refined(walk, TIMES, STILL, Refinement(least_score=0.5)).frame_index) == 60


def test_one_sure_moment_makes_no_object() -> None:
    walk = tracks(Walk(1, range(60), score=0.2))
    walk.score[30] = 0.8
    assert len(refined(walk, TIMES, STILL, Refinement(least_score=0.5)).frame_index) == 0


@pytest.mark.parametrize(
    ("stayed", "score", "kept"),
    [
        (150, 0.3, [(0, 40), (150, 200)]),
        (119, 0.3, [(0, 200)]),
        (150, 0.4, [(0, 200)]),
        (200, 0.3, [(0, 40)]),
    ],
    ids=["for long", "for a while", "not in much doubt", "to the end"],
)
def test_a_track_that_stays_behind_is_cut(stayed: int, score: float, kept: list[tuple[int, int]]) -> None:
    """Somebody passes a pillar, which his track goes on with; then somebody else passes, whom it takes up."""
    walk = tracks(Walk(1, range(200), speed=(0, 0)))
    walk.score[40:stayed] = score
    refinement = Refinement(least_score=0.5, longest_doubt=80, longest_join=80, shortest_part=30)
    result = refined(walk, TIMES, STILL, refinement)
    spans = [result.frame_index[result.track_id == one] for one in np.unique(result.track_id)]
    assert [(int(span[0]), int(span[-1]) + 1) for span in spans] == kept


@pytest.mark.parametrize("passing", [slice(150, 158), slice(180, 200)], ids=["in more doubt", "at the end"])
def test_a_look_at_somebody_who_passes_a_pillar_is_no_object(passing: slice) -> None:
    walk = tracks(Walk(1, range(200), speed=(0, 0)))
    walk.score[40:] = 0.3
    walk.score[passing] = 0.6
    result = refined(walk, TIMES, STILL, Refinement(least_score=0.5, longest_doubt=80, shortest_part=30))
    assert result.frame_index.tolist() == list(range(40))


def test_long_gaps_are_joined_but_not_filled() -> None:
    pair = tracks(Walk(1, range(40), speed=(0.2, 0)), Walk(2, range(120, 180), speed=(0.2, 0)))
    result = refined(pair, TIMES, STILL, Refinement(longest_fill=79))
    assert np.unique(result.track_id).tolist() == [1]
    assert not result.interpolated.any()
    assert len(refined(pair, TIMES, STILL, Refinement(longest_fill=81)).frame_index) == 180
    assert np.unique(refined(pair, TIMES, STILL, Refinement(longest_join=80)).track_id).tolist() == [1, 2]


def test_spans_are_times_not_frames() -> None:
    """The same recording, of which a camera took every fourth frame: gaps are as long as they were."""
    pair = tracks(Walk(1, range(10)), Walk(2, range(25, 45)))
    slow = np.arange(0, 4 * FRAMES, 4, dtype=np.float64)
    assert refined(pair, slow / NOMINAL_RATE, STILL, Refinement()).frame_index.tolist() == list(range(45))
    assert np.unique(refined(pair, slow / NOMINAL_RATE, STILL, Refinement(longest_join=60)).track_id).tolist() == [1, 2]
    assert not refined(pair, slow / NOMINAL_RATE, STILL, Refinement(longest_fill=60)).interpolated.any()


def test_a_gap_is_filled_evenly_in_time() -> None:
    clock = np.cumsum(np.random.default_rng(0).uniform(0.5, 2, FRAMES))
    frame = np.array([*range(20), *range(40, 60)])
    middle = 100 + 3 * clock[frame]
    box = np.stack([middle - 20, np.full(40, 60.0), middle + 20, np.full(40, 140.0)], axis=1)
    given = rows_of(frame, np.ones(40), box, np.full(40, 0.9), np.zeros(40))
    result = refined(given, clock / NOMINAL_RATE, STILL, Refinement())
    np.testing.assert_allclose((result.box[:, 0] + result.box[:, 2]) / 2, 100 + 3 * clock[:60], atol=0.5)


def test_a_gap_is_filled_where_the_camera_looked() -> None:
    camera = np.stack([np.cumsum(np.full(FRAMES, 7.0)), np.zeros(FRAMES)], axis=1)
    walks = (Walk(1, range(40)), Walk(2, range(60, 100)))
    result = refined(tracks(*walks, camera=camera), TIMES, camera, Refinement())
    assert np.unique(result.track_id).tolist() == [1]
    middle = (result.box[:, 0] + result.box[:, 2]) / 2
    np.testing.assert_allclose(middle, 100 + 10 * result.frame_index + 7, atol=0.5)


def test_looks_decide_where_places_do_not() -> None:
    """Two end at one place; of the two who begin there later each looks like one of them."""
    walks = (
        Walk(1, range(40), (100, 100), (0, 0)),
        Walk(2, range(40), (130, 100), (0, 0)),
        Walk(3, range(70, 100), (112, 100), (0, 0)),
        Walk(4, range(70, 100), (118, 100), (0, 0)),
    )
    looks = np.zeros((5, 2), np.float32)
    looks[[1, 4]], looks[[2, 3]] = (1, 0), (0, 1)

    def follows_first(result: TrackRows) -> float:
        last = result.box[(result.frame_index == 90) & (result.track_id == 1)]
        return float(last[0, 0] + 20)

    assert follows_first(refined(tracks(*walks), TIMES, STILL, Refinement())) == pytest.approx(112, abs=1)
    assert follows_first(refined(tracks(*walks), TIMES, STILL, Refinement(), looks=looks)) == pytest.approx(118, abs=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_whatever_comes_in_what_goes_out_is_in_order(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    walks = []
    for track_id in range(1, count + 1):
        first, last = np.sort(rng.integers(0, FRAMES, 2))
        frames = np.arange(first, last + 1)
        frames = frames[rng.random(len(frames)) < 0.8]
        if len(frames):
            start, speed = rng.uniform(0, 400, 2), rng.normal(0, 2, 2)
            walks.append(
                Walk(track_id, frames.tolist(), tuple(start), tuple(speed), rng.random(), int(rng.integers(2)))
            )
    given_tracks = tracks(*walks) if walks else empty_rows()
    result = refined(given_tracks, TIMES, STILL, Refinement(least_score=0.3))
    keys = list(zip(result.frame_index.tolist(), result.track_id.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert np.unique(result.track_id).tolist() == list(range(1, len(np.unique(result.track_id)) + 1))
    assert np.isfinite(result.box).all()
    seen = set(zip(given_tracks.frame_index.tolist(), given_tracks.class_id.tolist(), strict=True))
    for frame, class_id in zip(
        result.frame_index[~result.interpolated].tolist(), result.class_id[~result.interpolated].tolist(), strict=True
    ):
        assert (frame, class_id) in seen
    again = refined(given_tracks, TIMES, STILL, Refinement(least_score=0.3))
    assert again.box.tobytes() == result.box.tobytes()
