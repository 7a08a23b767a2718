"""Calibration files as users have them, read without trusting a byte of them."""

from __future__ import annotations

import io
import json
import lzma
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument, TooLarge

Floats = NDArray[np.float64]

MOST_BYTES: Final = 1024**2
MOST_POINTS: Final = 1000
_MOST_MEMBERS: Final = 16
_ZIP: Final = b"PK\x03\x04"
_NPY: Final = b"\x93NUMPY"
_PICKLE: Final = b"\x80"
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_AXES: Final = 8
# NumPy has Python itself read a header, which complains of what is none in as many ways as Python has.
_BAD_HEADER: Final = (
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
_CAMERA: Final = re.compile(
    r"homography(?:_points)?_([A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*?)(?:_scene_[\w-]+)?\.\w+\Z", re.I
)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Corresponding points: float64 [N, 2] each, in the order of coordinates that the user has."""

    image: Floats
    map: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A bare homography: float64 [3, 3]."""

    values: Floats


Calibration: TypeAlias = Points | Matrix


@dataclass(frozen=True, slots=True)
class Plane:
    """The ground plane of a document; what it does not say is 0."""

    width: float
    height: float
    pixels_per_meter: float


@dataclass(frozen=True, slots=True)
class Document:
    """A calibration of several cameras."""

    plane: Plane | None
    cameras: dict[str, Calibration]


def camera_of_file(filename: str) -> str:
    """The camera that a file's name implies, such as c09 in ``homography_points_c09_scene_s10.npz``; else empty."""
    found = _CAMERA.search(filename.replace("\\", "/").rpartition("/")[2])
    return found[1] if found else ""


def read_calibration(data: bytes) -> Calibration:
    """Read the calibration of one camera: an ``.npz``, a text of three rows of three numbers, or JSON.

    :raises TooLarge: FILE_TOO_LARGE.
    :raises InvalidArgument: PICKLED, WRONG_KEYS, WRONG_SHAPE, UNKNOWN_FORMAT.
    """
    _check_size(len(data))
    if data.startswith(_PICKLE):
        raise _pickled("the file")
    if data.startswith(_ZIP):
        return _of_mapping(_npz(data))
    if data.startswith(_NPY):
        return Matrix(_shaped("homography", _npy(data, "the file"), (3, 3)))
    text = _text(data)
    if text.lstrip().startswith(("{", "[")):
        found = _json(text)
        if isinstance(found, dict):
            return _of_mapping(found)
        return Matrix(_shaped("homography", found, (3, 3)))
    return _rows(text)


def read_document(data: bytes) -> Document:
    """Read the calibration of several cameras.

    :raises TooLarge: FILE_TOO_LARGE.
    :raises InvalidArgument: PICKLED, WRONG_KEYS, WRONG_SHAPE, UNKNOWN_FORMAT, DUPLICATE_CAMERA.
    """
    _check_size(len(data))
    if data.startswith(_PICKLE):
        raise _pickled("the file")
    text = _text(data)
    found = _json(text) if text.lstrip().startswith("{") else None
    if not isinstance(found, dict):
        raise InvalidArgument("UNKNOWN_FORMAT", "This is no calibration document: a JSON object is expected.")
    if "cameras" not in found:
        raise _wrong_keys("cameras", found)
    listed = found["cameras"]
    if not isinstance(listed, list) or not all(isinstance(camera, dict) for camera in listed):
        raise InvalidArgument("WRONG_SHAPE", "cameras must be a list of objects.", key="cameras")
    cameras: dict[str, Calibration] = {}
    for camera in listed:
        name = camera.get("id")
        if not isinstance(name, str) or not name:
            raise _wrong_keys("id", camera)
        if name in cameras:
            raise InvalidArgument("DUPLICATE_CAMERA", f"The document has {name[:64]} twice.", camera=name[:64])
        cameras[name] = _of_mapping(
            {
                "image_points": camera.get("source_points"),
                "map_points": camera.get("destination_points"),
                "homography": camera.get("homography"),
            }
        )
    return Document(_plane(found.get("ground_plane")), cameras)


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise TooLarge("FILE_TOO_LARGE", f"A calibration takes at most {MOST_BYTES} bytes.", size_bytes=size)


def _of_mapping(found: dict[str, Any]) -> Calibration:
    """Points are preferred to a matrix, because they tell how well they fit."""
    given = {key: value for key, value in found.items() if value is not None}
    if "image_points" in given and "map_points" in given:
        points = Points(*(_shaped(key, given[key], (None, 2)) for key in ("image_points", "map_points")))
        if len(points.image) != len(points.map):
            raise InvalidArgument(
                "POINTS_MISMATCH",
                "Image and map must have the same number of points.",
                image=len(points.image),
                map=len(points.map),
            )
        return points
    if "homography" in given:
        return Matrix(_shaped("homography", given["homography"], (3, 3)))
    raise _wrong_keys("image_points and map_points, or homography", given)


def _npz(data: bytes) -> dict[str, Any]:
    """The arrays of an ``.npz``."""
    try:
        members = _members(data)
    # Python's archive reader tells of damage in as many ways as there are ways to pack.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, OSError, ValueError, struct.error):
        raise InvalidArgument("UNKNOWN_FORMAT", "The .npz is damaged, encrypted or oddly packed.") from None
    return {name: _npy(inside, name) for name, inside in members.items()}


def _members(data: bytes) -> dict[str, bytes]:
    """Sizes in the archive's directory are not believed: reading stops where the limit is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        if len(listed) > _MOST_MEMBERS:
            raise TooLarge("FILE_TOO_LARGE", f"An .npz takes at most {_MOST_MEMBERS} arrays.", arrays=len(listed))
        found: dict[str, bytes] = {}
        left = MOST_BYTES
        for member in listed:
            with archive.open(member) as file:
                inside = file.read(left + 1)
            left -= len(inside)
            if left < 0:
                raise TooLarge("FILE_TOO_LARGE", f"Its arrays take more than {MOST_BYTES} bytes.")
            found[member.filename.removesuffix(".npy")] = inside
        return found


def _npy(data: bytes, name: str) -> Floats:
    """An array of numbers. Its header is held against its length before anything is made of it."""
    file = io.BytesIO(data)
    try:
        read = _HEADERS[np.lib.format.read_magic(file)]
        shape, by_columns, kind = read(file)
        well_formed = len(shape) <= _MOST_AXES and all(
            type(length) is int and 0 <= length <= MOST_BYTES for length in shape
        )
    except _BAD_HEADER:
        well_formed = False
    if not well_formed:
        raise InvalidArgument("UNKNOWN_FORMAT", f"{name[:64]} is no array as NumPy saves it.")
    if kind.hasobject:
        raise _pickled(name)
    if kind.kind not in "fiu":
        raise InvalidArgument("WRONG_SHAPE", f"{name[:64]} holds no numbers.", key=name[:64])
    body = data[file.tell() :]
    if math.prod(shape) * kind.itemsize != len(body):
        raise InvalidArgument("UNKNOWN_FORMAT", f"{name[:64]} is not as long as it says.")
    values = np.frombuffer(body, kind).reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(values, np.float64)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidArgument(
            "UNKNOWN_FORMAT", "This is no calibration: an .npz, a text of three rows, or JSON is expected."
        ) from None


def _json(text: str) -> Any:
    try:
        found = json.loads(text)
        json.dumps(
            found, ensure_ascii=False
        ).encode()  # escapes can stand for half a character, which no answer can hold
    except (ValueError, RecursionError):
        raise InvalidArgument("UNKNOWN_FORMAT", "The file begins as JSON but is none.") from None
    return found


def _rows(text: str) -> Matrix:
    lines = [line.partition("#")[0].replace(",", " ").replace(";", " ").split() for line in text.splitlines()]
    try:
        rows = [[float(word) for word in line] for line in lines if line]
    except ValueError:
        raise InvalidArgument(
            "UNKNOWN_FORMAT", "This is no calibration: an .npz, a text of three rows, or JSON is expected."
        ) from None
    return Matrix(_shaped("homography", rows, (3, 3)))


def _shaped(key: str, value: Any, shape: tuple[int | None, int]) -> Floats:
    try:
        values = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    fits = values.ndim == 2 and all(want in (None, have) for want, have in zip(shape, values.shape, strict=True))
    if not fits or len(values) > MOST_POINTS:
        wanted = "three rows of three numbers" if shape[0] else f"rows of two numbers, {MOST_POINTS} at most"
        raise InvalidArgument("WRONG_SHAPE", f"{key} must be {wanted}.", key=key)
    return values


def _plane(found: Any) -> Plane | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InvalidArgument("WRONG_SHAPE", "ground_plane must be an object.", key="ground_plane")
    values = []
    for key in ("width", "height", "pixels_per_meter"):
        value = found.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
            raise InvalidArgument("WRONG_SHAPE", f"ground_plane.{key} must be a number, 0 or more.", key=key)
        values.append(float(value))
    return Plane(*values)


def _wrong_keys(wanted: str, found: dict[str, Any]) -> InvalidArgument:
    have = ", ".join(sorted(str(key)[:64] for key in found)[:16])
    return InvalidArgument("WRONG_KEYS", f"The calibration needs {wanted}; it has {have or 'nothing'}.", found=have)


def _pickled(name: str) -> InvalidArgument:
    return InvalidArgument(
        "PICKLED", f"{name[:64]} holds a pickled object, which could run anything; save plain numbers instead."
    )
