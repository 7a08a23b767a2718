"""A described site on its way to the mesh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.markup import escape
from rich.progress import Progress

from kinemesh.errors import AlreadyExists, NotFound
from kinemesh_client.cli.output import err
from kinemesh_client.cli.processing import clear, upload
from kinemesh_client.client import KinemeshClient
from kinemesh_client.environments import Environment, Homography
from kinemesh_client.site_file import SiteFile


@asynccontextmanager
async def brought(
    client: KinemeshClient, site: SiteFile, progress: Progress, *, name: str = "", only_new: bool = False
) -> AsyncIterator[Environment]:
    """The site on the mesh within this block: described, calibrated, and only then with its videos uploaded.

    If the block or the way to it fails, the clips go, and so does the site if it is new.

    :param name: of a site that must be there; that of the file, which may be new, if empty.
    :param only_new: refuses to change a site that is there.
    """
    uploaded: list[str] = []
    before = await _existing(client, site, name, only_new)
    environment_id, changes = "", dict[str, Any]()
    try:
        described = dict(site.environment)
        if "cameras" in described:
            described["cameras"] = _cameras(described["cameras"], before)
        if site.picture is not None:
            uploaded.append(await upload(client, site.picture, "IMAGE", progress))
            described["ground_plane"] = {**described["ground_plane"], "image_asset_id": uploaded[-1]}
        if before is None:
            environment_id = (await client.environments.create(described)).environment_id
        else:
            changes |= {key: value for key, value in described.items() if key != "environment_id"}
            environment_id = (await client.environments.update(before.environment_id, changes)).environment_id
        await _calibrate(client, environment_id, site)
        if site.videos:
            recordings: dict[str, list[dict[str, Any]]] = {}
            for camera, videos in site.videos.items():
                recordings[camera] = rows = []
                for video in videos:
                    asset_id = await upload(client, video.path, "VIDEO", progress)
                    uploaded.append(asset_id)
                    start = {} if video.start_sec is None else {"start_sec": video.start_sec}
                    rows.append({"asset_id": asset_id, **start})
            current = await client.environments.get(environment_id)
            await client.environments.update(environment_id, {"cameras": _with(current, recordings)})
        yield await client.environments.get(environment_id)
    except BaseException:
        if before is None and environment_id:
            await clear(client.environments.delete(environment_id), f"the environment {environment_id}")
        elif before is not None and changes:
            # Else it would name clips that go.
            await clear(_put_back(client, before, changes), f"the changes of {before.environment_id}")
        for asset_id in uploaded:
            await clear(client.delete_asset(asset_id), f"the asset {asset_id}")
        raise


async def _existing(client: KinemeshClient, site: SiteFile, name: str, only_new: bool) -> Environment | None:
    environment_id = name or site.environment.get("environment_id")
    if not environment_id:
        return None
    try:
        found = await client.environments.get(str(environment_id))
    except NotFound:
        if name:
            raise
        return None
    if only_new:
        raise AlreadyExists(
            "ENVIRONMENT_EXISTS",
            f"There is an environment {environment_id}: `kinemesh environments update` changes it.",
            environment_id=environment_id,
        )
    return found


def _cameras(cameras: Sequence[Mapping[str, Any]], before: Environment | None) -> list[dict[str, Any]]:
    """The file's cameras; what it does not say of one that is there stays."""
    there = {} if before is None else {row["camera"]: settable(row) for row in before.raw["cameras"]}
    return [{**there.get(row["camera"], {}), **row} for row in cameras]


def _with(environment: Environment, recordings: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [settable(row) for row in environment.raw["cameras"]]
    return [{**row, "sub_videos": recordings.get(row["camera"], row["sub_videos"])} for row in rows]


def settable(camera: Mapping[str, Any]) -> dict[str, Any]:
    """A camera as the mesh answers with it, without what the mesh has worked out and what is not set."""
    found = {key: value for key, value in camera.items() if value is not None}
    if "homography" in found:
        found["homography"] = {"source": found["homography"]["source"]}
    return found


async def _put_back(client: KinemeshClient, before: Environment, names: Collection[str]) -> None:
    values = {name: before.raw.get(name) for name in names}
    if "cameras" in values:
        values["cameras"] = [settable(row) for row in before.raw["cameras"]]
    await client.environments.update(before.environment_id, values)


async def _calibrate(client: KinemeshClient, environment_id: str, site: SiteFile) -> None:
    if site.calibration is not None:
        found = await client.environments.calibrate(environment_id, site.calibration.document, site.calibration.options)
        if found.unknown:
            err.print(f"[yellow]The calibration has cameras that are not here:[/] {escape(', '.join(found.unknown))}")
    for camera, file in site.homographies.items():
        warn(await client.environments.upload_homography(environment_id, camera, file.path, file.options))


def warn(homography: Homography) -> None:
    """Print what a person should look at."""
    for sentence in homography.warnings:
        err.print(f"[yellow]{escape(homography.camera)}:[/] {escape(sentence)}")
