"""Composition root: the only place that knows all adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from kinemesh.access.tls import read_tls
from kinemesh.bus.connection import connect
from kinemesh.serving.server import Service
from kinemesh.storage import ObjectStore
from kinemesh_gateway.histories import Histories
from kinemesh_gateway.rest.api import bind, create_api, serve
from kinemesh_gateway.rest.context import Mesh
from kinemesh_gateway.rest.health import NEEDED
from kinemesh_gateway.rpc import connect_upstreams
from kinemesh_gateway.settings import GatewaySettings
from kinemesh_gateway.trees import Trees


@asynccontextmanager
async def app(settings: GatewaySettings) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        taken = stack.enter_context(bind(settings.http))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        bus = await stack.enter_async_context(connect(settings.nats, "gateway"))
        upstreams = await stack.enter_async_context(connect_upstreams(settings.upstreams, read_tls(settings.tls)))
        checks = {**upstreams.checks, "nats": bus.ready, "s3": store.ready}
        histories = Histories(bus, settings.http.websocket_kept_mb * 2**20)
        mesh = Mesh(settings, upstreams, store, bus, histories, Trees(), checks)
        yield Service(
            loops=(serve(create_api(settings), mesh, taken),),
            dependencies={name: check for name, check in checks.items() if name in NEEDED},
        )
