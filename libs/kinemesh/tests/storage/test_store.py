from __future__ import annotations

import asyncio
import hashlib
import random
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from kinemesh.embedded.ports import free_ports
from kinemesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    TooLarge,
    Unavailable,
)
from kinemesh.storage import ObjectStore, Part
from kinemesh.testing.fixtures import S3Server
from kinemesh.testing.waiting import until

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_bytes_there_and_back(s3_store: ObjectStore) -> None:
    for size in (0, 1, 100_000):
        data = noise(size)
        await s3_store.put_bytes("bytes/x", data, "text/plain")
        assert await s3_store.get_bytes("bytes/x") == data
        info = await s3_store.stat("bytes/x")
        assert (info.size, info.content_type, info.etag) == (size, "text/plain", hashlib.md5(data).hexdigest())


async def test_writing_twice_leaves_one_object(s3_store: ObjectStore) -> None:
    first = await s3_store.put_bytes("twice/x", b"same")
    assert await s3_store.put_bytes("twice/x", b"same") == first
    assert [entry.key for entry in await s3_store.list_objects("twice/")] == ["twice/x"]


async def test_files_there_and_back(s3_store: ObjectStore, tmp_path: Path) -> None:
    data = noise(33 * MIB)  # more than one part
    (tmp_path / "in").write_bytes(data)
    await s3_store.put_file(tmp_path / "in", "files/x", "video/mp4")
    assert await s3_store.get_file("files/x", tmp_path / "out") == len(data)
    assert (tmp_path / "out").read_bytes() == data
    assert names(tmp_path) == ["in", "out"]


async def test_what_does_not_exist(s3_store: ObjectStore, tmp_path: Path) -> None:
    for attempt in (
        s3_store.stat("no/such"),
        s3_store.get_bytes("no/such"),
        s3_store.get_file("no/such", tmp_path / "x"),
        asyncio.to_thread(s3_store.open_range, "no/such"),
        anext(s3_store.stream("no/such")),
    ):
        with pytest.raises(NotFound) as caught:
            await attempt
        assert caught.value.reason == "OBJECT_NOT_FOUND"
    assert names(tmp_path) == []
    await s3_store.delete(["no/such"])


async def test_get_bytes_refuses_what_is_too_large(s3_store: ObjectStore) -> None:
    await s3_store.put_bytes("large/x", bytes(1000))
    with pytest.raises(OutOfRange):
        await s3_store.get_bytes("large/x", limit=999)


async def test_list_and_delete(s3_store: ObjectStore) -> None:
    keys = [f"many/{n // 10}/{n:03d}" for n in range(25)]
    await asyncio.gather(*(s3_store.put_bytes(name, name.encode()) for name in keys))
    await s3_store.put_bytes("many2/x", b"")
    assert [entry.key for entry in await s3_store.list_objects("many/")] == keys
    page = await s3_store.list_objects("many/", limit=10, start_after=keys[4])
    assert [entry.key for entry in page] == keys[5:15]
    await s3_store.delete(keys[:3])
    assert await s3_store.delete_prefix("many/") == 22
    assert await s3_store.list_objects("many/") == ()
    assert [entry.key for entry in await s3_store.list_objects("many2")] == ["many2/x"]
    with pytest.raises(ValueError, match="folder"):
        await s3_store.delete_prefix("many2")


async def test_presigned_urls(s3_store: ObjectStore) -> None:
    async with httpx.AsyncClient(timeout=10) as http:
        answer = await http.put(
            s3_store.presign_put("signed/x"), content=b"0123456789", headers={"content-type": "a/b"}
        )
        assert answer.status_code == 200
        assert (await s3_store.stat("signed/x")).content_type == "a/b"
        url = s3_store.presign_get("signed/x", filename="result.mp4", content_type="video/mp4")
        answer = await http.get(url, headers={"Range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")
        assert answer.headers["content-disposition"] == 'attachment; filename="result.mp4"'
        assert answer.headers["content-type"] == "video/mp4"
        # Neither another method nor another object.
        assert (await http.put(url, content=b"x")).status_code == 403
        assert (await http.get(url.replace("signed/x", "signed/y"))).status_code == 403
        assert (await http.get(url.split("?")[0])).status_code == 403


async def test_an_expired_url_is_refused(s3_store: ObjectStore) -> None:
    url = s3_store.presign_put("expired/x", timedelta(seconds=1))
    async with httpx.AsyncClient() as client:

        async def is_refused() -> bool:
            return (await client.put(url, content=b"late")).status_code == 403

        await until(is_refused)


async def test_presigned_urls_are_for_the_public_address(s3_server: S3Server) -> None:
    outside = s3_server.settings.model_copy(update={"public_endpoint": "media.example.org", "public_secure": True})
    async with ObjectStore(outside) as store:
        url = urlsplit(store.presign_put("x", timedelta(minutes=1)))
    assert (url.scheme, url.netloc, url.path) == ("https", "media.example.org", "/kinemesh/x")
    assert outside.secret_key.get_secret_value() not in url.query


async def test_upload_in_parts_by_a_client(s3_store: ObjectStore) -> None:
    data = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(1000, 3)]
    multipart = s3_store.multipart
    upload = await multipart.create("parts/x", "video/mp4")
    assert [entry.upload_id for entry in await multipart.list_uploads("parts/")] == [upload]
    parts = []
    async with httpx.AsyncClient(timeout=20) as http:
        for number, piece in enumerate(data, 1):
            url = multipart.presign_part("parts/x", upload, number, timedelta(minutes=1))
            answer = await http.put(url, content=piece)
            parts.append(Part(number, answer.headers["etag"]))
    listed = await multipart.list_parts("parts/x", upload)
    assert [(part.number, part.size) for part in listed] == [(1, 5 * MIB), (2, 5 * MIB), (3, 1000)]
    assert await s3_store.list_objects("parts/") == ()
    etag = await multipart.complete("parts/x", upload, parts[::-1])
    assert await multipart.complete("parts/x", upload, parts) == etag, "completing twice is no error"
    info = await s3_store.stat("parts/x")
    assert (info.size, info.content_type, info.etag) == (10 * MIB + 1000, "video/mp4", etag)
    assert await s3_store.get_bytes("parts/x") == b"".join(data)


async def test_uploads_in_parts_that_come_to_nothing(s3_store: ObjectStore) -> None:
    multipart = s3_store.multipart
    upload = await multipart.create("aborted/x", "video/mp4")
    await multipart.upload_part("aborted/x", upload, 1, b"data")
    await multipart.abort("aborted/x", upload)
    await multipart.abort("aborted/x", upload)
    with pytest.raises(NotFound) as caught:
        await multipart.complete("aborted/x", upload, [Part(1, hashlib.md5(b"data").hexdigest())])
    assert caught.value.reason == "UPLOAD_NOT_FOUND"
    for bad in ([], [Part(1, "a"), Part(1, "b")]):
        with pytest.raises(InvalidArgument):
            await multipart.complete("aborted/x", upload, bad)
    with pytest.raises(InvalidArgument):
        multipart.presign_part("aborted/x", upload, 0, timedelta(minutes=1))
    left = await multipart.create("aborted/y", "video/mp4")
    assert await s3_store.delete_prefix("aborted/") == 0
    assert await multipart.list_uploads("aborted/") == ()
    with pytest.raises(NotFound):
        await multipart.list_parts("aborted/y", left)


async def pieces(total: int, size: int) -> AsyncIterator[bytes]:
    data = noise(size)
    for start in range(0, total, size):
        yield data[: total - start]


@pytest.mark.parametrize("total", [0, 10, 8 * MIB, 8 * MIB + 1, 25 * MIB])
async def test_put_stream(s3_store: ObjectStore, total: int) -> None:
    assert await s3_store.put_stream("stream/x", pieces(total, 700_001), "video/mp4") == total
    digest = hashlib.sha256()
    async for piece in pieces(total, 700_001):
        digest.update(piece)
    stored = await s3_store.get_bytes("stream/x")
    assert (len(stored), hashlib.sha256(stored).digest()) == (total, digest.digest())
    assert (await s3_store.stat("stream/x")).content_type == "video/mp4"


async def test_put_stream_holds_a_few_parts_only(s3_store: ObjectStore) -> None:
    tracemalloc.start()
    try:
        await s3_store.put_stream("stream/large", pieces(96 * MIB, MIB))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * MIB


async def test_a_broken_stream_leaves_nothing(s3_store: ObjectStore) -> None:
    async def broken(after: int) -> AsyncIterator[bytes]:
        async for piece in pieces(after, MIB):
            yield piece
        raise ConnectionResetError("the client is gone")

    for after in (MIB, 20 * MIB):
        with pytest.raises(ConnectionResetError):
            await s3_store.put_stream("broken/x", broken(after))
    with pytest.raises(TooLarge):
        await s3_store.put_stream("broken/x", pieces(20 * MIB, MIB), limit=18 * MIB)

    reached = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        async for piece in pieces(20 * MIB, MIB):
            yield piece
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(s3_store.put_stream("broken/x", stuck()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await s3_store.list_objects("broken/") == ()
    assert await s3_store.multipart.list_uploads("broken/") == ()


async def test_stream_ranges(s3_store: ObjectStore) -> None:
    data = noise(MIB)
    await s3_store.put_bytes("ranges/x", data)
    for start, end in ((0, None), (0, 1), (10, 700_000), (MIB - 5, None), (MIB - 5, MIB)):
        assert b"".join([chunk async for chunk in s3_store.stream("ranges/x", start, end)]) == data[start:end]
    for start, end in ((5, 5), (-1, None), (MIB, None)):
        with pytest.raises(OutOfRange) as caught:
            await anext(s3_store.stream("ranges/x", start, end))
        assert caught.value.reason == "RANGE_NOT_SATISFIABLE"
    # Who stops reading gives the connection back.
    for _ in range(40):
        chunks = s3_store.stream("ranges/x")
        await anext(chunks)
        await chunks.aclose()


async def test_a_video_is_decoded_through_ranges(s3_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(100):
            picture = generator.integers(0, 255, (120, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    await s3_store.put_file(path, "video/clip")

    def decode(source: Any) -> list[tuple[int | None, bytes]]:
        with av.open(source, "r") as container:
            return [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]

    def remote() -> list[tuple[int | None, bytes]]:
        with s3_store.open_range("video/clip", block_bytes=1 << 16, cached_blocks=4) as reader:
            return decode(reader)

    assert await asyncio.to_thread(remote) == await asyncio.to_thread(decode, str(path))


async def test_a_replaced_object_is_not_mixed_with_the_old_one(s3_store: ObjectStore) -> None:
    await s3_store.put_bytes("replaced/x", noise(300_000, 1))
    reader = await asyncio.to_thread(s3_store.open_range, "replaced/x", block_bytes=100_000, cached_blocks=1)
    await s3_store.put_bytes("replaced/x", noise(300_000, 2))
    with pytest.raises(FailedPrecondition) as caught:
        await asyncio.to_thread(reader.read)
    assert caught.value.reason == "OBJECT_CHANGED"
    reader.close()


async def test_readiness_and_the_bucket(s3_server: S3Server) -> None:
    async with ObjectStore(s3_server.settings.model_copy(update={"bucket": "second"})) as store:
        assert not await store.ready()
        with pytest.raises(FailedPrecondition) as caught:
            await store.get_bytes("x")
        assert caught.value.reason == "BUCKET_NOT_FOUND"
        await asyncio.gather(*(store.ensure_bucket() for _ in range(3)))
        assert await store.ready()


async def test_nobody_answers(s3_server: S3Server) -> None:
    key = "-".join(("private", "name"))  # so that the lines of this test, which a traceback quotes, do not hold it
    (port,) = free_ports(1)
    gone = s3_server.settings.model_copy(update={"endpoint": f"127.0.0.1:{port}", "retries": 1})
    async with ObjectStore(gone) as store:
        assert not await store.ready()
        with pytest.raises(Unavailable) as caught:
            await store.put_bytes(key, b"x")
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    assert caught.value.retryable
    assert key not in "".join(traceback.format_exception(caught.value))


async def test_wrong_credentials_are_refused_and_not_repeated(s3_server: S3Server) -> None:
    key, secret = "-".join(("private", "name")), "-".join(("not", "right"))
    wrong = s3_server.settings.model_copy(update={"secret_key": SecretStr(secret)})
    async with ObjectStore(wrong) as store:
        with pytest.raises(PermissionDenied) as caught:
            await store.put_bytes(key, b"x")
    assert caught.value.reason == "STORAGE_ACCESS_DENIED"
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.metadata) + repr(wrong)
    assert secret not in text
    assert key not in text


async def test_what_was_written_survives_kill_9_of_the_server(s3_server: S3Server, s3_store: ObjectStore) -> None:
    data = noise(20 * MIB)
    await s3_store.put_stream("survives/x", pieces(20 * MIB, 20 * MIB))
    await s3_server.process.kill()
    assert not await s3_store.ready()
    await s3_server.process.restart()
    assert await s3_store.ready()
    assert await s3_store.get_bytes("survives/x") == data
