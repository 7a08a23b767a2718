"""Reference images kept for real: those that come with the product, and a user's own."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import delete as delete_rows
from sqlalchemy.ext.asyncio import create_async_engine

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.media.picture import decode_picture
from kinemesh.route.v1 import reference_pb2, route_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue.tables import reference_images
from kinemesh_ingest.climbing.built_in import asset_of, ensure_built_in
from kinemesh_ingest.domain.walls import WALLS, paint_wall

BUILT_IN = reference_pb2.REFERENCE_SOURCE_BUILT_IN
UPLOADED = reference_pb2.REFERENCE_SOURCE_UPLOADED


async def bring(ingest: Any, asset_id: str, owner: str = "ada", **more: Any) -> reference_pb2.ReferenceImage:
    request = reference_pb2.CreateReferenceImageRequest(asset_id=asset_id, **more)
    answer: reference_pb2.ReferenceImage = (
        await call(ingest.routes.CreateReferenceImage, request, owner=owner)
    ).reference_image
    return answer


async def get(ingest: Any, reference_id: str, owner: str = "ada") -> reference_pb2.ReferenceImage:
    request = reference_pb2.GetReferenceImageRequest(reference_id=reference_id)
    answer: reference_pb2.ReferenceImage = (
        await call(ingest.routes.GetReferenceImage, request, owner=owner)
    ).reference_image
    return answer


async def delete(ingest: Any, reference_id: str, owner: str = "ada", **more: Any) -> None:
    request = reference_pb2.DeleteReferenceImageRequest(reference_id=reference_id, **more)
    await call(ingest.routes.DeleteReferenceImage, request, owner=owner)


async def listed(ingest: Any, owner: str = "ada", **more: Any) -> list[str]:
    request = reference_pb2.ListReferenceImagesRequest(page_size=100, **more)
    answer = await call(ingest.routes.ListReferenceImages, request, owner=owner)
    return [one.display_name for one in answer.reference_images]


async def test_walls_come_with_the_product(ingest: Any, s3_store: ObjectStore) -> None:
    wall = await get(ingest, "wall-overhang", "anybody")
    assert (wall.owner, wall.source, wall.width, wall.height) == ("", BUILT_IN, 1080, 1440)
    request = reference_pb2.CreateReferenceImageDownloadRequest(reference_id=wall.reference_id)
    answer = await call(ingest.routes.CreateReferenceImageDownload, request, owner="anybody")
    assert (answer.object_key, answer.download.content_type) == (keys.asset_source(wall.asset_id), "image/jpeg")
    async with httpx.AsyncClient(timeout=30) as http:
        data = (await http.get(answer.download.url)).raise_for_status().content
    assert len(data) == answer.download.size_bytes
    painted = paint_wall(next(one for one in WALLS if one.wall == wall.reference_id))
    shown = decode_picture(data, 10**7)
    assert float(np.abs(shown.astype(float) - painted).mean()) < 6
    with pytest.raises(errors.PermissionDenied) as refused:
        await delete(ingest, wall.reference_id)
    assert refused.value.reason == "REFERENCE_BUILT_IN"
    # Its asset is nobody's.
    with pytest.raises(errors.NotFound):
        await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=wall.asset_id), owner="ada")


async def test_what_is_missing_of_them_is_written_again(ingest: Any, postgres_url: str, s3_store: ObjectStore) -> None:
    key = keys.asset_source(asset_of(WALLS[0]))
    before = await s3_store.get_bytes(key)
    await s3_store.delete([key])
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        gone = reference_images.c.reference_id == WALLS[1].wall
        await connection.execute(delete_rows(reference_images).where(gone))
    await asyncio.gather(*(ensure_built_in(engine, s3_store) for _ in range(3)))
    await engine.dispose()
    assert await s3_store.get_bytes(key) == before
    assert (await get(ingest, WALLS[1].wall)).asset_id == asset_of(WALLS[1])


async def test_a_picture_becomes_a_reference_image_of_a_route(ingest: Any, picture: bytes) -> None:
    asset_id = (await ingest.upload(picture, kind="IMAGE")).asset_id
    route = await ingest.route((await ingest.area("Pictured")).area_id, "Pictured")
    for _ in range(2):
        image = await bring(ingest, asset_id, route_id=route.route_id, request_id="new")
    assert (image.display_name, image.width, image.height, image.source) == ("clip.mp4", 160, 90, UPLOADED)
    assert await get(ingest, image.reference_id) == image
    found = await call(ingest.routes.GetRoute, route_pb2.GetRouteRequest(route_id=route.route_id), owner="ada")
    assert found.route.reference_id == image.reference_id
    request = reference_pb2.CreateReferenceImageDownloadRequest(reference_id=image.reference_id)
    answer = await call(ingest.routes.CreateReferenceImageDownload, request, owner="ada")
    assert answer.download.content_type == "image/png"
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset_id), owner="ada")
    assert (refused.value.reason, refused.value.metadata["reference_id"]) == ("ASSET_IN_USE", image.reference_id)
    with pytest.raises(errors.FailedPrecondition) as used:
        await delete(ingest, image.reference_id)
    assert (used.value.reason, used.value.metadata["route_id"]) == ("REFERENCE_IN_USE", route.route_id)
    await call(ingest.routes.DeleteRoute, route_pb2.DeleteRouteRequest(route_id=route.route_id), owner="ada")
    assert (await get(ingest, image.reference_id)).route_id == ""
    for _ in range(2):
        await delete(ingest, image.reference_id, request_id="bye")
    with pytest.raises(errors.NotFound):
        await get(ingest, image.reference_id)
    with pytest.raises(errors.NotFound):
        await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset_id), owner="ada")


async def test_a_reference_image_stays_while_a_job_draws_on_it(ingest: Any, clip: bytes, picture: bytes) -> None:
    image = await bring(ingest, (await ingest.upload(picture, kind="IMAGE")).asset_id)
    source = job_pb2.JobInput(asset_id=(await ingest.upload(clip)).asset_id)
    job = await ingest.match(inputs=[source], image_asset_id=image.asset_id)
    assert job.parameters.route_match.reference == image.reference_id
    with pytest.raises(errors.FailedPrecondition) as used:
        await delete(ingest, image.reference_id)
    assert (used.value.reason, used.value.metadata["job_id"]) == ("REFERENCE_IN_USE", job.job_id)
    await call(ingest.jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job.job_id), owner="ada")
    await delete(ingest, image.reference_id)
    assert (await ingest.get_job(job.job_id)).state == job_pb2.JOB_STATE_CANCELLED


async def test_what_is_no_reference_image_is_refused(ingest: Any, clip: bytes, picture: bytes) -> None:
    asset_id = (await ingest.upload(picture, kind="IMAGE")).asset_id
    video = (await ingest.upload(clip)).asset_id
    image = await bring(ingest, asset_id)
    for refused, reason in (
        (bring(ingest, "nope"), "ASSET_NOT_FOUND"),
        (bring(ingest, asset_id, "eve"), "ASSET_NOT_FOUND"),
        (bring(ingest, video), "WRONG_ASSET_KIND"),
        (bring(ingest, asset_id, route_id="nope"), "ROUTE_NOT_FOUND"),
        (bring(ingest, asset_id, display_name="a\nb"), "INVALID_TEXT"),
        (get(ingest, image.reference_id, "eve"), "REFERENCE_NOT_FOUND"),
        (delete(ingest, image.reference_id, "eve"), "REFERENCE_NOT_FOUND"),
        (listed(ingest, source=9), "UNKNOWN_VALUE"),
        (listed(ingest, route_id="nope"), "ROUTE_NOT_FOUND"),
    ):
        with pytest.raises(errors.KinemeshError) as why:
            await refused
        assert why.value.reason == reason


async def test_they_are_listed_built_in_ones_first(ingest: Any, picture: bytes) -> None:
    route = await ingest.route((await ingest.area("R", owner="noa")).area_id, "R", owner="noa")
    for name in ("b", "A"):
        asset_id = (await ingest.upload(picture, owner="noa", kind="IMAGE")).asset_id
        more = {"route_id": route.route_id} if name == "b" else {}
        await bring(ingest, asset_id, "noa", display_name=name, **more)
    walls = sorted(one.display_name for one in WALLS)
    assert await listed(ingest, "noa") in ([*walls, "A", "b"], [*walls, "b", "A"])
    assert await listed(ingest, "noa", source=BUILT_IN) == walls
    assert sorted(await listed(ingest, "noa", source=UPLOADED)) == ["A", "b"]
    assert await listed(ingest, "noa", route_id=route.route_id) == ["b"]
    request = reference_pb2.ListReferenceImagesRequest(page_size=2)
    page = await call(ingest.routes.ListReferenceImages, request, owner="noa")
    assert page.total_size == 5
    assert (await listed(ingest, "noa", page_token=page.next_page_token))[0] == walls[2]
