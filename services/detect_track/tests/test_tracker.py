"""Who is who from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_detect_track.domain.looks import Looks
from kinemesh_detect_track.domain.state import TrackerState, fresh_state
from kinemesh_detect_track.domain.tracker import Detections, Parameters, frames_between, parameters_for, step

# One object: x, y of the middle, score, class. All boxes are 40 × 80.
Thing = tuple[float, float, float, int]


def frame(*things: Thing, looks: Looks | None = None) -> Detections:
    middle = np.array([thing[:2] for thing in things], np.float32).reshape(-1, 2)
    half = np.array([20, 40], np.float32)
    return Detections(
        np.concatenate([middle - half, middle + half], axis=1),
        np.array([thing[2] for thing in things], np.float32),
        np.array([thing[3] for thing in things], np.int16),
        looks,
    )


def run(
    frames: Sequence[Detections], parameters: Parameters | None = None, passed: float = 1.0
) -> tuple[list[list[int]], TrackerState]:
    state, answers = fresh_state(), []
    for detections in frames:
        state, ids = step(state, detections, parameters or Parameters(camera_motion=False), passed)
        answers.append(ids.tolist())
    return answers, state


def test_ids_count_from_one_in_every_stream() -> None:
    for _ in range(2):
        answers, _ = run([frame((50, 100, 0.9, 0), (300, 100, 0.8, 0))] * 3)
        assert answers == [[1, 2]] * 3


def test_who_comes_later_is_named_when_seen_again() -> None:
    first, second = (50.0, 100.0, 0.9, 0), (300.0, 100.0, 0.9, 0)
    answers, _ = run([frame(first), frame(first, second), frame(second, first)])
    assert answers == [[1], [1, 0], [2, 1]]


def test_what_is_seen_once_is_forgotten() -> None:
    ghost = (300.0, 100.0, 0.9, 0)
    answers, state = run([frame(), frame(ghost), frame(), frame(ghost), frame(ghost)])
    assert answers == [[], [0], [], [0], [1]]
    assert state.ids.tolist() == [1]


def test_objects_that_cross_keep_their_ids() -> None:
    frames = [frame((100 + 6 * t, 100, 0.9, 0), (400 - 6 * t, 130, 0.9, 0)) for t in range(50)]
    answers, _ = run(frames)
    assert answers == [[1, 2]] * 50


def test_an_object_behind_something_is_known_again_where_it_should_be() -> None:
    frames = [frame(*[(100 + 4.0 * t, 100, 0.9, 0)] * (not 20 <= t < 40)) for t in range(60)]
    answers, _ = run(frames)
    assert answers[:20] == [[1]] * 20
    assert answers[40:] == [[1]] * 20


def test_out_of_view_for_too_long_is_somebody_else() -> None:
    frames = [frame(*[(100.0, 100, 0.9, 0)] * (not 10 <= t < 31)) for t in range(40)]
    assert run(frames, Parameters(lost_frames=21, camera_motion=False))[0][-1] == [1]
    assert run(frames, Parameters(lost_frames=20, camera_motion=False))[0][-1] == [2]


def test_a_low_score_goes_on_but_does_not_begin() -> None:
    frames = [frame((100, 100, 0.9 if t < 5 else 0.1, 0), (300, 100, 0.1, 0)) for t in range(20)]
    answers, _ = run(frames)
    assert answers == [[1, 0]] * 20


def test_a_low_score_does_not_find_again_who_was_out_of_view() -> None:
    thing = (100.0, 100.0, 0.9, 0)
    answers, _ = run([frame(thing), frame(thing), frame(), frame((100, 100, 0.1, 0)), frame(thing)])
    assert answers == [[1], [1], [], [0], [1]]


def test_classes_never_mix() -> None:
    flickering, _ = run([frame((100, 100, 0.9, t % 2)) for t in range(8)])
    assert flickering == [[1], [0]] * 4
    person, bicycle = (100.0, 100.0, 0.9, 0), (100.0, 100.0, 0.9, 1)
    together, state = run([frame(person, bicycle), frame(bicycle, person)] * 4)
    assert together == [[1, 2], [2, 1]] * 4
    assert state.classes.tolist() == [0, 1]


def test_a_camera_that_turns_takes_nobodys_name() -> None:
    """While the camera turns, one of nine is hidden."""
    turned = np.clip(np.arange(40) - 10, 0, 12) * 12.0
    frames = [
        frame(*[(60 + 90 * i + shift, 100, 0.9, 0) for i in range(9) if i < 8 or not 10 <= t < 24])
        for t, shift in enumerate(turned)
    ]
    answers, state = run(frames, Parameters(camera_motion=True))
    assert answers[-1] == list(range(1, 10))
    np.testing.assert_allclose(state.camera, [turned[-1], 0], atol=2)
    assert run(frames, Parameters(camera_motion=False))[0][-1] == [*range(1, 9), 10]


@pytest.mark.parametrize("lead", [0, 5])
def test_empty_frames_are_frames(lead: int) -> None:
    thing = (100.0, 100.0, 0.9, 0)
    answers, state = run([frame()] * lead + [frame(thing)] * 3)
    assert state.frames == lead + 3
    assert answers[-1] == [1]


def test_a_slow_camera_sees_the_same_people() -> None:
    """At a tenth of the rate people move ten times as far: time passes for the filter too."""
    walk = [frame((100 + 1.5 * t, 100, 0.9, 0), (400 - 1.5 * t, 300, 0.9, 0)) for t in range(0, 150, 10)]
    answers, _ = run(walk, passed=10.0)
    assert answers == [[1, 2]] * 15


def test_time_between_frames_is_bounded() -> None:
    parameters = Parameters(lost_frames=60)
    passed = frames_between(np.array([0.0, 1 / 30, 0.1, 0.1, 1000.0]), parameters)
    np.testing.assert_allclose(passed, [1, 2, 0.01, 60])


def test_parameters_follow_the_threshold() -> None:
    live = parameters_for(0.8, 2, camera_motion=True, hindsight=False)
    assert (live.new_score, live.lost_frames, live.camera_motion) == (0.8, 60, True)
    recorded = parameters_for(0.8, 1, camera_motion=False, hindsight=True)
    assert recorded.new_score == pytest.approx(0.48)
    assert (recorded.lost_frames, recorded.camera_motion) == (30, False)
    assert all(one.high_score < one.new_score for one in (live, recorded))


def faces(*numbers: int) -> Looks:
    """Embeddings at right angles to one another."""
    return np.eye(4, dtype=np.float32)[list(numbers)]


def test_looks_tell_apart_who_places_confuse() -> None:
    """Two who stand together and trade places between two frames."""
    before = [frame((100, 100, 0.9, 0), (115, 100, 0.9, 0), looks=faces(0, 1))] * 5
    after = [frame((102, 100, 0.9, 0), (113, 100, 0.9, 0), looks=faces(1, 0))]
    blind = Parameters(camera_motion=False)
    assert run(before + after, blind)[0][-1] == [1, 2]
    assert run(before + after, replace(blind, appearance=0.6))[0][-1] == [2, 1]


def test_looks_do_not_reach_across_the_picture() -> None:
    parameters = Parameters(camera_motion=False, appearance=0.9)
    frames = [frame((100, 100, 0.9, 0), looks=faces(0))] * 3 + [frame((400, 100, 0.9, 0), looks=faces(0))]
    assert run(frames, parameters)[0][-1] == [0]


def test_without_looks_their_share_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    frames = [frame(*[(x, 100, s, 0) for x, s in rng.uniform((0, 0), (400, 1), (6, 2))]) for _ in range(30)]
    plain, state = run(frames, Parameters())
    mixed, same = run(frames, Parameters(appearance=0.5))
    assert plain == mixed
    assert state.to_bytes() == same.to_bytes()


def test_looks_that_come_late_or_are_missing_are_used_where_they_are() -> None:
    place, other = (100.0, 100.0, 0.9, 0), (300.0, 100.0, 0.9, 0)
    unknown: NDArray[np.float32] = np.zeros((1, 4), np.float32)
    frames = [
        frame(place, other),
        frame(place, other, looks=faces(0, 1)),
        frame(place, other, looks=np.concatenate([unknown, faces(1)])),
        frame(place, other),
    ]
    answers, state = run(frames, Parameters(camera_motion=False, appearance=0.5))
    assert answers == [[1, 2]] * 4
    np.testing.assert_allclose(state.looks, faces(0, 1))
