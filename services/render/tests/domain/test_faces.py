from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_render.domain.canvas import on_rgb
from kinemesh_render.domain.faces import CARRIED_FRAMES, Boxes, Carrier, heads, hide, iou, letterbox, unletterbox, views
from kinemesh_render.domain.scene import Body

Standing = Callable[..., NDArray[np.float32]]

NOBODY: Boxes = np.empty((0, 4))
SOMEONE: Boxes = np.array([[10.0, 10, 30, 30]])


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640), (101, 57), (192, 192)])
def test_boxes_come_back_through_the_letterbox(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = 255
    square = letterbox(on_rgb(image), (0, 0, width, height), 192)
    assert square.shape == (192, 192, 3)
    ys, xs = np.nonzero(square[:, :, 0] > 127)
    faces = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.9], [0, 0, 0, 0, 0]], np.float32)
    (box,) = unletterbox(faces, width, height, 192)
    truth = np.array([width // 4, height // 4, width // 2, height // 2], np.float64)
    assert (box[:2] < truth[:2]).all()  # grown: a face's box leaves out the hair and the ears
    assert (box[2:] > truth[2:]).all()
    assert np.abs(box[:2] + box[2:] - truth[:2] - truth[2:]).max() < 0.04 * max(width, height)


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1280, 720, 4), (720, 1280, 4), (100, 100, 1), (110, 100, 1), (250, 100, 4), (33_000, 10, 7)],
)
def test_views_cover_the_picture(width: int, height: int, count: int) -> None:
    seen = np.zeros((height, width), np.uint8)
    squares = views(width, height)
    assert squares[0] == (0, 0, width, height)
    assert len(squares) == count
    for x, y, w, h in squares[1:]:
        assert w == h == min(width, height)
        assert seen[y : y + h, x : x + w].shape == (h, w)
        seen[y : y + h, x : x + w] = 1
    assert seen.all() or len(squares) == 1 or width > 5 * height


def test_a_head_is_covered_whole(standing: Standing) -> None:
    landmarks = standing((0.5, 0.5), 0.8)
    points = landmarks[:, :2] * 500
    (box,) = heads([Body(1, points, landmarks[:, 3])])
    top = 500 * (
        0.5 - 0.5 * 0.8
    )  # the crown of somebody 0.8 of the picture tall, whose ears are at 0.42 above the hips
    chin = 500 * (0.5 - 0.35 * 0.8)
    assert box[1] <= top
    assert box[3] >= chin
    assert box[0] <= points[8, 0]
    assert box[2] >= points[7, 0]


def test_a_head_in_profile_is_as_large(standing: Standing) -> None:
    landmarks = standing((0.5, 0.5), 0.8)
    points = landmarks[:, :2] * 500
    facing = heads([Body(1, points, landmarks[:, 3])])[0]
    points[:, 0] = 250 + (points[:, 0] - 250) * 0.1  # turned: everything in one line
    profile = heads([Body(1, points, landmarks[:, 3])])[0]
    assert profile[3] - profile[1] > 0.75 * (facing[3] - facing[1])


def test_hidden_and_impossible_heads(standing: Standing) -> None:
    landmarks = standing()
    unseen = Body(1, landmarks[:, :2] * 100, np.zeros(33, np.float32))
    nowhere = Body(2, np.full((33, 2), np.nan, np.float32), np.ones(33, np.float32))
    assert len(heads([unseen, nowhere])) == 1  # unsure is hidden, impossible is not


def test_a_face_stays_hidden_while_the_detector_blinks() -> None:
    carrier = Carrier()
    carrier.advance(SOMEONE)
    for _ in range(CARRIED_FRAMES):
        boxes = carrier.advance(NOBODY)
        assert len(boxes) == 1
        assert (boxes[0, :2] < 10).all()
        assert (boxes[0, 2:] > 30).all()
    assert not len(carrier.advance(NOBODY))


def test_a_face_that_moves_on_leaves_nothing_behind() -> None:
    carrier = Carrier()
    for step in range(40):
        assert len(carrier.advance(SOMEONE + step)) == 1


def test_looking_at_the_frames_before_is_enough() -> None:
    rng = np.random.default_rng(5)
    found = [SOMEONE + rng.normal(0, 3, (1, 4)) if rng.random() < 0.4 else NOBODY for _ in range(200)]
    whole = Carrier()
    answers = [whole.advance(boxes).copy() for boxes in found]
    for start in (20, 77, 150):
        part = Carrier()
        for frame in range(start - CARRIED_FRAMES, start + 10):
            boxes = part.advance(found[frame])
            if frame >= start:
                np.testing.assert_array_equal(boxes, answers[frame])


def test_iou() -> None:
    a = np.array([[0.0, 0, 2, 2], [5, 5, 6, 6]])
    b = np.array([[1.0, 0, 3, 2]])
    np.testing.assert_allclose(iou(a, b), np.array([[1 / 3], [0.0]]))
    assert iou(NOBODY, b).shape == (0, 1)


def test_hiding_destroys_detail_and_touches_nothing_else() -> None:
    rng = np.random.default_rng(1)
    original = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    image = original.copy()
    hide(on_rgb(image), np.array([[100.0, 50, 180, 130]]))
    inside = image[50:130, 100:180].astype(float)
    # Neighbouring pixels are alike now, and how the picture was before cannot be told from how it is.
    assert np.abs(np.diff(inside, axis=0)).mean() < 4
    before = original[50:130, 100:180].astype(float)
    assert abs(np.corrcoef(inside.ravel(), before.ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(image[:, :75], original[:, :75])
    np.testing.assert_array_equal(image[160:], original[160:])


def test_two_faces_of_equal_means_look_the_same() -> None:
    """What is left of a face are 25 coarse colours: two faces that share them cannot be told apart."""
    dots = np.zeros((100, 100, 3), np.uint8)
    dots[::2, ::2] = dots[1::2, 1::2] = 200
    stripes = np.zeros((100, 100, 3), np.uint8)
    stripes[::2] = 200
    for image in (dots, stripes):
        hide(on_rgb(image), np.array([[20.0, 20, 80, 80]]))
    assert np.abs(dots[20:80, 20:80].astype(int) - stripes[20:80, 20:80]).max() <= 16  # one step of a colour


@pytest.mark.parametrize(
    "box",
    [[-50, -50, -10, -10], [400, 10, 500, 60], [-20, -20, 15, 15], [5, 5, 5, 5], [50, 50, 51, 51], [0, 0, 900, 900]],
)
def test_boxes_at_and_beyond_the_edge(box: list[float]) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    hide(on_rgb(image), np.array([box], np.float64))
