"""A worker process: takes one message, says so by a file, and works on it until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from nats.aio.msg import Msg

from kinemesh.bus.connection import connect
from kinemesh.bus.consume import consume
from kinemesh.bus.topology import Consumer
from kinemesh.settings import NatsSettings


async def main(url: str, stream: str, durable: str, subject: str, taken: str) -> None:
    async def handle(_: Msg) -> None:
        await asyncio.to_thread(Path(taken).touch)
        await asyncio.Event().wait()

    async with connect(NatsSettings(url=url), "worker") as bus:
        await consume(bus, Consumer(stream, durable, subject, ack_wait_s=0.9), handle, asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
