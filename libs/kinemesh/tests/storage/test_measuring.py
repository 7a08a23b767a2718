"""Every S3 request is measured by what it does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from kinemesh.errors import KinemeshError, NotFound
from kinemesh.storage import ObjectStore
from kinemesh.storage.measuring import operation_of
from kinemesh.testing.fixtures import S3Server


def counted() -> dict[tuple[str, str], float]:
    """Requests until now, by operation and status."""
    return {
        (sample.labels["operation"], sample.labels["status"]): sample.value
        for metric in REGISTRY.collect()
        if metric.name == "kinemesh_storage_seconds"
        for sample in metric.samples
        if sample.name.endswith("_count")
    }


async def test_what_a_store_is_asked_for(s3_store: ObjectStore, tmp_path: Path) -> None:
    before = counted()
    (tmp_path / "large").write_bytes(bytes(11 * 2**20))
    await s3_store.put_bytes("measured/small", b"abc")
    await s3_store.get_bytes("measured/small")
    await s3_store.put_file(tmp_path / "large", "measured/large")
    upload = await s3_store.multipart.create("measured/parts", "video/mp4")
    await s3_store.multipart.upload_part("measured/parts", upload, 1, b"abc")
    await s3_store.multipart.list_parts("measured/parts", upload)
    await s3_store.multipart.abort("measured/parts", upload)
    with pytest.raises(NotFound):
        await s3_store.stat("measured/nothing")
    await s3_store.delete_prefix("measured/")
    assert await s3_store.ready()
    made = {key: count - before.get(key, 0) for key, count in counted().items() if count > before.get(key, 0)}
    assert {operation for operation, _ in made} == {
        *("put", "get", "create_upload", "put_part", "complete_upload", "list_parts", "abort_upload"),
        *("head", "list", "list_uploads", "delete", "bucket"),
    }
    assert made["put", "200"] == 1
    assert made["put_part", "200"] == 1 + 3, "one of ours, and three of the file"
    assert made["head", "404"] == 1


async def test_a_store_that_is_away_is_counted(s3_server: S3Server) -> None:
    before = counted().get(("get", "error"), 0)
    nobody = s3_server.settings.model_copy(update={"endpoint": "127.0.0.1:1", "retries": 0})
    async with ObjectStore(nobody) as store:
        with suppress(KinemeshError):
            await store.get_bytes("measured/x")
    assert counted()["get", "error"] == before + 1


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/kinemesh/a/b?uploads-of-mine=1", "get"),
        ("PATCH", "/kinemesh/a", "other"),
        ("GET", "/kinemesh/?list-type=2&prefix=uploads", "list"),
    ],
)
def test_names_and_values_do_not_choose_the_operation(method: str, path: str, operation: str) -> None:
    assert operation_of(method, f"http://127.0.0.1:1{path}") == operation
