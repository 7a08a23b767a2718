"""A site described in a file: cameras with local recordings, calibration inside it or in files beside it.

The fields are those of the API's environments, as ``kinemesh environments show --json`` prints them, and these besides:

- a camera's ``videos`` instead of ``sub_videos``: paths, or ``{"file", "start_sec"}``, in order of time;
- a camera's ``homography`` as ``image_points`` with ``map_points``, as a ``matrix``, or as a ``file``;
- ``calibration``: a document for several cameras, inside or as a file;
- ``image`` of the ``ground_plane``: a picture's path;
- points as ``[x, y]``.

Paths are relative to the file's folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kinemesh.errors import InvalidArgument
from kinemesh_client.site_homography import HomographyFile, homography_of, homography_of_points, reading
from kinemesh_client.site_values import (
    invalid,
    known,
    local_file,
    number,
    objects,
    polygon,
    text,
)

_LARGEST: Final = 16 * 1024 * 1024
_SITE: Final = frozenset(
    (
        "environment_id",
        "display_name",
        "description",
        "cameras",
        "zones",
        "passages",
        "ground_plane",
        "clock_start_time",
        "gallery",
        "calibration",
    )
)
_SERVERS_OWN: Final = frozenset(("owner", "create_time", "update_time"))
_CAMERA: Final = frozenset(("camera", "display_name", "videos", "sub_videos", "homography", "distortion"))


@dataclass(frozen=True, slots=True)
class Recording:
    """A local video of a camera; ``start_sec`` on the site's clock, None where the one before ends."""

    path: Path
    start_sec: float | None


@dataclass(frozen=True, slots=True)
class CalibrationSource:
    """A document for several cameras: a file, or what the site's file holds; ``options`` are its axes."""

    document: Path | Mapping[str, Any]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SiteFile:
    """What a file says of a site.

    :ivar environment: fields of the API, without recordings and what lies in files.
    :ivar videos: of each camera that has some, in order of time.
    :ivar homographies: those in files, by camera.
    :ivar picture: of the ground plane.
    """

    environment: Mapping[str, Any]
    videos: Mapping[str, Sequence[Recording]]
    homographies: Mapping[str, HomographyFile]
    calibration: CalibrationSource | None
    picture: Path | None


def read_site(path: Path) -> SiteFile:
    """Read a site's file. What the mesh knows better (names, geometry, times) is left for it to check.

    :raises InvalidArgument: ``FILE_NOT_FOUND``, ``NOT_JSON``, ``FIELD_UNKNOWN``, ``FIELD_INVALID``; ``field`` in the
        metadata says which, as in ``cameras[1].videos[0].file``.
    """
    values = {key: value for key, value in _json(path, "").items() if key not in _SERVERS_OWN}
    known(values, _SITE, "")
    folder = path.parent
    rows = objects(values.get("cameras"), "cameras")
    names = [text(row.get("camera"), f"cameras[{index}].camera") for index, row in enumerate(rows)]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(f"cameras[{index}].camera", f"is {name}, as that of another camera")
    cameras, videos, homographies = [], {}, {}
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        where = f"cameras[{index}]"
        known(row, _CAMERA, where)
        camera = {key: value for key, value in row.items() if key not in ("videos", "homography")}
        if row.get("videos") and row.get("sub_videos"):
            raise invalid(f"{where}.videos", "and sub_videos are two ways to say one thing")
        if row.get("videos"):
            videos[name] = _recordings(row["videos"], folder, f"{where}.videos")
        if row.get("homography") is not None:
            found = homography_of(row["homography"], folder, f"{where}.homography")
            if isinstance(found, HomographyFile):
                homographies[name] = found
            else:
                camera["homography"] = {"source": found}
        cameras.append(camera)
    calibration, picture = None, None
    if values.get("calibration") is not None:
        calibration = _calibration(values["calibration"], folder, cameras)
    environment = {key: value for key, value in values.items() if key != "calibration"}
    if "cameras" in values:
        environment["cameras"] = cameras
    if values.get("zones") is not None:
        environment["zones"] = [_zone(row, f"zones[{i}]") for i, row in enumerate(objects(values["zones"], "zones"))]
    if isinstance(plane := values.get("ground_plane"), dict) and "image" in plane:
        picture = local_file(plane["image"], folder, "ground_plane.image")
        environment["ground_plane"] = {key: value for key, value in plane.items() if key != "image"}
    return SiteFile(environment, videos, homographies, calibration, picture)


def _recordings(value: Any, folder: Path, where: str) -> list[Recording]:
    if not isinstance(value, list):
        value = [value]
    found = []
    for index, row in enumerate(value):
        here = f"{where}[{index}]"
        if isinstance(row, str):
            found.append(Recording(local_file(row, folder, here), None))
        elif isinstance(row, dict):
            known(row, frozenset(("file", "start_sec")), here)
            start = row.get("start_sec")
            path = local_file(row.get("file"), folder, f"{here}.file")
            found.append(Recording(path, None if start is None else number(start, f"{here}.start_sec")))
        else:
            raise invalid(here, 'must be a path or {"file": …, "start_sec": …}')
    return found


def _zone(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    known(row, frozenset(("zone", "map", "image", "color")), where)
    if (row.get("map") is None) == (row.get("image") is None):
        raise invalid(where, "needs either map or image")
    zone = {key: value for key, value in row.items() if key in ("zone", "color")}
    if row.get("map") is not None:
        area = row["map"]
        return zone | {"map": {"corners": polygon(area["corners"] if _has_corners(area) else area, f"{where}.map")}}
    area = row["image"]
    if not isinstance(area, dict) or not _has_corners(area):
        raise invalid(f"{where}.image", 'must be {"camera": …, "corners": […]}')
    known(area, frozenset(("camera", "corners")), f"{where}.image")
    corners = polygon(area["corners"], f"{where}.image.corners")
    return zone | {"image": {"camera": text(area.get("camera"), f"{where}.image.camera"), "corners": corners}}


def _has_corners(value: Any) -> bool:
    return isinstance(value, dict) and "corners" in value


def _calibration(value: Any, folder: Path, cameras: Sequence[dict[str, Any]]) -> CalibrationSource | None:
    """A document for the mesh; one with ``sensors`` goes into ``cameras`` here, and nothing is left."""
    where, options = "calibration", {}
    if isinstance(value, str):
        value = {"file": value}
    if not isinstance(value, dict):
        raise invalid(where, "must be a path or an object")
    if "file" not in value:
        document: Path | Mapping[str, Any] = value
        content = value
    else:
        known(value, frozenset(("file", "image_axes", "map_axes")), where)
        document = local_file(value["file"], folder, f"{where}.file")
        content = _json(document, f"{where}.file")
        options = reading(value, where)
    if "sensors" not in content:
        return CalibrationSource(document, options)
    if not isinstance(content["sensors"], dict):
        raise invalid(f"{where}.sensors", "must be an object with a sensor under each name")
    by_name = {camera["camera"]: camera for camera in cameras}
    for name, sensor in content["sensors"].items():
        if name in by_name and "homography" not in by_name[name]:
            by_name[name]["homography"] = {"source": homography_of_points(sensor, f"{where}.sensors.{name}")}
    return None


def _json(path: Path, where: str) -> dict[str, Any]:
    named = {"field": where} if where else {"path": str(path)}
    if not path.is_file():
        raise InvalidArgument("FILE_NOT_FOUND", f"There is no file {path}.", **named)
    if path.stat().st_size > _LARGEST:
        raise InvalidArgument("FILE_TOO_LARGE", f"{path} is no description: it is larger than 16 MiB.", **named)
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("NOT_JSON", f"{path} is not JSON: {error}.", **named) from None
    if not isinstance(values, dict):
        raise InvalidArgument("NOT_JSON", f"{path} must hold a JSON object.", **named)
    return values
