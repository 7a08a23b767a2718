from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.poses import PoseTable, scene_of_poses

Standing = Callable[..., NDArray[np.float32]]


def table(standing: Standing, times: list[float], persons: list[int]) -> PoseTable:
    image = np.stack([standing((0.2 + 0.1 * row, 0.5)) for row in range(len(times))])
    return PoseTable(np.arange(len(times)), np.array(times), np.array(persons, np.int32), image)


def test_a_frame_without_rows_is_empty(standing: Standing) -> None:
    scene = scene_of_poses(table(standing, [0.0, 0.1], [1, 1]), 7, 100, 100, 1.0)
    assert not scene.bodies
    assert not scene.trails


def test_fractions_become_pixels(standing: Standing) -> None:
    rows = table(standing, [0.0], [4])
    (body,) = scene_of_poses(rows, 0, 200, 100, 0).bodies
    assert body.identity == 4
    np.testing.assert_allclose(body.points, rows.image[0, :, :2] * (200, 100), rtol=1e-6)


def test_persons_of_one_frame_stay_apart(standing: Standing) -> None:
    image = np.stack([standing(), standing()])
    rows = PoseTable(np.array([3, 3]), np.array([0.1, 0.1]), np.array([1, 2], np.int32), image)
    assert [body.identity for body in scene_of_poses(rows, 3, 100, 100, 0).bodies] == [1, 2]


def test_trails_reach_back_as_far_as_asked(standing: Standing) -> None:
    rows = table(standing, [0.0, 0.1, 0.2, 0.3, 0.4], [1] * 5)
    trails = scene_of_poses(rows, 4, 100, 100, 0.25).trails
    assert len(trails) == 5  # wrists, ankles, hips
    for trail in trails:
        assert len(trail.points) == 3
        np.testing.assert_allclose(trail.age, [0.8, 0.4, 0], atol=1e-6)


def test_trails_follow_one_person_only(standing: Standing) -> None:
    rows = table(standing, [0.0, 0.1, 0.2], [1, 2, 1])
    assert {len(trail.points) for trail in scene_of_poses(rows, 2, 100, 100, 1.0).trails} == {2}


def test_trails_do_not_bridge_an_absence(standing: Standing) -> None:
    rows = table(standing, [0.0, 0.1, 0.9, 1.0], [1] * 4)
    assert {len(trail.points) for trail in scene_of_poses(rows, 3, 100, 100, 5.0).trails} == {2}


def test_a_hidden_wrist_leaves_no_trail(standing: Standing) -> None:
    rows = table(standing, [0.0, 0.1], [1, 1])
    rows.image[:, 15, 3] = 0.1
    assert len(scene_of_poses(rows, 1, 100, 100, 1.0).trails) == 4
