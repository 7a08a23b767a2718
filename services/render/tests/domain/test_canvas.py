from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.nv12 import ColorMatrix, chroma, luma, yuv_of_rgb
from kinemesh_render.domain.canvas import Canvas, on_nv12, on_rgb, scaled
from kinemesh_render.domain.drawing import draw_scene
from kinemesh_render.domain.faces import hide, letterbox
from kinemesh_render.domain.scene import Area, Body, Scene, Thing, Trail
from kinemesh_render.domain.style import resolve

Standing = Callable[..., NDArray[np.float32]]
Image = NDArray[np.uint8]

WIDTH, HEIGHT = 480, 540
MATRICES = list(ColorMatrix)


def nv12_of(image: Image, matrix: ColorMatrix) -> Image:
    """A picture as a decoder would give it, exactly."""
    yuv = np.asarray(cv2.transform(image, yuv_of_rgb(matrix)), np.uint8)
    height, width = image.shape[:2]
    planes = np.empty((height * 3 // 2, width), np.uint8)
    luma(planes)[:] = yuv[:, :, 0]
    chroma(planes)[:] = cv2.resize(yuv[:, :, 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return planes


def seen(canvas: Canvas) -> Image:
    return scaled(canvas, (0, 0, canvas.width, canvas.height), canvas.width, canvas.height)


def grey() -> Image:
    return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def scene(standing: Standing) -> Scene:
    points = standing((0.5, 0.5), 0.8)[:, :2] * (WIDTH, HEIGHT)
    path = np.stack([np.linspace(40, 440, 60), np.full(60, 60)], axis=1).astype(np.float32)
    return Scene(
        bodies=[Body(1, points.astype(np.float32), np.full(33, 0.95, np.float32))],
        trails=[Trail(2, path, np.linspace(1, 0, 60, dtype=np.float32))],
        things=[Thing(3, np.array([40, 300, 120, 420], np.float32), "car 3")],
        areas=[Area("grid", np.array([[300, 440], [460, 440], [460, 520]], np.float32))],
    )


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_frame_looks_as_a_picture_with_the_same_drawn_on_it(standing: Standing, matrix: ColorMatrix) -> None:
    picture, frame = grey(), nv12_of(grey(), matrix)
    style = resolve(["#FF2010", "#10E020", "#2040FF"], line_thickness=9)
    draw_scene(on_rgb(picture), scene(standing), style)
    draw_scene(on_nv12(frame, matrix), scene(standing), style)
    expected = seen(on_nv12(nv12_of(picture, matrix), matrix)).astype(int)  # as a video can hold it
    difference = np.abs(seen(on_nv12(frame, matrix)) - expected).max(axis=2)
    drawn = np.abs(expected - 128).max(axis=2) > 8
    assert drawn.mean() > 0.05
    assert difference[~cv2.dilate(drawn.astype(np.uint8), np.ones((9, 9))).astype(bool)].max() <= 2
    assert np.median(difference[drawn]) <= 8  # what differs is the edges' colour, which has half the resolution
    assert difference.mean() < 3


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (24, 26, 32)])
def test_colours_are_exact(matrix: ColorMatrix, color: tuple[int, int, int]) -> None:
    frame = nv12_of(grey(), matrix)
    area = Area("", np.array([[100, 100], [300, 100], [300, 300], [100, 300]], np.float32))
    thing = Thing(0, area.corners[[0, 2]].ravel(), "")
    draw_scene(on_nv12(frame, matrix), Scene(things=[thing]), resolve([f"#{bytes(color).hex()}"], line_thickness=32))
    assert np.abs(seen(on_nv12(frame, matrix))[200, 100].astype(int) - color).max() <= 3


def test_the_two_matrices_differ() -> None:
    red = np.array([255, 0, 0, 1])
    y601, y709 = (yuv_of_rgb(matrix) @ red for matrix in MATRICES)
    np.testing.assert_allclose(y601, (81.481, 90.203, 240), atol=1e-3)  # BT.601: 16 + 65.481, 128 - 37.797, 128 + 112
    np.testing.assert_allclose(y709, (62.5589, 102.3359, 240), atol=1e-3)
    for matrix in MATRICES:
        np.testing.assert_allclose(yuv_of_rgb(matrix) @ (255, 255, 255, 1), (235, 128, 128), atol=1e-9)


def test_faces_are_hidden_in_all_planes() -> None:
    image = np.random.default_rng(3).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    image = np.kron(image, np.ones((4, 4, 1), np.uint8)).astype(np.uint8)
    frame = nv12_of(image, ColorMatrix.BT709)
    before = frame.copy()
    hide(on_nv12(frame, ColorMatrix.BT709), np.array([[100.0, 100, 220, 220]]))
    for plane, scale in ((luma, 1), (chroma, 2)):
        inside = plane(frame)[120 // scale : 200 // scale, 120 // scale : 200 // scale].astype(int)
        assert np.abs(np.diff(inside, axis=0)).mean() < 4
        np.testing.assert_array_equal(plane(frame)[:, : 60 // scale], plane(before)[:, : 60 // scale])


def test_a_part_is_seen_in_its_colours() -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 50:] = (200, 40, 90)
    for canvas in (on_rgb(image), on_nv12(nv12_of(image, ColorMatrix.BT601), ColorMatrix.BT601)):
        square = letterbox(canvas, (40, 0, 60, 60), 30)
        assert square.shape == (30, 30, 3)
        assert np.abs(square[15, 20].astype(int) - (200, 40, 90)).max() <= 3
        assert square[15, 1].max() <= 8
