"""Runs a service: settings in, one process that serves, works, and drains when it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from kinemesh.serving.health import Check, follow_dependencies
from kinemesh.serving.interceptor import CallInterceptor
from kinemesh.settings import ServiceSettings, load
from kinemesh.telemetry.logging import configure_logging
from kinemesh.telemetry.metrics import serve_metrics
from kinemesh.telemetry.tracing import configure_tracing

S = TypeVar("S", bound=ServiceSettings)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Servicer:
    """One gRPC service: its full name, the generated function that adds it, and what answers."""

    name: str
    add: Callable[[Any, grpc.aio.Server], None]
    implementation: Any


@dataclass(frozen=True, slots=True)
class Service:
    """What a composition root gives to :func:`run`.

    :ivar loops: background work; each is called with an event that is set when the process should stop,
        and returns once it has drained. One that fails ends the process.
    :ivar dependencies: what must answer for the service to be healthy.
    """

    servicers: Sequence[Servicer] = ()
    loops: Sequence[Callable[[asyncio.Event], Awaitable[None]]] = ()
    dependencies: Mapping[str, Check] = field(default_factory=dict)


App = Callable[[S], AbstractAsyncContextManager[Service]]


def run(name: str, settings_type: type[S], app: App[S]) -> None:
    """Entry point of a service's ``__main__``; ``--check-config`` prints the settings and ends."""
    parser = argparse.ArgumentParser(prog=f"kinemesh-{name}", description=f"The Kinemesh service {name}.")
    parser.add_argument("--check-config", action="store_true", help="print the settings, secrets hidden, and end")
    arguments = parser.parse_args()
    settings = load(settings_type)
    if arguments.check_config:
        sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
        return
    configure_logging(name, settings.log)
    flush_spans = configure_tracing(name, settings.tracing)
    stop_metrics = serve_metrics(settings.metrics)
    try:
        failed = asyncio.run(_serve(name, settings, app))
    finally:
        stop_metrics()
        flush_spans()
    if failed:
        sys.exit(1)


async def _serve(name: str, settings: S, app: App[S]) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Stopping must also work while a dependency is still being waited for.
    started = asyncio.create_task(_run_until(stop, name, settings, app))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((started, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return await started


async def _run_until(stop: asyncio.Event, name: str, settings: S, app: App[S]) -> bool:
    async with app(settings) as service:
        server, health_servicer, port = await _start_grpc(settings, service.servicers)
        _log.info("serving", grpc_port=port)
        names = [servicer.name for servicer in service.servicers]
        following = asyncio.create_task(follow_dependencies(health_servicer, names, service.dependencies))
        loops = [asyncio.ensure_future(work(stop)) for work in service.loops]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, following, *loops), return_when=asyncio.FIRST_COMPLETED)
        failures = [task.exception() for task in (following, *loops) if task.done() and not task.cancelled()]
        for failure in failures:
            _log.error("a part of the service ended", exc_info=failure)
        _log.info("draining")
        stop.set()
        await health_servicer.enter_graceful_shutdown()
        following.cancel()
        stopping.cancel()
        await server.stop(settings.drain_s)
        await asyncio.gather(*loops, following, stopping, return_exceptions=True)
    _log.info("stopped", service_name=name)
    return bool(failures)


async def _start_grpc(
    settings: ServiceSettings, servicers: Sequence[Servicer]
) -> tuple[grpc.aio.Server, HealthServicer, int]:
    size = settings.grpc.max_message_mb * 1024 * 1024
    server = grpc.aio.server(
        interceptors=[CallInterceptor()],
        options=[
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=1024,
    )
    for servicer in servicers:
        servicer.add(servicer.implementation, server)
    health_servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = [servicer.name for servicer in servicers]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port(f"{settings.grpc.host}:{settings.grpc.port}")
    await server.start()
    return server, health_servicer, port
