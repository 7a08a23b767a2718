"""Uploads that break off and go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from kinemesh.errors import FailedPrecondition, InvalidArgument, Unavailable
from kinemesh_client import KinemeshClient, transfer
from kinemesh_client.local import running_url
from kinemesh_client.testing import Cli

from .http_gateway import Answer, Asked, error, served

SIZE, PART = 25, 10
DATA = bytes(range(SIZE))


@dataclass
class Storage:
    """A gateway with its storage: URLs hold for ``uses`` parts, and fail ``failures`` times before they work."""

    url: str = ""
    uses: int = 100
    failures: int = 0
    refused: bool = False
    parts: dict[int, bytes] = field(default_factory=dict)
    announced: dict[str, Any] = field(default_factory=dict)
    confirmed: list[Any] = field(default_factory=list)
    deleted: bool = False
    asked: int = 0
    generation: int = 0
    used: int = 0

    def asset(self, state: str = "PENDING") -> dict[str, Any]:
        named = {"asset_id": "a", "state": state, "failure": None, "create_time": ""}
        return {"kind": "VIDEO", "sha256": "", **self.announced, **named}

    def state(self) -> dict[str, Any]:
        self.generation, self.used = self.generation + 1, 0
        missing = [number for number in (1, 2, 3) if number not in self.parts]
        urls = [{"part_number": n, "url": f"{self.url}/put/{self.generation}/{n}"} for n in missing]
        arrived = [{"part_number": n, "size_bytes": len(d), "etag": f'"{n}"'} for n, d in sorted(self.parts.items())]
        upload: dict[str, Any] = {"url": None, "headers": {}, "parts": urls or None, "part_size": PART}
        total = sum(map(len, self.parts.values()))
        return {"asset": self.asset(), "upload": upload, "uploaded": arrived, "uploaded_bytes": total}

    def answer(self, asked: Asked) -> Answer:
        match [asked.method, *asked.path.strip("/").split("/")]:
            case ["POST", "api", "v1", "assets"]:
                self.announced = asked.body
                return Answer(201, {key: value for key, value in self.state().items() if key in ("asset", "upload")})
            case ["GET", "api", "v1", "assets"]:
                assert "state=PENDING" in asked.query
                assets = [self.asset()] if self.announced else []
                return Answer(200, {"assets": assets, "total": len(assets), "next_page_token": None})
            case ["GET", "api", "v1", "assets", "a", "upload"]:
                self.asked += 1
                return Answer(200, self.state())
            case ["PUT", "put", generation, number]:
                if self.failures:
                    self.failures -= 1
                    return Answer(503)
                if int(generation) < self.generation or self.used >= self.uses:
                    return Answer(403)
                self.used += 1
                self.parts[int(number)] = asked.body
                return Answer(200, None, {"ETag": f'"{number}"'})
            case ["POST", "api", "v1", "assets", "a", "confirm"]:
                self.confirmed = asked.body["parts"]
                return Answer(*error(400, "CHECKSUM_MISMATCH")) if self.refused else Answer(200, self.asset("READY"))
            case ["DELETE", "api", "v1", "assets", "a"]:
                self.deleted = True
                return Answer(204)
        return Answer(*error(404, "NOT_FOUND"))


@pytest.fixture
def storage(monkeypatch: Any) -> Iterator[Storage]:
    monkeypatch.setattr(transfer, "_AT_ONCE", 1)
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.01)
    found = Storage()
    with served(found.answer) as url:
        found.url = url
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(DATA)
    return path


def whole(storage: Storage) -> bytes:
    return b"".join(storage.parts[number] for number in sorted(storage.parts))


async def test_a_file_goes_in_parts_with_its_checksum(storage: Storage, file: Path) -> None:
    sent: list[int] = []
    async with KinemeshClient(storage.url) as client:
        await client.upload(file, progress=sent.append)
    assert whole(storage) == DATA
    assert storage.announced["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert storage.confirmed == [{"part_number": n, "etag": f'"{n}"'} for n in (1, 2, 3)]
    assert sum(sent) == SIZE


async def test_urls_that_expire_are_renewed(storage: Storage, file: Path) -> None:
    storage.uses = 1
    sent: list[int] = []
    async with KinemeshClient(storage.url) as client:
        await client.upload(file, progress=sent.append)
    assert whole(storage) == DATA
    assert (storage.asked, sum(sent)) == (2, SIZE)


async def test_storage_that_takes_nothing_is_given_up(storage: Storage, file: Path) -> None:
    storage.uses = 0
    async with KinemeshClient(storage.url) as client:
        with pytest.raises(FailedPrecondition) as refused:
            await client.upload(file)
    assert refused.value.reason == "UPLOAD_REFUSED"
    assert storage.asked == 2


async def test_what_broke_off_goes_on_with_the_rest(storage: Storage, file: Path) -> None:
    storage.failures = 1_000
    async with KinemeshClient(storage.url) as client:
        with pytest.raises(Unavailable):
            await client.upload(file)
        storage.failures = 1
        storage.parts = {2: DATA[PART : 2 * PART]}
        sent: list[int] = []
        await client.upload(file, resume=True, progress=sent.append)
        assert whole(storage) == DATA
        assert len(storage.confirmed) == 3
        assert sum(sent) == SIZE
        storage.announced["sha256"] = hashlib.sha256(b"other").hexdigest()
        await client.upload(file, resume=True)
    assert storage.announced["sha256"] == hashlib.sha256(DATA).hexdigest(), "another file is another upload"


@pytest.mark.parametrize("keep", [True, False])
async def test_a_refused_file_goes_unless_it_is_kept(storage: Storage, file: Path, keep: bool) -> None:
    storage.refused = True
    async with KinemeshClient(storage.url) as client:
        with pytest.raises(InvalidArgument, match="No"):
            await client.upload(file, keep_refused=keep)
    assert storage.deleted is not keep


def test_the_command_goes_on_where_it_broke_off(cli: Cli, video: Path, data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(video.read_bytes() + (12 << 20).to_bytes(4, "big") + b"free" + bytes((12 << 20) - 8))
    url = running_url(data_dir)
    body = {
        "filename": path.name,
        "content_type": "video/mp4",
        "size_bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    created = httpx.post(f"{url}/api/v1/assets", json=body).json()
    asset_id, first = created["asset"]["asset_id"], created["upload"]["parts"][0]
    httpx.put(first["url"], content=path.read_bytes()[: created["upload"]["part_size"]]).raise_for_status()
    told = cli("assets", "upload", str(path), "--resume")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == asset_id
    used = json.loads(cli("usage", "--json").stdout)
    assert used["stored_bytes"]["used"] >= path.stat().st_size
    assert "stored bytes" in cli("usage").stdout
    wrong = cli("assets", "upload", __file__, "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["error"]["reason"]) == (2, "NOT_A_VIDEO")
    assert cli("assets", "delete", asset_id).returncode == 0
