from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.media.picture import encode_picture
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.testing.waiting import until


async def test_an_uploaded_clip_is_checked_and_ready(ingest: Any, clip: bytes) -> None:
    asset = await ingest.upload(clip)
    assert asset.state == asset_pb2.ASSET_STATE_READY
    assert (asset.video.width, asset.video.height, asset.video.codec) == (192, 108, "h264")
    again = await call(
        ingest.assets.ConfirmUpload, asset_pb2.ConfirmUploadRequest(asset_id=asset.asset_id), owner="ada"
    )
    assert again.asset == asset


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is a text, not a video\n" * 40, "NOT_A_VIDEO"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/hostname\n", "NOT_A_VIDEO"),
    ],
)
async def test_what_is_no_video_is_refused_and_not_kept(
    ingest: Any, s3_store: ObjectStore, content: bytes, reason: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await ingest.upload(content)
    assert refused.value.reason in (reason, "UNSUPPORTED_CONTAINER")
    listed = await call(ingest.assets.ListAssets, asset_pb2.ListAssetsRequest(page_size=1), owner="ada")
    assert listed.assets[0].state == asset_pb2.ASSET_STATE_REJECTED
    assert listed.assets[0].failure.reason == refused.value.reason
    await gone(s3_store, keys.asset_prefix(listed.assets[0].asset_id))


async def test_a_picture_and_weights_are_checked_as_what_they_are(ingest: Any) -> None:
    picture = encode_picture(np.full((20, 30, 3), 200, np.uint8), ".png", 90)
    kinds = {"IMAGE": (picture,), "WEIGHTS": (b"PK\x03\x04rest", b"\x80\x02rest", b"\x08\x09\x12rest")}
    for kind, contents in kinds.items():
        for content in contents:
            asset = await ingest.upload(content, kind=kind)
            assert asset.state == asset_pb2.ASSET_STATE_READY
            assert asset.kind == asset_pb2.AssetKind.Value(f"ASSET_KIND_{kind}")
            assert not asset.HasField("video")


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("IMAGE", b"PK\x03\x04rest", "NOT_A_PICTURE"),
        ("IMAGE", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10" * 2, "CORRUPT_PICTURE"),
        ("IMAGE", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\1\0\0" * 2, "TOO_MANY_PIXELS"),
        ("WEIGHTS", b"\x89PNG\r\n\x1a\n", "UNKNOWN_FORMAT"),
        ("WEIGHTS", b"\x80", "UNKNOWN_FORMAT"),
        ("WEIGHTS", b"import os", "UNKNOWN_FORMAT"),
    ],
)
async def test_what_is_not_of_its_kind_is_refused(ingest: Any, kind: str, content: bytes, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await ingest.upload(content, kind=kind)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("kind", "megabytes"), [("IMAGE", 65), ("WEIGHTS", 513)])
async def test_each_kind_has_a_size_of_its_own(ingest: Any, kind: str, megabytes: int) -> None:
    request = asset_pb2.CreateUploadRequest(
        filename="a", size_bytes=megabytes << 20, kind=asset_pb2.AssetKind.Value(f"ASSET_KIND_{kind}")
    )
    with pytest.raises(errors.TooLarge) as refused:
        await call(ingest.assets.CreateUpload, request)
    assert refused.value.metadata["field"] == "size_bytes"


async def test_only_videos_are_read_by_jobs(ingest: Any) -> None:
    weights = await ingest.upload(b"PK\x03\x04rest", kind="WEIGHTS")
    with pytest.raises(errors.InvalidArgument) as refused:
        await ingest.start_job(weights.asset_id)
    assert (refused.value.reason, refused.value.metadata["field"]) == ("WRONG_ASSET_KIND", "inputs")


async def test_a_wrong_size_is_refused(ingest: Any, clip: bytes) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await ingest.upload(clip, announced=len(clip) + 1)
    assert refused.value.reason == "SIZE_MISMATCH"
    assert refused.value.metadata["uploaded"] == str(len(clip))


async def test_confirm_without_upload_is_refused_and_may_be_tried_again(ingest: Any) -> None:
    request = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=10)
    answer = await call(ingest.assets.CreateUpload, request, owner="ada")
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(
            ingest.assets.ConfirmUpload,
            asset_pb2.ConfirmUploadRequest(asset_id=answer.asset.asset_id),
            owner="ada",
        )
    assert refused.value.reason == "UPLOAD_MISSING"
    found = asset_pb2.GetAssetRequest(asset_id=answer.asset.asset_id)
    assert (await call(ingest.assets.GetAsset, found, owner="ada")).asset.state == asset_pb2.ASSET_STATE_PENDING


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("filename", "", "INVALID_FILENAME"),
        ("filename", "a/..\\", "INVALID_FILENAME"),
        ("content_type", "vidéo/mp4", "INVALID_CONTENT_TYPE"),
        ("content_type", "video/mp4\r\nx: y", "INVALID_CONTENT_TYPE"),
        ("content_type", "v" * 128, "INVALID_CONTENT_TYPE"),
        ("size_bytes", 0, "EMPTY_FILE"),
        ("size_bytes", 1 << 50, "FILE_TOO_LARGE"),
    ],
)
async def test_wrong_announcements_are_refused(ingest: Any, field: str, value: Any, reason: str) -> None:
    fields = {"filename": "a.mp4", "size_bytes": 10, field: value}
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.assets.CreateUpload, asset_pb2.CreateUploadRequest(**fields))
    assert refused.value.reason == reason
    assert refused.value.metadata["field"] == field


async def test_somebody_elses_asset_is_unknown(ingest: Any, clip: bytes) -> None:
    asset = await ingest.upload(clip, owner="ada")
    for method, request in (
        (ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset.asset_id)),
        (ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset.asset_id)),
        (ingest.assets.CreateAssetDownload, asset_pb2.CreateAssetDownloadRequest(asset_id=asset.asset_id)),
    ):
        with pytest.raises(errors.NotFound) as refused:
            await call(method, request, owner="eve")
        assert refused.value.reason == "ASSET_NOT_FOUND"


async def test_a_repeated_request_makes_one_asset(ingest: Any) -> None:
    request = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=10, request_id="once")
    first, second = [await call(ingest.assets.CreateUpload, request, owner="bob") for _ in range(2)]
    assert first.asset.asset_id == second.asset.asset_id


async def test_pages_hold_every_asset_once(ingest: Any) -> None:
    made = []
    for number in range(5):
        request = asset_pb2.CreateUploadRequest(filename=f"{number}.mp4", size_bytes=10)
        made.append((await call(ingest.assets.CreateUpload, request, owner="pager")).asset.asset_id)
    seen, token = [], ""
    for _ in range(3):
        page = await call(
            ingest.assets.ListAssets, asset_pb2.ListAssetsRequest(page_size=2, page_token=token), owner="pager"
        )
        assert page.total_size == 5
        seen += [asset.asset_id for asset in page.assets]
        token = page.next_page_token
    assert not token
    assert seen == made[::-1]
    skipped = await call(ingest.assets.ListAssets, asset_pb2.ListAssetsRequest(page_size=2, skip=3), owner="pager")
    assert [asset.asset_id for asset in skipped.assets] == made[::-1][3:]


@pytest.mark.parametrize(
    ("field", "value"), [("page_size", 101), ("page_size", -1), ("page_token", "xx"), ("skip", -1)]
)
async def test_wrong_pages_are_refused(ingest: Any, field: str, value: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.assets.ListAssets, asset_pb2.ListAssetsRequest(**{field: value}))
    assert refused.value.metadata["field"] == field


async def test_a_deleted_asset_leaves_nothing(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    asset = await ingest.upload(clip)
    request = asset_pb2.DeleteAssetRequest(asset_id=asset.asset_id, request_id="bye")
    for _ in range(2):
        await call(ingest.assets.DeleteAsset, request, owner="ada")
    await gone(s3_store, keys.asset_prefix(asset.asset_id))


async def gone(store: ObjectStore, prefix: str) -> None:
    async def is_empty() -> bool:
        return not await store.list_objects(prefix)

    await until(is_empty)
