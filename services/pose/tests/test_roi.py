"""Geometry of regions of interest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinemesh_pose.domain import roi

WIDTH, HEIGHT = 640, 360
UPRIGHT = np.array([[320.0, 180.0, 200.0, 0.0]])

rois = st.tuples(
    st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(20, 900), st.floats(-np.pi, np.pi, exclude_max=True)
).map(lambda row: np.array([row]))


@pytest.mark.parametrize(
    ("above", "rotation"),
    [((100, 60), 0.0), ((140, 100), np.pi / 2), ((60, 100), -np.pi / 2), ((100, 140), -np.pi)],
)
def test_region_turns_with_the_person(above: tuple[float, float], rotation: float) -> None:
    found = roi.from_alignment_points(np.array([[100.0, 100.0]]), np.array([above], np.float64))
    np.testing.assert_allclose(found, [[100, 100, 2.5 * 40, rotation]], atol=1e-12)


def test_detections_leave_their_view() -> None:
    rows = np.zeros((16, 13), np.float32)
    # Mid-hip in the middle of the square, scale point 28 px (of 224) above: 80 px of 640, 45 px of 360.
    rows[0] = [0, 0, 0, 0, 112, 112, 112, 84, 0, 0, 0, 0, 0.75]
    whole, left, right = roi.views(WIDTH, HEIGHT)
    for view, expected in ((whole, [320, 180, 200, 0]), (left, [180, 180, 112.5, 0]), (right, [460, 180, 112.5, 0])):
        found, scores = roi.from_detections(rows, view)
        np.testing.assert_allclose(found, [expected])
        assert scores.tolist() == [0.75]
    assert roi.from_detections(np.zeros((16, 13), np.float32), whole)[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("width", "height", "closer"),
    [(640, 640, 0), (640, 520, 0), (640, 480, 2), (1280, 720, 2), (720, 1280, 2), (2560, 1080, 3), (4000, 100, 50)],
)
def test_closer_views_cover_the_frame_and_overlap(width: int, height: int, closer: int) -> None:
    whole, *near = roi.views(width, height)
    assert whole.tolist() == [width / 2, height / 2, max(width, height), 0]
    assert len(near) == closer
    if near:
        squares = np.array(near)
        side = min(width, height)
        assert (squares[:, 2:] == [side, 0]).all()
        low, high = squares[:, :2] - side / 2, squares[:, :2] + side / 2
        np.testing.assert_allclose(low.min(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(high.max(axis=0), [width, height])
        shared = side - np.diff(low, axis=0).max(axis=1)
        assert (shared >= 0.2 * side - 1e-9).all()


def test_who_is_larger_than_a_view_does_not_fit() -> None:
    _, near, _ = roi.views(WIDTH, HEIGHT)
    people = np.array([[100.0, 100, 450, 0], [100, 100, 451, 0]])  # with a quarter of margin around 360 px
    assert roi.fits(people, near).tolist() == [True, False]


@given(rois, st.lists(st.tuples(st.floats(-50, 300), st.floats(-50, 300)), min_size=1, max_size=5))
def test_projection_inverts_the_crop(region: roi.Rois, points: list[tuple[float, float]]) -> None:
    x, y, side, rotation = region[0]
    crop_points = np.array(points)
    centred = (crop_points / roi.CROP_SIZE - 0.5) * side
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    expected = centred @ turn.T + [x, y]
    landmarks = np.zeros((1, len(points), 5), np.float32)
    landmarks[0, :, :2] = crop_points
    landmarks[0, :, 2] = roi.CROP_SIZE
    landmarks[0, :, 3:] = 0.25
    projected = roi.project(landmarks, region, WIDTH, HEIGHT)
    np.testing.assert_allclose(projected[0, :, :2] * [WIDTH, HEIGHT], expected, atol=1e-2)
    np.testing.assert_allclose(projected[0, :, 2], side / WIDTH, rtol=1e-6)
    assert (projected[0, :, 3:] == 0.25).all()


@given(rois, rois)
def test_displacing_by_the_difference_arrives(region: roi.Rois, reference: roi.Rois) -> None:
    arrived = roi.displace(reference, roi.difference(region, reference))
    np.testing.assert_allclose(arrived[:, :3], region[:, :3], atol=1e-6)
    np.testing.assert_allclose(np.exp(1j * arrived[:, 3]), np.exp(1j * region[:, 3]), atol=1e-9)


def test_crop_is_upright_and_centred() -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    frame = np.stack([columns * 255 / WIDTH, rows * 255 / HEIGHT, np.zeros_like(rows)], axis=2).astype(np.uint8)
    region = np.array([[300.0, 200.0, 120.0, np.pi / 2]])
    cut = roi.crop(frame, region)[0].astype(float)
    # A quarter turn clockwise: the crop's right is the frame's down, and the crop's down the frame's left.
    assert abs(cut[128, 128, 0] - frame[200, 300, 0]) <= 1
    assert abs(cut[128, 250, 1] - frame[257, 300, 1]) <= 1
    assert abs(cut[250, 128, 0] - frame[200, 243, 0]) <= 1


def test_crop_repeats_the_edge_and_letterbox_is_black() -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    assert (roi.crop(frame, np.array([[0.0, 0.0, 300.0, 0.3], [9e5, 0.0, 1e6, 0.0]])) == 200).all()
    whole, left, _ = roi.views(WIDTH, HEIGHT)
    boxed = roi.look(frame, whole)
    assert boxed.shape == (224, 224, 3)
    assert (boxed[:48] == 0).all()
    assert (boxed[-48:] == 0).all()
    assert (boxed[60:-60] == 200).all()
    assert (roi.look(frame, left)[1:-1, 1:-1] == 200).all()
    assert roi.crop(frame, roi.NO_ROIS).shape == (0, 256, 256, 3)


def test_overlap_of_squares() -> None:
    others = np.array([[320.0, 180, 200, 1.0], [420, 180, 200, 0], [320, 180, 100, 0], [900, 180, 200, 0]])
    np.testing.assert_allclose(roi.overlap(UPRIGHT[0], others), [1, 1 / 3, 1 / 4, 0])
    assert roi.overlap(UPRIGHT[0], roi.NO_ROIS).shape == (0,)


def test_containment_of_squares() -> None:
    others = np.array(
        [[320.0, 180, 200, 1.0], [420, 180, 200, 0], [320, 180, 100, 0], [320, 230, 100, 0], [320, 180, 0, 0]]
    )
    np.testing.assert_allclose(roi.containment(UPRIGHT[0], others), [1, 1 / 2, 1, 1, 0])
    assert roi.containment(UPRIGHT[0], roi.NO_ROIS).shape == (0,)


def test_world_turns_with_the_region() -> None:
    world = np.array([[[1.0, 0.0, 0.5]]], np.float32)
    turned = roi.rotate_world(world, np.array([[0.0, 0, 1, np.pi / 2]]))
    np.testing.assert_allclose(turned, [[[0, 1, 0.5]]], atol=1e-7)
