"""Sites on the mesh: cameras, calibration, and the people whom a site's gallery knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kinemesh_client.detections import Json
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page
from kinemesh_client.transfer import size_of

Call = Callable[..., Awaitable[Any]]
"""Method, path and what httpx takes → the answer's JSON."""

_PATH: Final = "/api/v1/environments"


@dataclass(frozen=True, slots=True)
class Environment:
    """A site.

    :ivar cameras: their ids.
    :ivar calibrated: ids of those with a homography.
    :ivar raw: the whole answer.
    """

    environment_id: str
    name: str
    cameras: Sequence[str]
    calibrated: Sequence[str]
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Environment:
        return cls(
            environment_id=json["environment_id"],
            name=json["display_name"],
            cameras=tuple(row["camera"] for row in json["cameras"]),
            calibrated=tuple(row["camera"] for row in json["cameras"] if row.get("homography")),
            create_time=json["create_time"] or "",
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Homography:
    """How a camera's image lies on the map, and how well it fits.

    :ivar points: number of points that it was made from; 0 for a bare matrix, which has no errors.
    :ivar rms_error_map: in the map's unit, as ``max_error_map``.
    :ivar warnings: what a person should look at, each a sentence.
    :ivar raw: the whole answer.
    """

    camera: str
    points: int
    rms_error_map: float
    max_error_map: float
    rms_error_px: float
    warnings: Sequence[str]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Homography:
        quality = (json["homography"] or {}).get("quality") or {}
        return cls(
            camera=json["camera"],
            points=quality.get("points", 0),
            rms_error_map=quality.get("rms_error_map", 0.0),
            max_error_map=quality.get("max_error_map", 0.0),
            rms_error_px=quality.get("rms_error_px", 0.0),
            warnings=tuple(quality.get("warnings") or ()),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration document gave a site: cameras that have it now, and those that the site does not have."""

    environment: Environment
    calibrated: Sequence[str]
    unknown: Sequence[str]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Calibration:
        environment = Environment.of(json["environment"])
        return cls(environment, tuple(json["calibrated_cameras"]), tuple(json["unknown_cameras"]), json)


@dataclass(frozen=True, slots=True)
class Identity:
    """A person whom a site's gallery knows; times are RFC 3339."""

    global_id: str
    first_seen_time: str
    last_seen_time: str
    cameras: Sequence[str]
    jobs: int
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Identity:
        return cls(
            global_id=json["global_id"],
            first_seen_time=json["first_seen_time"] or "",
            last_seen_time=json["last_seen_time"] or "",
            cameras=tuple(json["cameras"]),
            jobs=json["job_count"],
            raw=json,
        )


class Environments:
    """``client.environments``; fields of sites and homographies are those of the API."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(self, limit: int = 20, page_token: str = "") -> Page[Environment]:
        """A page of your sites, by name."""
        found = await self._call("GET", _PATH, params=page_params(limit, page_token))
        rows = [Environment.of(row) for row in found["environments"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def get(self, environment_id: str) -> Environment:
        """One site."""
        return Environment.of(await self._call("GET", _of(environment_id)))

    async def create(self, environment: Mapping[str, Any]) -> Environment:
        """Check a site and keep it; without ``environment_id`` it gets one."""
        return Environment.of(await self._call("POST", _PATH, json=dict(environment)))

    async def update(self, environment_id: str, changes: Mapping[str, Any]) -> Environment:
        """Change the fields that are given, lists as a whole; None takes a value away."""
        return Environment.of(await self._call("PATCH", _of(environment_id), json=dict(changes)))

    async def delete(self, environment_id: str) -> None:
        """Delete a site and its gallery; refused while a job that is not over uses it. Recordings stay."""
        await self._call("DELETE", _of(environment_id))

    async def set_homography(
        self, environment_id: str, camera: str, source: Mapping[str, Any], *, validate_only: bool = False
    ) -> Homography:
        """Give a camera its homography, made from points or a matrix.

        :param source: a ``HomographySource``, such as ``{"points": {"pairs": [{"image": {…}, "map": {…}}, …]}}``.
        :param validate_only: only checks and reports.
        """
        path = f"{_of(environment_id)}/cameras/{path_id(camera)}/homography"
        return Homography.of(await self._call("PUT", path, json={**source, "validate_only": validate_only}))

    async def upload_homography(
        self,
        environment_id: str,
        camera: str,
        file: Path,
        options: Mapping[str, Any] | None = None,
        *,
        validate_only: bool = False,
    ) -> Homography:
        """Give a camera its homography, from an ``.npz``, a text of three rows, or JSON.

        :param camera: may be empty when the file's name has it, as in ``homography_points_c09_scene_s10.npz``.
        :param options: ``image_axes``, ``map_axes`` (XY or YX), ``map_to_image``, ``image_width``, ``image_height``.
        """
        form = await _form(file, options or {}, validate_only)
        if camera:
            path = f"{_of(environment_id)}/cameras/{path_id(camera)}/homography"
            return Homography.of(await self._call("PUT", path, **form))
        return Homography.of(await self._call("POST", f"{_of(environment_id)}/homographies", **form))

    async def delete_homography(self, environment_id: str, camera: str) -> None:
        """Take a camera's homography away."""
        await self._call("DELETE", f"{_of(environment_id)}/cameras/{path_id(camera)}/homography")

    async def calibrate(
        self,
        environment_id: str,
        document: Path | Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        validate_only: bool = False,
    ) -> Calibration:
        """Calibrate several cameras at once, all or none.

        :param document: ``{"ground_plane": …, "cameras": [{id, source_points, destination_points, homography?}]}``.
        :param options: ``image_axes`` and ``map_axes``.
        """
        form = await _form(document, options or {}, validate_only)
        return Calibration.of(await self._call("POST", f"{_of(environment_id)}/calibration", **form))

    async def identities(self, environment_id: str, limit: int = 20, page_token: str = "") -> Page[Identity]:
        """A page of the persons whom the site's gallery knows, last seen first."""
        path = f"{_of(environment_id)}/identities"
        found = await self._call("GET", path, params=page_params(limit, page_token))
        rows = [Identity.of(row) for row in found["identities"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def forget(self, environment_id: str, global_id: str) -> int:
        """Delete one person's data everywhere; returns the number of jobs whose results change."""
        answered = await self._call("DELETE", f"{_of(environment_id)}/identities/{path_id(global_id)}")
        return int((answered or {}).get("changed_jobs", 0))


async def _form(document: Path | Mapping[str, Any], options: Mapping[str, Any], validate_only: bool) -> dict[str, Any]:
    if isinstance(document, Path):
        size_of(document)
        name, data = document.name, await asyncio.to_thread(document.read_bytes)
    else:
        name, data = "calibration.json", json.dumps(dict(document)).encode()
    fields = {key: json.dumps(value) if isinstance(value, bool) else str(value) for key, value in options.items()}
    if validate_only:
        fields["validate_only"] = "true"
    return {"files": {"file": (name, data, "application/octet-stream")}, "data": fields}


def _of(environment_id: str) -> str:
    return f"{_PATH}/{path_id(environment_id)}"
