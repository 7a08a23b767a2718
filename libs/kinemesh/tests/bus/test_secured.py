"""A broker that asks for TLS, a certificate and a password takes those who have all three, and nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from kinemesh.bus.connection import connect
from kinemesh.embedded import nats
from kinemesh.embedded.credentials import NATS_USER
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.errors import FailedPrecondition
from kinemesh.settings import NatsSettings

PASSWORD = "hunter2-hunter2"


def written(folder: Path, name: str, authority: trustme.CA) -> dict[str, Any]:
    """Files of a certificate of an authority, as the settings name them."""
    leaf = authority.issue_cert("127.0.0.1")
    paths = {kind: folder / f"{name}-{kind}.pem" for kind in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(paths["key"])
    return {f"{kind}_file": str(path) for kind, path in paths.items()}


async def test_who_has_all_that_is_asked_for_gets_in(tmp_path: Path) -> None:
    authority = trustme.CA()
    server, client = (written(tmp_path, name, authority) for name in ("server", "client"))
    stranger = written(tmp_path, "stranger", trustme.CA())
    port, monitor_port = free_ports(2)
    spec = nats.nats_spec(tmp_path / "nats", tmp_path / "log", port, monitor_port, password=PASSWORD)
    flags = ("--tlsverify", f"--tlscert={server['cert_file']}", f"--tlskey={server['key_file']}")
    spec = replace(spec, argv=(*spec.argv, *flags, f"--tlscacert={server['ca_file']}"))
    good = {"url": f"nats://127.0.0.1:{port}", "user": NATS_USER, "password": SecretStr(PASSWORD), **client}
    bad = [
        {**good, "password": SecretStr("wrong")},
        {**good, "cert_file": "", "key_file": ""},
        {**good, **stranger},
        {**good, "cert_file": stranger["cert_file"], "key_file": stranger["key_file"]},
    ]
    async with Supervisor() as supervisor:
        await supervisor.start([spec])
        async with asyncio.timeout(30), connect(NatsSettings(**good), "test") as bus:
            assert await bus.ready()
        for settings in bad:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2), connect(NatsSettings(**settings), "test"):
                    pytest.fail("somebody got in")


@pytest.mark.parametrize("name", ["ca_file", "credentials_file"])
async def test_a_file_that_is_not_there_ends_the_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        async with connect(NatsSettings.model_validate({name: str(tmp_path / "gone")}), "test"):
            pytest.fail("it was not needed")
    assert refused.value.reason == "BROKER_FILE"
