"""Whom a job is about."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.bodies.subject import Selection, Subject, presence, select
from kinemesh.errors import InvalidArgument, NotFound

ASPECT = 2.0


def clip(
    *people: tuple[float, float, float, float, float], times: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32], float]:
    """Rows of people (from_s, to_s, x, height, visibility), ids 1, 2, 3 … in a clip of 10 s at 10 fps."""
    times = np.arange(100) / 10 if times is None else times
    shape = np.random.default_rng(0).uniform(-0.5, 0.5, (33, 2))
    shape[0], shape[32] = (0.0, -0.5), (0.0, 0.5)
    ids, stamps, rows = [], [], []
    for k, (start, end, x, height, visibility) in enumerate(people, start=1):
        for time in times[(times >= start) & (times < end)].tolist():
            row = np.zeros((33, 5), np.float32)
            row[:, :2] = shape * (0.3, 1) * height / (ASPECT, 1) + (x, 0.5)
            row[:, 3:] = visibility
            ids.append(k)
            stamps.append(time)
            rows.append(row)
    return np.array(ids, np.int64), np.array(stamps), np.stack(rows), ASPECT


def test_all_leaves_out_the_short_and_the_doubtful() -> None:
    rows = clip((0, 10, 0.2, 0.5, 0.9), (3, 3.2, 0.5, 0.5, 0.9), (0, 10, 0.8, 0.5, 0.3), (5, 6, 0.6, 0.2, 0.8))
    assert select(*rows).tolist() == [1, 4]


def test_a_very_short_clip_has_persons_too() -> None:
    rows = clip((0, 10, 0.2, 0.5, 0.9), times=np.array([0.0, 0.1]))
    assert select(*rows).tolist() == [1]


def test_duplicates_are_nobody() -> None:
    person, times, landmarks, aspect = clip((0, 10, 0.2, 0.5, 0.9), (0, 10, 0.2, 0.5, 0.9))
    person[person == 2] = 0
    assert select(person, times, landmarks, aspect).tolist() == [1]


def test_main_is_the_longest_and_largest() -> None:
    main = Selection(Subject.MAIN)
    assert select(*clip((0, 10, 0.2, 0.3, 0.9), (0, 4, 0.8, 0.6, 0.9)), main).tolist() == [1]
    assert select(*clip((0, 10, 0.2, 0.3, 0.9), (0, 6, 0.8, 0.6, 0.9)), main).tolist() == [2]
    assert select(*clip((0, 10, 0.2, 0.3, 0.9), (0, 10, 0.8, 0.3, 0.9)), main).tolist() == [1]
    assert select(*clip((0, 10, 0.2, 0.3, 0.2), (0, 1, 0.8, 0.1, 0.9)), main).tolist() == [2]
    assert select(*clip((0, 10, 0.2, 0.3, 0.2)), main).tolist() == [1]


def test_presence_counts_seconds_not_frames() -> None:
    slow, fast = np.arange(0, 5, 0.1), np.arange(5, 10, 0.02)
    rows = clip((0, 5, 0.2, 0.5, 0.9), (5, 10, 0.8, 0.5, 0.9), times=np.concatenate([slow, fast]))
    found = presence(*rows)
    assert found.ids.tolist() == [1, 2]
    np.testing.assert_allclose(found.seconds, [5, 5], atol=0.2)
    np.testing.assert_allclose(found.weight[0] / found.seconds[0], found.weight[1] / found.seconds[1])


def test_at_point_takes_who_is_there_then() -> None:
    rows = clip((0, 5, 0.3, 0.5, 0.9), (5, 10, 0.3, 0.5, 0.9), (0, 10, 0.7, 0.5, 0.9))

    def at(time_s: float, x: float, y: float = 0.5) -> list[int]:
        return [int(person) for person in select(*rows, Selection(Subject.AT_POINT, time_s, x, y))]

    assert at(1, 0.3) == [1]
    assert at(8, 0.3) == [2]
    assert at(8, 0.72) == [3]
    assert at(10.5, 0.7) == [3]
    assert at(1, 0.42) == [1]
    with pytest.raises(NotFound) as nobody:
        at(1, 0.05, 0.95)
    assert nobody.value.reason == "NO_PERSON_AT_POINT"
    with pytest.raises(NotFound):
        at(30, 0.3)
    with pytest.raises(InvalidArgument) as wrong:
        at(1, 1.3)
    assert wrong.value.reason == "POINT_INVALID"


def test_nobody_seen_is_an_empty_answer() -> None:
    nobody = np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 33, 5), np.float32), ASPECT
    for subject in (Subject.ALL, Subject.MAIN):
        assert select(*nobody, Selection(subject)).tolist() == []
    with pytest.raises(NotFound):
        select(*nobody, Selection(Subject.AT_POINT))
