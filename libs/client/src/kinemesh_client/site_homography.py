"""A camera's homography as people write it → ``HomographySource`` of the API, or a file to upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kinemesh_client.site_values import invalid, known, local_file, number, polygon

_AXES: Final = frozenset(("image_axes", "map_axes"))
_SIZE: Final = frozenset(("image_width", "image_height"))
_READING: Final = _AXES | _SIZE | {"map_to_image"}


@dataclass(frozen=True, slots=True)
class HomographyFile:
    """A file with points or a matrix, and how its coordinates are to be read."""

    path: Path
    options: Mapping[str, Any]


def homography_of(value: Any, folder: Path, where: str) -> HomographyFile | dict[str, Any]:
    """A homography from a path or an object.

    :raises InvalidArgument: naming the field.
    """
    if isinstance(value, str):
        return HomographyFile(local_file(value, folder, where), {})
    if not isinstance(value, dict):
        raise invalid(where, "must be a path or an object")
    if isinstance(value.get("source"), dict):
        return dict(value["source"])  # as the mesh answers with it
    if isinstance(value.get("points"), dict):
        return dict(value)
    if "file" in value:
        known(value, _READING | {"file"}, where)
        return HomographyFile(local_file(value["file"], folder, f"{where}.file"), reading(value, where))
    if "matrix" in value:
        known(value, _READING | {"matrix"}, where)
        return {"matrix": {"values": _matrix(value["matrix"], f"{where}.matrix")}, **reading(value, where)}
    if "image_points" in value or "camera points" in value:
        return homography_of_points(value, where)
    raise invalid(where, "needs image_points and map_points, a matrix, or a file")


def homography_of_points(value: Any, where: str) -> dict[str, Any]:
    """A source from ``image_points`` and ``map_points``, or from a sensor with ``camera points`` and ``map points``."""
    if not isinstance(value, dict):
        raise invalid(where, "must be an object")
    image_name, map_name = (
        ("camera points", "map points") if "camera points" in value else ("image_points", "map_points")
    )
    if image_name == "image_points":
        known(value, _AXES | _SIZE | {image_name, map_name}, where)
    else:
        value = {**value, "image_width": value.get("width", 0), "image_height": value.get("height", 0)}
    image = polygon(value.get(image_name), f"{where}.{image_name}")
    target = polygon(value.get(map_name), f"{where}.{map_name}")
    if len(image) != len(target):
        raise invalid(f"{where}.{map_name}", f"has {len(target)} points, and {image_name} {len(image)}")
    said = reading(value, where)
    # The mesh takes pairs by name, so that their order is settled here.
    if said.pop("image_axes", "XY") == "YX":
        image = [{"x": at["y"], "y": at["x"]} for at in image]
    if said.pop("map_axes", "XY") == "YX":
        target = [{"x": at["y"], "y": at["x"]} for at in target]
    pairs = [{"image": one, "map": other} for one, other in zip(image, target, strict=True)]
    return {"points": {"pairs": pairs}, **said}


def reading(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """How coordinates are to be read; what is not said is left out."""
    found: dict[str, Any] = {}
    for name in sorted(_AXES & value.keys()):
        axes = value[name]
        if not isinstance(axes, str) or axes.upper() not in ("XY", "YX"):
            raise invalid(f"{where}.{name}", "must be XY or YX")
        found[name] = axes.upper()
    for name in sorted(_SIZE & value.keys()):
        found[name] = int(number(value[name], f"{where}.{name}"))
    if "map_to_image" in value:
        if not isinstance(value["map_to_image"], bool):
            raise invalid(f"{where}.map_to_image", "must be true or false")
        found["map_to_image"] = value["map_to_image"]
    return found


def _matrix(value: Any, where: str) -> list[float]:
    if isinstance(value, dict):
        value = value.get("values")
    rows = value if isinstance(value, list) else []
    if len(rows) == 3 and all(isinstance(row, list) for row in rows):
        rows = [cell for row in rows for cell in row]
    if len(rows) != 9:
        raise invalid(where, "must be three rows of three numbers")
    return [number(cell, f"{where}[{index // 3}][{index % 3}]") for index, cell in enumerate(rows)]
