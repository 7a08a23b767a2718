"""What a connection leaves behind when it is closed: nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from nats.aio.transport import TcpTransport

from kinemesh.bus.connection import connect
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.settings import NatsSettings
from kinemesh.testing.waiting import until


async def test_a_cancellation_that_is_lost_does_not_let_it_try_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when the broker refuses just as the connection is closed."""
    before = asyncio.all_tasks()
    trying = asyncio.Event()

    async def refused(*_: Any, **__: Any) -> None:
        trying.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionRefusedError from None

    async def all_ended() -> bool:
        return asyncio.all_tasks() <= before

    port, monitor_port = free_ports(2)
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor_port)])
        async with connect(NatsSettings(url=f"nats://127.0.0.1:{port}"), "test"):
            monkeypatch.setattr(TcpTransport, "connect", refused)
            await supervisor.stop()
            await asyncio.wait_for(trying.wait(), 30)
    await until(all_ended)
