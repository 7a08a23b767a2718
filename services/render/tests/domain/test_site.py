from __future__ import annotations

import numpy as np
import pytest

from kinemesh.environment.v1 import calibration_pb2, environment_pb2
from kinemesh.geometry import homography
from kinemesh.geometry.lens import Lens, Model
from kinemesh_render.domain.site import View, Zone, area_of, occupants, seen_in
from kinemesh_render.site import site_of

SIZE = (640, 480)
SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)


def tilted() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A camera that sees the horizon at line 100, and 10 metres of floor below it."""
    image = np.array([(0, 479), (639, 479), (420, 140), (220, 140)], np.float64)
    return homography.fit(image, np.array([(-2, 0), (2, 0), (4, 20), (-4, 20)], np.float64))


def test_a_zone_is_seen_where_the_camera_sees_its_corners() -> None:
    view = View(np.diag([0.01, 0.02, 1]))
    np.testing.assert_allclose(seen_in(view, SQUARE + 1, SIZE), [(100, 50), (200, 50), (200, 100), (100, 100)])
    assert not len(seen_in(View(), SQUARE, SIZE))


def test_what_lies_behind_the_camera_is_cut_off() -> None:
    view = View(tilted())
    round_the_camera = np.array([(-1, -50), (1, -50), (1, 10), (-1, 10)], np.float64)
    corners = seen_in(view, round_the_camera, SIZE)
    assert np.isfinite(corners).all()
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert (low >= (-321, -241)).all()
    assert (high <= (961, 721)).all()
    far = homography.apply(homography.inverse(tilted()), np.array([(-1, 10), (1, 10)], np.float64))
    for corner in far:
        assert np.abs(corners - corner).sum(axis=1).min() < 1e-6
    assert not len(seen_in(view, round_the_camera - (0, 100), SIZE))


def test_a_lens_bends_a_zones_edges() -> None:
    axes = np.array([(500, 0, 320), (0, 500, 240), (0, 0, 1)], np.float64)
    lens = Lens(Model.BROWN_CONRADY, axes, np.array([-0.2, 0.0, 0, 0]))
    plain = View(np.diag([0.01, 0.01, 1]))
    corners = SQUARE * (5, 3) + (0.6, 0.6)
    straight, bent = seen_in(plain, corners, SIZE), seen_in(View(plain.to_map, lens), corners, SIZE)
    assert len(bent) > 4 * len(straight)
    assert bent[:, 1].min() > straight[:, 1].min() + 2  # a barrel draws what is far from the middle inwards
    upper = bent[:, 1] < 200
    assert np.ptp(bent[upper][:, 1]) > 2
    halved = View(plain.to_map, lens, (320, 240))
    other = seen_in(halved, corners, SIZE)
    assert np.abs(other - bent).max() > 2


def test_zones_count_people_and_say_so() -> None:
    zone = Zone("till", SQUARE, color=(1, 2, 3))
    inside = occupants(zone, np.array([(0.5, 0.5), (0.2, 0.9), (1.5, 0.5), (np.nan, 0)]))
    area = area_of(zone, SQUARE.astype(np.float32), inside)
    assert (area.name, area.detail, area.occupied, area.color) == ("till", "2 in", True, (1, 2, 3))
    empty = area_of(zone, SQUARE.astype(np.float32), occupants(zone, np.empty((0, 2))))
    assert (empty.detail, empty.occupied) == ("", False)


def test_an_environment_becomes_a_site() -> None:
    given = environment_pb2.Environment(environment_id="hall")
    plain, fisheye = given.cameras.add(camera="a", display_name="Door"), given.cameras.add(camera="b")
    for camera in (plain, fisheye):
        camera.homography.image_to_map.values.extend(range(9))
    fisheye.distortion.MergeFrom(
        calibration_pb2.LensDistortion(
            model=calibration_pb2.LENS_MODEL_FISHEYE, fx=5, fy=6, cx=7, cy=8, coefficients=[1, 2, 3, 4],
            image_width=64, image_height=48,
        )
    )  # fmt: skip
    given.cameras.add(camera="c")
    on_map, in_picture = given.zones.add(zone="till", color="#0A0B0C"), given.zones.add(zone="desk", color="red")
    for x, y in SQUARE:
        on_map.map.corners.add(x=x, y=y)
        in_picture.image.corners.add(x=x, y=y)
    in_picture.image.camera = "c"
    given.ground_plane.y_up = True
    given.clock_start_time.seconds = 60

    site = site_of(given)
    assert (site.name, site.cameras, site.clock_start) == ("hall", {"a": "Door", "b": "b", "c": "c"}, 60)
    assert [(zone.name, zone.camera, zone.color) for zone in site.zones] == [
        ("till", "", (10, 11, 12)),
        ("desk", "c", None),
    ]
    np.testing.assert_array_equal(site.zones[0].corners, SQUARE)
    assert (site.floor.unit, site.floor.y_up, site.floor.picture) == ("m", True, "")
    np.testing.assert_array_equal(site.views["a"].to_map, np.arange(9).reshape(3, 3))
    assert site.views["a"].lens is None
    lens = site.views["b"].lens
    assert lens is not None
    assert (lens.model, site.views["b"].lens_size) == (Model.FISHEYE, (64, 48))
    np.testing.assert_array_equal(lens.camera, [(5, 0, 7), (0, 6, 8), (0, 0, 1)])
    assert site.views["c"].to_map is None
    assert site_of(environment_pb2.Environment(environment_id="x")).clock_start is None


@pytest.mark.parametrize("name", ["", "#12345", "#12345G"])
def test_colours_that_are_none_are_left_out(name: str) -> None:
    given = environment_pb2.Environment()
    given.zones.add(zone="z", color=name)
    assert site_of(given).zones[0].color is None
