"""Uploads that break off and go on, and bytes that are not what was announced."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.multipart import Part
from kinemesh.storage.store import ObjectStore
from kinemesh.testing.waiting import until
from kinemesh_ingest.upload_parts import Cut, arrived, chosen, part_size

MIB = 1024 * 1024


async def announce(ingest: Any, data: bytes, **more: Any) -> asset_pb2.CreateUploadResponse:
    request = asset_pb2.CreateUploadRequest(filename="clip.mp4", size_bytes=len(data), **more)
    created: asset_pb2.CreateUploadResponse = await call(ingest.assets.CreateUpload, request, owner="ada")
    return created


async def state(ingest: Any, asset_id: str) -> asset_pb2.GetUploadResponse:
    request = asset_pb2.GetUploadRequest(asset_id=asset_id)
    found: asset_pb2.GetUploadResponse = await call(ingest.assets.GetUpload, request, owner="ada")
    return found


async def confirm(ingest: Any, asset_id: str, *parts: tuple[int, str]) -> asset_pb2.Asset:
    done = [asset_pb2.CompletedPart(part_number=number, etag=etag) for number, etag in parts]
    request = asset_pb2.ConfirmUploadRequest(asset_id=asset_id, parts=done)
    asset: asset_pb2.Asset = (await call(ingest.assets.ConfirmUpload, request, owner="ada")).asset
    return asset


async def put(url: str, data: bytes) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as http:
        return await http.put(url, content=data)


async def put_parts(created: asset_pb2.CreateUploadResponse, data: bytes, *numbers: int) -> None:
    urls = {part.part_number: part.url for part in created.parts}
    for number in numbers:
        start = (number - 1) * created.part_size
        answer = await put(urls[number], data[start : start + created.part_size])
        assert answer.status_code == 200


async def leaves_nothing(store: ObjectStore, asset_id: str) -> None:
    prefix = keys.asset_prefix(asset_id)

    async def is_empty() -> bool:
        return not await store.list_objects(prefix) and not await store.multipart.list_uploads(prefix)

    await until(is_empty)


async def test_an_upload_goes_on_where_it_broke_off(ingest: Any, clip: bytes) -> None:
    data = clip + bytes(130 * MIB - len(clip))
    created = await announce(ingest, data, sha256=hashlib.sha256(data).hexdigest().upper())
    assert [part.part_number for part in created.parts] == [1, 2, 3]
    await put_parts(created, data, 2)
    early = await put(created.parts[0].url, b"too short, as when a client lies about its length")
    assert early.status_code == 200
    asset_id = created.asset.asset_id

    found = await state(ingest, asset_id)
    assert [(part.part_number, part.size_bytes) for part in found.uploaded] == [(2, 64 * MIB)]
    assert found.uploaded_bytes == 64 * MIB
    assert [part.part_number for part in found.upload.parts] == [1, 3]
    assert found.expire_time.seconds - found.asset.create_time.seconds == 24 * 3600
    with pytest.raises(errors.InvalidArgument, match="another size"):
        chosen([Part(1, "a", 3), Part(2, "b", 4)], {}, Cut(8, 4))

    await put_parts(found.upload, data, 1, 3)
    found = await state(ingest, asset_id)
    assert (found.uploaded_bytes, len(found.upload.parts)) == (len(data), 0)
    etags = [(part.part_number, part.etag) for part in found.uploaded]
    with pytest.raises(errors.FailedPrecondition) as wrong:
        await confirm(ingest, asset_id, *etags[:2])
    assert wrong.value.reason == "PARTS_MISMATCH"
    both = await asyncio.gather(confirm(ingest, asset_id, *etags), confirm(ingest, asset_id))
    assert [asset.state for asset in both] == [asset_pb2.ASSET_STATE_READY] * 2
    found = await state(ingest, asset_id)
    assert (found.uploaded_bytes, found.checked_bytes) == (len(data), len(data))
    assert not found.HasField("upload")
    assert found.asset.sha256 == hashlib.sha256(data).hexdigest()


async def test_what_was_looked_at_cannot_be_changed(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    created = await announce(ingest, clip)
    assert (await put(created.upload_url, clip)).status_code == 200
    again = await state(ingest, created.asset.asset_id)
    assert (again.uploaded_bytes, again.upload.upload_url) == (len(clip), "")
    await confirm(ingest, created.asset.asset_id)
    late = await put(created.upload_url, b"something else altogether")
    assert late.status_code >= 400
    assert await s3_store.get_bytes(keys.asset_source(created.asset.asset_id)) == clip


async def test_a_lost_upload_begins_anew(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    created = await announce(ingest, clip)
    prefix = keys.asset_prefix(created.asset.asset_id)
    await s3_store.delete_prefix(prefix)
    found = await state(ingest, created.asset.asset_id)
    assert (await put(created.upload_url, clip)).status_code == 404
    assert (await put(found.upload.upload_url, clip)).status_code == 200
    assert (await confirm(ingest, created.asset.asset_id)).state == asset_pb2.ASSET_STATE_READY


async def test_a_check_that_broke_off_is_taken_up_again(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    created = await announce(ingest, clip)
    await put(created.upload_url, clip)
    key = keys.asset_source(created.asset.asset_id)
    ((_, upload_id),) = [(one.key, one.upload_id) for one in await s3_store.multipart.list_uploads(key)]
    await s3_store.multipart.complete(key, upload_id, await s3_store.multipart.list_parts(key, upload_id))
    found = await state(ingest, created.asset.asset_id)
    assert (found.uploaded_bytes, found.upload.upload_url) == (len(clip), "")
    assert (await confirm(ingest, created.asset.asset_id)).state == asset_pb2.ASSET_STATE_READY


async def test_other_bytes_than_announced_are_refused_and_removed(
    ingest: Any, clip: bytes, s3_store: ObjectStore
) -> None:
    created = await announce(ingest, clip, sha256=hashlib.sha256(b"other").hexdigest())
    await put(created.upload_url, clip)
    with pytest.raises(errors.InvalidArgument) as refused:
        await confirm(ingest, created.asset.asset_id)
    assert refused.value.reason == "CHECKSUM_MISMATCH"
    assert refused.value.metadata["uploaded"] == hashlib.sha256(clip).hexdigest()
    with pytest.raises(errors.FailedPrecondition) as refused_again:
        await confirm(ingest, created.asset.asset_id)
    assert refused_again.value.reason == "ASSET_REJECTED"
    await leaves_nothing(s3_store, created.asset.asset_id)
    found = await state(ingest, created.asset.asset_id)
    assert (found.asset.failure.reason, found.uploaded_bytes) == ("CHECKSUM_MISMATCH", 0)


async def test_a_checksum_that_is_none_is_refused(ingest: Any, clip: bytes) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await announce(ingest, clip, sha256="abc")
    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_CHECKSUM", "sha256")


async def test_an_upload_that_is_given_up_frees_its_parts(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    created = await announce(ingest, clip)
    await put(created.upload_url, clip)
    request = asset_pb2.DeleteAssetRequest(asset_id=created.asset.asset_id)
    await call(ingest.assets.DeleteAsset, request, owner="ada")
    await leaves_nothing(s3_store, created.asset.asset_id)
    assert (await put(created.upload_url, clip)).status_code == 404
    with pytest.raises(errors.NotFound):
        await state(ingest, created.asset.asset_id)


async def test_a_streamed_upload_tells_its_size_at_the_end(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    request = asset_pb2.CreateUploadRequest(filename="clip.mp4", streamed=True)
    created = await call(ingest.assets.CreateUpload, request, owner="ada")
    assert (created.upload_url, len(created.parts), created.most_bytes) == ("", 0, 5120 * MIB)
    key = keys.asset_source(created.asset.asset_id)
    part = await s3_store.multipart.upload_part(key, created.upload_id, 1, clip)
    done = asset_pb2.ConfirmUploadRequest(asset_id=created.asset.asset_id, size_bytes=len(clip))
    done.parts.add(part_number=1, etag=part.etag)
    asset = (await call(ingest.assets.ConfirmUpload, done, owner="ada")).asset
    assert (asset.state, asset.size_bytes) == (asset_pb2.ASSET_STATE_READY, len(clip))


async def test_uploads_are_listed_by_state(ingest: Any, clip: bytes) -> None:
    for _ in range(2):
        request = asset_pb2.CreateUploadRequest(filename="clip.mp4", size_bytes=len(clip))
        created = await call(ingest.assets.CreateUpload, request, owner="lister")
    async with httpx.AsyncClient() as http:
        await http.put(created.upload_url, content=clip)
    confirmed = asset_pb2.ConfirmUploadRequest(asset_id=created.asset.asset_id)
    await call(ingest.assets.ConfirmUpload, confirmed, owner="lister")
    listed = asset_pb2.ListAssetsRequest(states=[asset_pb2.ASSET_STATE_PENDING])
    page = await call(ingest.assets.ListAssets, listed, owner="lister")
    assert page.total_size == 1
    assert page.assets[0].asset_id != created.asset.asset_id


def test_parts_grow_with_the_file() -> None:
    assert part_size(1, 64) == 64 * MIB
    assert part_size(10_000 * 64 * MIB + 1, 64) == 65 * MIB


def test_of_a_part_that_came_twice_the_whole_one_counts() -> None:
    cut = Cut(10, 4)
    found = [Part(1, "a", 4), Part(1, "short", 3), Part(2, "b", 4), Part(3, "c", 2), Part(4, "beyond", 1)]
    assert [part.etag for part in arrived(found, cut)] == ["a", "b", "c"]
    assert [part.etag for part in chosen(found[:4], {}, cut)] == ["a", "b", "c"]
    with pytest.raises(errors.InvalidArgument) as refused:
        chosen(found[:4], {1: "short", 2: "b", 3: "c"}, cut)
    assert refused.value.metadata == {"announced": "10", "uploaded": "9", "part_number": "1"}
