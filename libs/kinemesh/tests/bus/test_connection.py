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


async def test_a_cancellation_that_is_lost_does_not_let_it_try_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when the broker refuses just as the connection is closed."""
    trying: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()

    async def refused(*_: Any, **__: Any) -> None:
        trying.put_nowait(asyncio.current_task())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionRefusedError from None

    port, monitor_port = free_ports(2)
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor_port)])
        async with connect(NatsSettings(url=f"nats://127.0.0.1:{port}"), "test"):
            monkeypatch.setattr(TcpTransport, "connect", refused)
            await supervisor.stop()
            tries = await asyncio.wait_for(trying.get(), 30)
    assert tries is not None
    ended, _ = await asyncio.wait([tries], timeout=30)
    assert ended
