from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.nv12 import ColorMatrix
from kinemesh_render.domain.canvas import on_nv12, on_rgb, scaled, within
from kinemesh_render.domain.drawing import beside, draw_scene
from kinemesh_render.domain.scene import Area, Body, Scene, Spot, Thing, Trail
from kinemesh_render.domain.style import resolve

Standing = Callable[..., NDArray[np.float32]]
Image = NDArray[np.uint8]

PLAIN = resolve(["#FF0000"], hide_labels=True)
GREY = 128


def picture(width: int = 320, height: int = 360) -> Image:
    return np.full((height, width, 3), GREY, np.uint8)


def body(landmarks: NDArray[np.float32], image: Image, identity: int = 0) -> Body:
    return Body(identity, landmarks[:, :2] * (image.shape[1], image.shape[0]), landmarks[:, 3])


def touched(image: Image) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (image != GREY).any(axis=2)
    return mask


def test_nothing_is_drawn_for_nobody() -> None:
    image = picture()
    draw_scene(on_rgb(image), Scene(), resolve())
    assert not touched(image).any()


def test_a_body_is_drawn_where_it_is(standing: Standing) -> None:
    image = picture()
    drawn = body(standing(), image)
    draw_scene(on_rgb(image), Scene([drawn]), PLAIN)
    middle = (drawn.points[24] + drawn.points[26]) / 2  # of the right thigh, the undiluted colour
    np.testing.assert_array_equal(image[round(middle[1]), round(middle[0])], (255, 0, 0))
    ys, xs = np.nonzero(touched(image))
    low, high = drawn.points.min(axis=0) - 8, drawn.points.max(axis=0) + 8
    assert xs.min() >= low[0]
    assert xs.max() <= high[0]
    assert ys.min() >= low[1]
    assert ys.max() <= high[1]


def test_left_and_right_differ(standing: Standing) -> None:
    image = picture()
    drawn = body(standing(), image)
    draw_scene(on_rgb(image), Scene([drawn]), PLAIN)
    left = ((drawn.points[23] + drawn.points[25]) / 2).round().astype(int)
    right = ((drawn.points[24] + drawn.points[26]) / 2).round().astype(int)
    assert np.abs(image[left[1], left[0]].astype(int) - image[right[1], right[0]]).max() > 80


def test_guessed_landmarks_are_not_drawn(standing: Standing) -> None:
    sure, unsure = picture(), picture()
    landmarks = standing()
    draw_scene(on_rgb(sure), Scene([body(landmarks, sure)]), PLAIN)
    landmarks[[13, 15, 17, 19, 21], 3] = 0.1  # the left arm
    draw_scene(on_rgb(unsure), Scene([body(landmarks, unsure)]), PLAIN)
    elbow = body(landmarks, sure).points[13].round().astype(int)
    assert touched(sure)[elbow[1], elbow[0]]
    assert not touched(unsure)[elbow[1], elbow[0]]


def test_doubtful_landmarks_are_drawn_thinner(standing: Standing) -> None:
    sure, doubtful = picture(640, 720), picture(640, 720)
    landmarks = standing()
    draw_scene(on_rgb(sure), Scene([body(landmarks, sure)]), PLAIN)
    landmarks[:, 3] = 0.45
    draw_scene(on_rgb(doubtful), Scene([body(landmarks, doubtful)]), PLAIN)
    assert 0 < touched(doubtful).sum() < 0.85 * touched(sure).sum()


def test_sizes_scale_with_the_picture(standing: Standing) -> None:
    small, large = picture(320, 360), picture(1280, 1440)
    draw_scene(on_rgb(small), Scene([body(standing(), small)]), PLAIN)
    draw_scene(on_rgb(large), Scene([body(standing(), large)]), PLAIN)
    assert touched(large).mean() == pytest.approx(touched(small).mean(), rel=0.4)


def test_no_joints_when_the_radius_says_so(standing: Standing) -> None:
    image = picture()
    drawn = body(standing(), image)
    draw_scene(on_rgb(image), Scene([drawn]), resolve(["#FF0000"], joint_radius=-1, hide_labels=True))
    assert not (image == 255).all(axis=2).any()


def test_trails_taper() -> None:
    image = picture()
    points = np.stack([np.linspace(40, 280, 60), np.full(60, 180)], axis=1).astype(np.float32)
    trail = Trail(0, points, np.linspace(1, 0, 60, dtype=np.float32))
    draw_scene(on_rgb(image), Scene(trails=[trail]), resolve(["#FF0000"], 16))
    width = touched(image).sum(axis=0)
    assert 0 < width[60] < width[160] < width[270]


def test_an_outlined_trail_is_dark_at_its_sides() -> None:
    image = picture(320, 1440)
    points = np.stack([np.linspace(40, 280, 60), np.full(60, 180)], axis=1).astype(np.float32)
    trail = Trail(0, points, np.linspace(1, 0, 60, dtype=np.float32), (0, 0, 255), outlined=True)
    draw_scene(on_rgb(image), Scene(trails=[trail]), resolve(["#FF0000"], 16))
    column = image[:, 270].astype(int)
    inner, outer = np.flatnonzero(column[:, 2] > 200), np.flatnonzero(column.max(axis=1) < 80)
    assert outer.min() < inner.min() < inner.max() < outer.max()


def test_bodies_have_colours_and_captions_of_their_own(standing: Standing) -> None:
    nameless, named = picture(), picture()
    drawn = body(standing(), nameless)
    style = resolve(["#FF0000"])
    draw_scene(on_rgb(nameless), Scene([replace(drawn, color=(0, 0, 255), caption="")]), style)
    draw_scene(on_rgb(named), Scene([replace(drawn, color=(0, 0, 255), caption="Anna")]), style)
    middle = (drawn.points[24] + drawn.points[26]) / 2
    assert nameless[round(middle[1]), round(middle[0])].tolist() == [0, 0, 255]
    rows = np.flatnonzero(touched(named).any(axis=1))
    assert rows.min() < np.flatnonzero(touched(nameless).any(axis=1)).min()
    assert not ((named[:, :, 0] > 200) & (named[:, :, 2] < 80)).any()


def test_labels_can_be_left_out_and_stay_inside(standing: Standing) -> None:
    labelled, bare = picture(), picture()
    landmarks = standing((0.0, 0.2))  # half of it outside, the head above the upper edge
    draw_scene(on_rgb(labelled), Scene([body(landmarks, labelled)]), resolve(["#FF0000"]))
    draw_scene(on_rgb(bare), Scene([body(landmarks, bare)]), PLAIN)
    assert touched(labelled).sum() > touched(bare).sum()


def test_boxes_polygons_and_captions() -> None:
    image = picture()
    thing = Thing(3, np.array([100, 100, 200, 220], np.float32), "car 3", "0.83")
    area = Area("grid", np.array([[20, 300], [120, 300], [120, 350]], np.float32), "1 in")
    draw_scene(on_rgb(image), Scene(things=[thing], areas=[area]), resolve(["#FF0000"]))
    mask = touched(image)
    assert mask[160, 100]
    assert mask[160, 200]
    assert not mask[160, 150]
    assert mask[300, 70]
    assert mask[85:99, 100:130].any()


def test_what_nobody_saw_is_dashed_and_thinner() -> None:
    seen, guessed = picture(640, 720), picture(640, 720)
    box = np.array([100, 100, 400, 500], np.float32)
    draw_scene(on_rgb(seen), Scene(things=[Thing(0, box, "")]), PLAIN)
    draw_scene(on_rgb(guessed), Scene(things=[Thing(0, box, "", guessed=True)]), PLAIN)
    for image, closed in ((seen, True), (guessed, False)):
        mask = touched(image)
        assert mask[100:500, 96:104].any(axis=1).all() == closed
        assert mask[[100, 100, 500, 500], [100, 400, 100, 400]].all()  # corners show in any case
        assert not mask[110:490, 110:390].any()
        assert not mask[:90].any()
    assert touched(guessed)[250].sum() <= touched(seen)[250].sum()
    assert 0.2 < touched(guessed).sum() / touched(seen).sum() < 0.75


def test_details_stand_beside_the_caption() -> None:
    box = np.array([100, 100, 110, 110], np.float32)
    bare, detailed = picture(), picture()
    draw_scene(on_rgb(bare), Scene(things=[Thing(0, box, "car #1")]), resolve(["#FF0000"]))
    draw_scene(on_rgb(detailed), Scene(things=[Thing(0, box, "car #1", "0.83")]), resolve(["#FF0000"]))
    width = [int(np.flatnonzero(touched(image)[:98].any(axis=0))[-1]) for image in (bare, detailed)]
    assert width[1] > width[0] + 15


def test_captions_stay_together_at_the_edge() -> None:
    image = picture(200, 360)
    thing = Thing(0, np.array([195, 100, 260, 200], np.float32), "tyre gun #7", "0.83")
    draw_scene(on_rgb(image), Scene(things=[thing]), resolve(["#FF0000"]))
    columns = np.flatnonzero(touched(image)[86:98].any(axis=0))
    assert columns[-1] == 199
    assert np.array_equal(columns, np.arange(columns[0], 200))  # no gap, nothing on top of the other
    assert (image[86:98, :150] == (255, 0, 0)).all(axis=2).any()


def test_where_there_is_no_room_details_are_left_out() -> None:
    box = np.array([10, 100, 50, 200], np.float32)
    bare, detailed = picture(60, 360), picture(60, 360)
    draw_scene(on_rgb(bare), Scene(things=[Thing(0, box, "car #1")]), resolve(["#FF0000"]))
    draw_scene(on_rgb(detailed), Scene(things=[Thing(0, box, "car #1", "0.83")]), resolve(["#FF0000"]))
    assert touched(bare)[:95].any()
    np.testing.assert_array_equal(bare, detailed)


def test_zones_are_tinted_inside_only_and_stronger_where_somebody_is() -> None:
    corners = np.array([[100, 100], [300, 100], [300, 300], [100, 300]], np.float32)
    change = []
    for occupied in (False, True):
        image = picture(400, 720)
        draw_scene(on_rgb(image), Scene(areas=[Area("box", corners, occupied=occupied)]), PLAIN)
        inside, outside = image[150:250, 150:250], np.delete(image, np.s_[90:310], axis=0)
        assert (inside == inside[0, 0]).all()
        assert (outside == GREY).all()
        change.append(int(np.abs(inside[0, 0].astype(int) - GREY).max()))
    assert 0 < change[0] < change[1] < 100


def test_boxes_in_the_planes_of_a_video_lie_where_they_lie_in_rgb() -> None:
    frame = np.full((360 * 3 // 2, 320), 128, np.uint8)
    thing = Thing(0, np.array([100, 100, 200, 220], np.float32), "")
    area = Area("", np.array([[20, 240], [120, 240], [120, 340], [20, 340]], np.float32))
    draw_scene(on_nv12(frame, ColorMatrix.BT709), Scene(things=[thing], areas=[area]), PLAIN)
    rgb = scaled(on_nv12(frame, ColorMatrix.BT709), (0, 0, 320, 360), 320, 360)
    reference = picture()
    draw_scene(on_rgb(reference), Scene(things=[thing], areas=[area]), PLAIN)
    changed = np.abs(rgb.astype(int) - rgb[0, 0]).max(axis=2) > 40
    assert (changed == (np.abs(reference.astype(int) - GREY).max(axis=2) > 40)).mean() > 0.98


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 5e4])
@pytest.mark.parametrize("guessed", [False, True])
def test_absurd_boxes_and_zones_do_no_harm(value: float, *, guessed: bool) -> None:
    for where in range(4):
        box = np.array([10, 10, 50, 50], np.float32)
        box[where] = value
        corners = box.reshape(2, 2)[[0, 1, 0]]
        scene = Scene(things=[Thing(1, box, "car", "0.5", guessed)], areas=[Area("zone", corners, "1 in")])
        draw_scene(on_rgb(picture()), scene, resolve())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("guessed", [False, True])
def test_absurd_landmarks_do_no_harm(standing: Standing, value: float, *, guessed: bool) -> None:
    image = picture()
    landmarks = standing()
    landmarks[13, :2] = value
    landmarks[0, :2] = value
    drawn = Body(1, landmarks[:, :2] * 300, landmarks[:, 3], guessed=guessed)
    trail = Trail(1, drawn.points, np.linspace(1, 0, 33, dtype=np.float32), outlined=guessed)
    draw_scene(on_rgb(image), Scene([drawn], [trail]), resolve())


def test_a_picture_of_one_pixel_can_be_drawn_on(standing: Standing) -> None:
    image = picture(1, 1)
    draw_scene(on_rgb(image), Scene([body(standing(), image)]), resolve())


def test_drawing_twice_gives_the_same(standing: Standing) -> None:
    first, second = picture(), picture()
    for image in (first, second):
        draw_scene(on_rgb(image), Scene([body(standing(), image, 5)]), resolve(trail_sec=1))
    np.testing.assert_array_equal(first, second)


def test_beside_leaves_the_original_alone(standing: Standing) -> None:
    both = beside(picture(), picture())
    drawn = body(standing(), picture())
    draw_scene(on_rgb(both[:, 320:]), Scene([drawn]), resolve())
    assert both.shape == (360, 640, 3)
    assert not touched(both[:, :320]).any()
    assert touched(both[:, 320:]).any()


def thing_at(box: tuple[float, float, float, float], **more: Any) -> NDArray[np.uint8]:
    image = np.zeros((240, 320, 3), np.uint8)
    thing = Thing(1, np.array(box, np.float32), "", color=(250, 0, 250), **more)
    draw_scene(on_rgb(image), Scene(things=[thing]), resolve())
    return image


@pytest.mark.parametrize("bottom", [150, 240, 400])
def test_a_box_whose_feet_are_hidden_is_open_below_and_marked(bottom: int) -> None:
    box = (100, 50, 200, bottom)
    closed, opened = (thing_at(box, feet_hidden=hidden)[..., 0] > 150 for hidden in (False, True))
    if bottom == 150:
        assert closed[149:152, 102:198].any(axis=0).all()
        assert not opened[149:152, 106:140].any()
    middle = opened[: min(bottom + 3, 240), 140:160]
    assert middle[60:].any()  # the mark, within the picture also where the box is not
    assert opened[60:140, 99:102].any(axis=1).all()


def test_spots_are_filled_where_somebody_was_seen() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    color = (250, 0, 250)
    points = np.array([(80, 120), (240, 120)], np.float32)
    spots = [Spot(points[0], color, "#1"), Spot(points[1], color, "", guessed=True)]
    draw_scene(on_rgb(image), Scene(spots=spots), resolve(line_thickness=12))
    assert image[120, 80].tolist() == list(color)
    assert image[120, 240, 0] < 60
    assert image[120, 246, 0] > 200
    labelled = image[:110] > 0
    assert labelled[:, 70:180].any()
    assert not labelled[:100, 220:].any()


def test_zones_and_trails_have_colours_of_their_own() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    corners = np.array([(20, 20), (300, 20), (300, 120), (20, 120)], np.float32)
    line = np.stack([np.linspace(20, 300, 20), np.full(20, 200)], axis=1).astype(np.float32)
    trail = Trail(1, line, np.linspace(1, 0, 20).astype(np.float32), (0, 0, 250))
    draw_scene(on_rgb(image), Scene(areas=[Area("", corners, color=(250, 0, 0))], trails=[trail]), resolve())
    calm = image[70, 160].tolist()
    assert calm[0] > 20
    assert calm[1:] == [0, 0]
    assert image[200, 290].argmax() == 2
    draw_scene(on_rgb(image), Scene(areas=[Area("", corners, occupied=True, color=(250, 0, 0))]), resolve())
    assert image[70, 160, 0] > 2 * calm[0]


@pytest.mark.parametrize("matrix", [None, ColorMatrix.BT709])
def test_a_part_of_a_canvas_is_drawn_on_alone(matrix: ColorMatrix | None) -> None:
    image = np.full((240 * 3 // 2, 320) if matrix else (240, 320, 3), 128, np.uint8)
    canvas = on_nv12(image, matrix) if matrix else on_rgb(image)
    part = within(canvas, (100, 60, 80, 40), drawn_as=720)
    corners = np.array([(-50, -50), (200, -50), (200, 200), (-50, 200)], np.float32)
    draw_scene(part, Scene(areas=[Area("", corners)]), resolve())
    shown = scaled(canvas, (0, 0, 320, 240), 320, 240).astype(int)
    changed = np.abs(shown - shown[0, 0]).max(axis=2) > 0
    assert changed[60:100, 100:180].all()
    assert changed.sum() == 40 * 80
    assert (part.lines, canvas.lines) == (720, 240)
