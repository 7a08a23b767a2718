"""Calibration files: what is read, what is refused, and what is made of it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

import cv2
import numpy as np
import pytest

from kinemesh import errors
from kinemesh.geometry.homography import Floats, apply, inverse
from kinemesh.geometry.lens import Lens, Model, bent
from kinemesh.testing.real_data import real_data
from kinemesh_ingest.domain.calibration import (
    Matrix,
    Points,
    camera_of_file,
    read_calibration,
    read_document,
)
from kinemesh_ingest.domain.fitting import Conventions, View, fitted

GROUND = np.array([[0.02, 0.001, -3.0], [0.0005, 0.05, -10.0], [0.00001, 0.002, 0.1]])
SEEN = np.array([(100, 700), (1200, 650), (640, 400), (300, 450), (1000, 500), (700, 690)], np.float64)
VIEW = View(size=(1280, 720))


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **more)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


# NumPy has Python read them: each makes it complain in another way.
BAD_HEADERS = (
    "{'descr': '<f8', 'shape': (",
    "  a\n b\n   c",
    "(" * 5000,
    "-" * 9000 + "1",
    "{'descr': ',', 'fortran_order': False, 'shape': (3, 3)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 9)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999999999999)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 3, 3)}",
)


def headed(header: str) -> bytes:
    """Nine numbers under a header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(72)


def lying(shape: str) -> bytes:
    """An array that says it is larger than it is."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16)


@pytest.mark.parametrize(
    ("filename", "camera"),
    [
        ("homography_points_c09_scene_s10.npz", "c09"),
        ("C:\\sites\\homography_points_c12_scene_s10.NPZ", "c12"),
        ("homography_points_cam_2_scene_s1.npz", "cam_2"),
        ("homography_c01.txt", "c01"),
        ("/tmp/homography_points_north-gate.npz", "north-gate"),
        ("points.npz", ""),
        ("homography_points_.npz", ""),
        ("", ""),
    ],
)
def test_names_of_files_imply_cameras(filename: str, camera: str) -> None:
    assert camera_of_file(filename) == camera


def test_points_are_read() -> None:
    for data in (
        npz(image_points=SEEN, map_points=SEEN.astype(np.float32), more=np.zeros(3)),
        npz(image_points=np.asfortranarray(SEEN), map_points=SEEN.astype(np.int32)),
        zipped(image_points=npy(SEEN, version=(2, 0)), map_points=npy(SEEN)),
        json.dumps({"image_points": SEEN.tolist(), "map_points": SEEN.tolist(), "homography": None}).encode(),
    ):
        found = read_calibration(data)
        assert isinstance(found, Points)
        np.testing.assert_allclose(found.image, SEEN)
        np.testing.assert_allclose(found.map, SEEN)


def test_matrices_are_read() -> None:
    rows = "\r\n".join("  ".join(f"{value:.17e}" for value in row) for row in GROUND)
    for data in (
        npz(homography=GROUND),
        npy(GROUND),
        rows.encode(),
        b"\xef\xbb\xbf# from the city\n" + rows.replace("  ", ", ").encode() + b"\n\n",
        json.dumps(GROUND.tolist()).encode(),
        json.dumps({"homography": GROUND.tolist()}).encode(),
    ):
        found = read_calibration(data)
        assert isinstance(found, Matrix)
        np.testing.assert_allclose(found.values, GROUND, rtol=1e-15)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npz(points=SEEN), "WRONG_KEYS"),
        (npz(image_points=SEEN), "WRONG_KEYS"),
        (npz(), "UNKNOWN_FORMAT"),
        (b'{"a": 1}', "WRONG_KEYS"),
        (npz(image_points=SEEN, map_points=SEEN[:3]), "POINTS_MISMATCH"),
        (npz(image_points=SEEN.T, map_points=SEEN.T), "WRONG_SHAPE"),
        (npz(homography=np.eye(4)), "WRONG_SHAPE"),
        (npz(homography=np.array([["a"] * 3] * 3)), "WRONG_SHAPE"),
        (npz(image_points=np.zeros((1001, 2), np.int8), map_points=np.zeros((1001, 2), np.int8)), "WRONG_SHAPE"),
        (npz(image_points=np.array([[1, None]], object), map_points=SEEN), "PICKLED"),
        (npz(image_points=SEEN, map_points=SEEN, more=np.array([{}], object)), "PICKLED"),
        (pickle.dumps(SEEN), "PICKLED"),
        (bytes(1024**2 + 1), "FILE_TOO_LARGE"),
        (zipped(image_points=npy(np.zeros(1024**2)), map_points=npy(SEEN)), "FILE_TOO_LARGE"),
        (zipped(**{f"a{i}": npy(SEEN) for i in range(17)}), "FILE_TOO_LARGE"),
        (zipped(homography=lying("(1000000000000, 3)")), "UNKNOWN_FORMAT"),
        (zipped(homography=lying("(-1, 2)")), "UNKNOWN_FORMAT"),
        (zipped(homography=b"\x93NUMPY\x09\x00"), "UNKNOWN_FORMAT"),
        (zipped(homography=b"no array"), "UNKNOWN_FORMAT"),
        (npz(homography=GROUND)[:-40], "UNKNOWN_FORMAT"),
        (npz(homography=GROUND).replace(b"NUMPY", b"XUMPY"), "UNKNOWN_FORMAT"),
        (b"1 2 3\n4 5 6\n", "WRONG_SHAPE"),
        (b"1 2 3\n4 5\n7 8 9\n", "WRONG_SHAPE"),
        (b"a homography", "UNKNOWN_FORMAT"),
        (b"", "WRONG_SHAPE"),
        (b"\xff\xd8\xff\xe0", "UNKNOWN_FORMAT"),
        (b'{"homography": [', "UNKNOWN_FORMAT"),
        (b"[" * 100_000, "UNKNOWN_FORMAT"),
        (b'{"homo\\ud800": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}', "UNKNOWN_FORMAT"),
        *((headed(header), "UNKNOWN_FORMAT") for header in BAD_HEADERS),
    ],
)
def test_what_is_no_calibration_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(errors.KinemeshError) as refused:
        read_calibration(data)
    assert refused.value.reason == reason


def test_documents_are_read() -> None:
    pairs = {"source_points": SEEN.tolist(), "destination_points": SEEN.tolist()}
    told = {
        "ground_plane": {"width": 12, "height": 8.5, "pixels_per_meter": 40},
        "cameras": [{"id": "c09", **pairs}, {"id": "c12", "homography": GROUND.tolist()}],
    }
    found = read_document(json.dumps(told).encode())
    assert found.plane is not None
    assert (found.plane.width, found.plane.height, found.plane.pixels_per_meter) == (12, 8.5, 40)
    assert isinstance(found.cameras["c09"], Points)
    assert isinstance(found.cameras["c12"], Matrix)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([], "UNKNOWN_FORMAT"),
        ({}, "WRONG_KEYS"),
        ({"cameras": {"c09": {}}}, "WRONG_SHAPE"),
        ({"cameras": [{"homography": GROUND.tolist()}]}, "WRONG_KEYS"),
        ({"cameras": [{"id": "c09"}]}, "WRONG_KEYS"),
        ({"cameras": [{"id": "c09", "homography": GROUND.tolist()}] * 2}, "DUPLICATE_CAMERA"),
        ({"cameras": [], "ground_plane": {"width": "wide"}}, "WRONG_SHAPE"),
        ({"cameras": [], "ground_plane": 3}, "WRONG_SHAPE"),
    ],
)
def test_what_is_no_document_is_refused(told: Any, reason: str) -> None:
    with pytest.raises(errors.KinemeshError) as refused:
        read_document(json.dumps(told).encode())
    assert refused.value.reason == reason


def same(first: Floats, second: Floats) -> None:
    np.testing.assert_allclose(apply(first, SEEN), apply(second, SEEN), atol=1e-6)


def test_a_homography_fits_its_points_and_says_how_well() -> None:
    target = apply(GROUND, SEEN)
    exact = fitted(Points(SEEN, target), Conventions(), VIEW)
    same(exact.image_to_map, GROUND)
    assert exact.fit is not None
    assert exact.fit.errors.max() < 1e-9
    assert exact.warnings == ()
    moved = target.copy()
    moved[1] += 4
    warned = fitted(Points(SEEN, moved), Conventions(), VIEW).warnings
    assert any("missed by" in text for text in warned)
    assert any("fifth" in text for text in fitted(Points(SEEN[:4], target[:4]), Conventions(), VIEW).warnings)


@pytest.mark.parametrize("image_yx", [False, True])
@pytest.mark.parametrize("map_yx", [False, True])
@pytest.mark.parametrize("map_to_image", [False, True])
def test_the_order_of_coordinates_and_the_direction_are_the_users(
    image_yx: bool, map_yx: bool, map_to_image: bool
) -> None:
    swap = np.eye(3)[[1, 0, 2]]
    matrix = GROUND
    matrix = matrix @ swap if image_yx else matrix
    matrix = swap @ matrix if map_yx else matrix
    matrix = inverse(matrix) if map_to_image else matrix
    conventions = Conventions(image_yx, map_yx, map_to_image)
    same(fitted(Matrix(matrix), conventions, VIEW).image_to_map, GROUND)
    target = apply(GROUND, SEEN)
    points = Points(SEEN[:, ::-1] if image_yx else SEEN, target[:, ::-1] if map_yx else target)
    same(fitted(points, conventions, VIEW).image_to_map, GROUND)


def test_points_of_pictures_of_another_size_are_scaled() -> None:
    conventions = Conventions(taken_from=(640, 720))
    given = Points(SEEN * (0.5, 1), apply(GROUND, SEEN))
    same(fitted(given, conventions, VIEW).image_to_map, GROUND)
    matrix = Matrix(GROUND @ np.diag([2.0, 1.0, 1.0]))
    same(fitted(matrix, conventions, VIEW).image_to_map, GROUND)
    warned = fitted(Points(SEEN * 2, apply(GROUND, SEEN)), Conventions(), VIEW).warnings
    assert any("another size" in text for text in warned)


def test_points_are_straightened_before_they_are_fitted() -> None:
    camera = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
    lens = Lens(Model.BROWN_CONRADY, camera, np.array([-0.2, 0.05, 0.001, -0.001]))
    given = Points(bent(lens, SEEN), apply(GROUND, SEEN))
    found = fitted(given, Conventions(), View(VIEW.size, lens))
    np.testing.assert_allclose(apply(found.image_to_map, SEEN), apply(GROUND, SEEN), atol=1e-3)


def test_a_bare_matrix_cannot_tell_how_well_it_fits() -> None:
    found = fitted(Matrix(GROUND), Conventions(), View((1280, 720), None, (1e-3, 1e-3)))
    assert found.fit is None
    assert any("no points" in text for text in found.warnings)
    assert any("another unit" in text for text in found.warnings)
    skyward = GROUND.copy()
    skyward[2] = 0, 0.002, -0.5
    assert any("horizon" in text for text in fitted(Matrix(skyward), Conventions(), VIEW).warnings)
    assert any("no recording" in text for text in fitted(Matrix(GROUND), Conventions(), View()).warnings)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Points(SEEN[:3], SEEN[:3]), "TOO_FEW_POINTS"),
        (Points(np.stack([SEEN[:, 0], SEEN[:, 0]], 1), SEEN), "POINTS_DEGENERATE"),
        (Points(SEEN, np.full((6, 2), np.nan)), "POINTS_INVALID"),
        (Matrix(np.zeros((3, 3))), "MATRIX_SINGULAR"),
        (Matrix(np.full((3, 3), np.inf)), "POINTS_INVALID"),
    ],
)
@pytest.mark.parametrize("map_to_image", [False, True])
def test_what_determines_no_homography_is_refused(given: Any, reason: str, map_to_image: bool) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        fitted(given, Conventions(map_to_image=map_to_image), VIEW)
    assert refused.value.reason == reason


@pytest.mark.data
def test_a_matrix_of_rows_and_columns_lays_real_walkers_on_the_ground() -> None:
    site = real_data() / "geometry" / "ETH_seq_eth"
    given = read_calibration((site / "H.txt").read_bytes())
    found = fitted(given, Conventions(image_yx=True), View(size=(640, 480)))
    walked = np.loadtxt(site / "obsmat.txt")[:, [2, 4]]
    seen = apply(inverse(found.image_to_map), walked)
    np.testing.assert_allclose(apply(found.image_to_map, seen), walked, atol=1e-6)
    obstacles = cv2.imread(str(site / "map.png"), cv2.IMREAD_GRAYSCALE)
    assert obstacles is not None

    def on_obstacles(conventions: Conventions) -> float:
        matrix = fitted(given, conventions, View(size=(640, 480))).image_to_map
        x, y = np.rint(apply(inverse(matrix), walked)).astype(int).T
        return float((obstacles[y, x] > 0).mean())

    assert on_obstacles(Conventions(image_yx=True)) == 0
    assert on_obstacles(Conventions()) > 0.01
