"""Descriptions of sites: what becomes of each form, and refusals that name the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinemesh.errors import InvalidArgument
from kinemesh.geometry import homography
from kinemesh.testing.real_data import real_data
from kinemesh_client.site_file import SiteFile, read_site
from kinemesh_client.site_homography import HomographyFile, homography_of_points

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]
TURNED = [[0, 0], [0, 10], [10, 10], [10, 0]]


def site_of(folder: Path, **values: Any) -> SiteFile:
    path = folder / "site.json"
    path.write_text(json.dumps(values))
    return read_site(path)


def camera(folder: Path, **values: Any) -> dict[str, Any]:
    (row,) = site_of(folder, cameras=[{"camera": "c09", **values}]).environment["cameras"]
    return dict(row)


def source(folder: Path, value: Any) -> dict[str, Any]:
    return dict(camera(folder, homography=value)["homography"]["source"])


def points_of(source: dict[str, Any], side: str) -> list[list[float]]:
    return [[pair[side]["x"], pair[side]["y"]] for pair in source["points"]["pairs"]]


def test_recordings_are_paths_beside_the_file_in_order_of_time(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    cameras = [{"camera": "c09", "videos": ["a.mp4", {"file": "b.mp4", "start_sec": 3}]}, {"camera": "c12"}]
    site = site_of(tmp_path, cameras=cameras)
    assert [(video.path.name, video.start_sec) for video in site.videos["c09"]] == [("a.mp4", None), ("b.mp4", 3.0)]
    assert list(site.videos) == ["c09"]
    assert list(site.environment["cameras"]) == [{"camera": "c09"}, {"camera": "c12"}]


def test_points_may_be_given_in_several_ways(tmp_path: Path) -> None:
    pairs = source(tmp_path, {"image_points": SQUARE, "map_points": [[x, y, 0] for x, y in TURNED], "image_width": 800})
    assert (points_of(pairs, "image"), points_of(pairs, "map")) == (SQUARE, TURNED)
    assert pairs["image_width"] == 800
    turned = source(tmp_path, {"image_points": SQUARE, "map_points": SQUARE, "image_axes": "yx", "map_axes": "XY"})
    assert (points_of(turned, "image"), points_of(turned, "map")) == (TURNED, SQUARE)
    assert set(turned) == {"points"}, "the order is settled"
    assert source(tmp_path, {"source": pairs}) == pairs
    assert source(tmp_path, {"points": pairs["points"]}) == {"points": pairs["points"]}


def test_a_matrix_may_have_rows_or_not(tmp_path: Path) -> None:
    rows = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    expected = {"matrix": {"values": [1, 2, 3, 4, 5, 6, 7, 8, 9]}}
    assert source(tmp_path, {"matrix": rows}) == expected
    assert source(tmp_path, {"matrix": list(range(1, 10))}) == expected
    assert source(tmp_path, {**expected, "map_to_image": True}) == {**expected, "map_to_image": True}


def test_files_of_homographies_are_left_for_the_mesh(tmp_path: Path) -> None:
    (tmp_path / "H.txt").touch()
    plain = site_of(tmp_path, cameras=[{"camera": "c09", "homography": "H.txt"}])
    assert plain.homographies == {"c09": HomographyFile(tmp_path / "H.txt", {})}
    told = {"file": "H.txt", "image_axes": "yx", "map_axes": "XY", "map_to_image": False}
    site = site_of(tmp_path, cameras=[{"camera": "c09", "homography": told}])
    assert site.homographies["c09"].options == {"image_axes": "YX", "map_axes": "XY", "map_to_image": False}
    assert "homography" not in site.environment["cameras"][0]


def test_a_calibration_document_is_a_file_or_inside(tmp_path: Path) -> None:
    document = {"ground_plane": {"width": 10}, "cameras": [{"id": "c09"}]}
    inside = site_of(tmp_path, cameras=[{"camera": "c09"}], calibration=document)
    assert inside.calibration is not None
    assert inside.calibration.document == document
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    beside = site_of(tmp_path, calibration={"file": "calibration.json", "image_axes": "yx"})
    assert beside.calibration is not None
    assert beside.calibration.document == tmp_path / "calibration.json"
    assert beside.calibration.options == {"image_axes": "YX"}
    assert "calibration" not in beside.environment


def test_sensors_calibrate_the_cameras_of_their_names(tmp_path: Path) -> None:
    def sensor(points: Any) -> dict[str, Any]:
        on_ground = [[x, y, 0] for x, y in points]
        return {
            "camera points": SQUARE,
            "map points": on_ground,
            "intrinsics": [1, 1, 0, 0],
            "width": 800.0,
            "height": 600.0,
        }

    own = {"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    cameras = [{"camera": "c09"}, {"camera": "c12", "homography": own}]
    sensors = {"c09": sensor(TURNED), "c12": sensor(SQUARE), "elsewhere": {}}
    site = site_of(tmp_path, cameras=cameras, calibration={"name": "hall", "sensors": sensors})
    assert site.calibration is None
    first, second = (row["homography"]["source"] for row in site.environment["cameras"])
    assert points_of(first, "map") == TURNED
    assert (first["image_width"], first["image_height"]) == (800, 600)
    assert "matrix" in second, "what a camera says itself holds"


def test_zones_and_the_map_have_short_forms(tmp_path: Path) -> None:
    (tmp_path / "map.png").touch()
    corners = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]
    zones = [
        {"zone": "door", "map": [[0, 0], [1, 0], [1, 1]], "color": "#ff0000"},
        {"zone": "floor", "map": {"corners": corners}, "image": None},
        {"zone": "till", "image": {"camera": "c09", "corners": [[0, 0], [1, 0], [1, 1]]}},
    ]
    site = site_of(tmp_path, zones=zones, ground_plane={"unit": "m", "image": "map.png", "pixels_per_unit": 10})
    assert site.environment["zones"] == [
        {"zone": "door", "map": {"corners": corners}, "color": "#ff0000"},
        {"zone": "floor", "map": {"corners": corners}},
        {"zone": "till", "image": {"camera": "c09", "corners": corners}},
    ]
    assert site.picture == tmp_path / "map.png"
    assert site.environment["ground_plane"] == {"unit": "m", "pixels_per_unit": 10}


def with_camera(**values: Any) -> dict[str, Any]:
    return {"cameras": [{"camera": "c09"}, {"camera": "c12", **values}]}


def with_homography(**values: Any) -> dict[str, Any]:
    return with_camera(homography=values)


@pytest.mark.parametrize(
    ("values", "reason", "field"),
    [
        ({"camras": []}, "FIELD_UNKNOWN", "camras"),
        ({"cameras": {}}, "FIELD_INVALID", "cameras"),
        ({"cameras": [1]}, "FIELD_INVALID", "cameras[0]"),
        ({"cameras": [{}]}, "FIELD_INVALID", "cameras[0].camera"),
        (with_camera(camera="c09"), "FIELD_INVALID", "cameras[1].camera"),
        (with_camera(video="a.mp4"), "FIELD_UNKNOWN", "cameras[1].video"),
        (with_camera(videos="a.mp4"), "FILE_NOT_FOUND", "cameras[1].videos[0]"),
        (with_camera(videos=[{"file": "a.mp4"}]), "FILE_NOT_FOUND", "cameras[1].videos[0].file"),
        (with_camera(videos=[{"start_sec": 1}]), "FIELD_INVALID", "cameras[1].videos[0].file"),
        (
            with_camera(videos=[{"file": "site.json", "start_sec": "1"}]),
            "FIELD_INVALID",
            "cameras[1].videos[0].start_sec",
        ),
        (with_camera(videos=[{"file": "site.json", "from": 1}]), "FIELD_UNKNOWN", "cameras[1].videos[0].from"),
        (with_camera(videos=[1]), "FIELD_INVALID", "cameras[1].videos[0]"),
        (with_camera(videos=["site.json"], sub_videos=[{}]), "FIELD_INVALID", "cameras[1].videos"),
        (with_camera(homography=[]), "FIELD_INVALID", "cameras[1].homography"),
        (with_homography(), "FIELD_INVALID", "cameras[1].homography"),
        (with_homography(file="H.txt"), "FILE_NOT_FOUND", "cameras[1].homography.file"),
        (with_homography(file="site.json", image_axes="up"), "FIELD_INVALID", "cameras[1].homography.image_axes"),
        (with_homography(file="site.json", map_to_image=1), "FIELD_INVALID", "cameras[1].homography.map_to_image"),
        (with_homography(matrix=[[1, 2], [3, 4]]), "FIELD_INVALID", "cameras[1].homography.matrix"),
        (
            with_homography(matrix=[[1, 2, 3], [4, "5", 6], [7, 8, 9]]),
            "FIELD_INVALID",
            "cameras[1].homography.matrix[1][1]",
        ),
        (with_homography(matrix=[1] * 9, axes="XY"), "FIELD_UNKNOWN", "cameras[1].homography.axes"),
        (with_homography(image_points=SQUARE), "FIELD_INVALID", "cameras[1].homography.map_points"),
        (
            with_homography(image_points=SQUARE, map_points=SQUARE[:3]),
            "FIELD_INVALID",
            "cameras[1].homography.map_points",
        ),
        (
            with_homography(image_points=SQUARE, map_points=[[0, 0, 2], *SQUARE[1:]]),
            "FIELD_INVALID",
            "cameras[1].homography.map_points[0][2]",
        ),
        (
            with_homography(image_points=[[0], *SQUARE[1:]], map_points=SQUARE),
            "FIELD_INVALID",
            "cameras[1].homography.image_points[0]",
        ),
        ({"zones": [{"zone": "a"}]}, "FIELD_INVALID", "zones[0]"),
        ({"zones": [{"zone": "a", "map": [[0, True]]}]}, "FIELD_INVALID", "zones[0].map[0][1]"),
        ({"zones": [{"zone": "a", "image": [[0, 0]]}]}, "FIELD_INVALID", "zones[0].image"),
        ({"zones": [{"zone": "a", "image": {"corners": []}}]}, "FIELD_INVALID", "zones[0].image.camera"),
        ({"ground_plane": {"image": "map.png"}}, "FILE_NOT_FOUND", "ground_plane.image"),
        ({"calibration": "c.json"}, "FILE_NOT_FOUND", "calibration.file"),
        ({"calibration": 7}, "FIELD_INVALID", "calibration"),
        ({"calibration": {"file": "site.json", "image_axes": "up"}}, "FIELD_INVALID", "calibration.image_axes"),
        ({"calibration": {"sensors": []}}, "FIELD_INVALID", "calibration.sensors"),
        (
            {**with_camera(), "calibration": {"sensors": {"c09": {}}}},
            "FIELD_INVALID",
            "calibration.sensors.c09.image_points",
        ),
    ],
)
def test_a_refusal_names_the_field(tmp_path: Path, values: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        site_of(tmp_path, **values)
    assert (raised.value.reason, raised.value.metadata["field"]) == (reason, field)
    assert field in raised.value.message or reason == "FILE_NOT_FOUND"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.json"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument) as raised:
        read_site(path)
    assert raised.value.reason == "NOT_JSON"


@pytest.mark.data
def test_real_calibrations_are_read() -> None:
    """Two synthetic cameras over one floor, whose points must agree about a place that both see."""
    folder = real_data() / "geometry" / "synth2cam"
    content = json.loads((folder / "config.json").read_text())
    for name, sensor in content["sensors"].items():
        found = homography_of_points(sensor, name)
        image, target = (np.array(points_of(found, side), np.float64) for side in ("image", "map"))
        matrix = homography.fit(image, target)
        np.testing.assert_allclose(homography.apply(matrix, image), target, atol=1e-6)
        assert (found["image_width"], found["image_height"]) == (800, 600)
