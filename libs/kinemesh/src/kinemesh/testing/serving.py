"""Servicers that a test stands in for others with, behind a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from kinemesh.serving.channel import open_channel
from kinemesh.serving.interceptor import CallInterceptor


@asynccontextmanager
async def served(servicer: object, *adders: Callable[[Any, Any], None]) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a servicer.

    :param adders: ``add_…Servicer_to_server`` of each service that it stands in for.
    """
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    for add in adders:
        add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)
