"""Services that have certificates talk to nobody who has none of the same authority."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
import trustme

from kinemesh.access.identity import READ, WRITE, Identity
from kinemesh.access.tls import Tls, read_tls
from kinemesh.access.tokens import Tokens
from kinemesh.embedded.grpc_checks import grpc_serving
from kinemesh.errors import FailedPrecondition
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import open_channel
from kinemesh.settings import TlsSettings
from kinemesh.testing.certificates import certificate, write_tls
from kinemesh.testing.waiting import until

PROGRAM = Path(__file__).parents[1] / "serving" / "program.py"
SECRET = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Certified:
    """A service that shows a certificate, and the authority that made it."""

    address: str
    authority: trustme.CA
    tls: Tls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def certified(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Certified]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    tls = certificate(authority)
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "KINEMESH_AUTH__SECRET").write_text(SECRET + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
    own = {
        "KINEMESH_FOLDER": str(folder),
        "KINEMESH_SECRETS_DIR": str(secrets),
        **write_tls(folder, tls),
        "KINEMESH_GRPC__HOST": "0.0.0.0",
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), env=clean | own, stdout=log)
    try:

        async def serving() -> bool:
            return '"serving"' in (folder / "log").read_text()

        await until(serving, within_s=60)
        port = (folder / "log").read_text().split('"grpc_port": ')[1].split(",")[0]
        yield Certified(f"127.0.0.1:{port}", authority, tls)
    finally:
        process.terminate()
        await process.wait()


async def estimate(channel: grpc.aio.Channel, *scopes: str) -> grpc.StatusCode:
    token = Tokens(SECRET).issue(Identity("ada", frozenset(scopes)), 60)
    metadata = (("authorization", f"Bearer {token}"),)
    async with channel:
        stub: Any = pose_pb2_grpc.PoseServiceStub(channel)
        try:
            await stub.Estimate(pose_pb2.EstimateRequest(), metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_services_of_one_authority_call_one_another(certified: Certified) -> None:
    other = certificate(certified.authority, "another.service")
    assert await estimate(open_channel(certified.address, other), WRITE) is grpc.StatusCode.OK
    assert await estimate(open_channel(certified.address, other), READ) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_list_of_addresses_has_the_name_of_the_first(certified: Certified) -> None:
    port = certified.address.rpartition(":")[2]
    of_twins = f"ipv4:{certified.address},{certified.address}"
    assert await estimate(open_channel(of_twins, certified.tls), WRITE) is grpc.StatusCode.OK
    elsewhere = f"ipv4:127.0.0.2:{port},{certified.address}"
    assert await estimate(open_channel(elsewhere, certified.tls), WRITE) is grpc.StatusCode.UNAVAILABLE


async def test_health_is_answered_to_whoever_has_a_certificate(certified: Certified) -> None:
    await until(grpc_serving(certified.address, tls=certified.tls), within_s=30)
    assert not await grpc_serving(certified.address)()


@pytest.mark.parametrize("who", ["in the clear", "without a certificate", "with one of another authority"])
async def test_others_do_not_get_in(certified: Certified, who: str) -> None:
    stranger = certificate(trustme.CA())
    if who == "in the clear":
        channel = open_channel(certified.address)
    elif who == "without a certificate":
        credentials = grpc.ssl_channel_credentials(certified.tls.authority)
        channel = grpc.aio.secure_channel(certified.address, credentials)
    else:
        tls = Tls(stranger.certificate, stranger.key, certified.tls.authority)
        channel = open_channel(certified.address, tls)
    assert await estimate(channel, WRITE) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_name_or_authority_is_not_believed(certified: Certified) -> None:
    stranger = certificate(trustme.CA())
    believes_others = Tls(certified.tls.certificate, certified.tls.key, stranger.authority)
    assert await estimate(open_channel(certified.address, believes_others), WRITE) is grpc.StatusCode.UNAVAILABLE
    elsewhere = certified.address.replace("127.0.0.1", "127.0.0.2")  # another name, which no certificate holds
    assert await estimate(open_channel(elsewhere, certified.tls), WRITE) is grpc.StatusCode.UNAVAILABLE


def test_a_file_that_is_not_there_is_named_by_its_variable(tmp_path: Path) -> None:
    assert read_tls(TlsSettings()) is None
    (tmp_path / "there").write_text("x")
    there = str(tmp_path / "there")
    with pytest.raises(FailedPrecondition) as refused:
        read_tls(TlsSettings(cert_file=there, key_file=str(tmp_path / "gone"), ca_file=there))
    assert (refused.value.reason, refused.value.metadata["field"]) == ("TLS_FILE", "KINEMESH_TLS__KEY_FILE")
    assert "gone" not in refused.value.message
