"""Runs a service: settings in, one process that serves, works, and drains when it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME
from grpc_reflection.v1alpha import reflection

from kinemesh.access.gate import Gate
from kinemesh.access.tls import read_tls
from kinemesh.access.tokens import tokens_of
from kinemesh.serving.health import Check, HealthServicer, follow_dependencies
from kinemesh.serving.interceptor import CallInterceptor
from kinemesh.settings import ServiceSettings, load
from kinemesh.telemetry.logging import configure_logging
from kinemesh.telemetry.metrics import serve_metrics
from kinemesh.telemetry.tracing import configure_tracing

S = TypeVar("S", bound=ServiceSettings)

# Work that is cancelled after its grace gets this long to let go of what it holds.
_DRAIN_MARGIN_S = 3.0

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
    :ivar rehearse: does once, on something tiny, what the work consists of, before any is taken. So a missing codec or
        font ends the process at its start instead of a user's job, and the first job waits for nothing to be loaded.
    """

    servicers: Sequence[Servicer] = ()
    loops: Sequence[Callable[[asyncio.Event], Awaitable[None]]] = ()
    dependencies: Mapping[str, Check] = field(default_factory=dict)
    rehearse: Callable[[], None] = lambda: None


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
    try:
        configure_logging(name, settings.log, settings.audit.file)
    except OSError as error:
        sys.stderr.write(f"KINEMESH_AUDIT__FILE: cannot be written: {error.strerror}\n")
        sys.exit(2)
    flush_spans = configure_tracing(name, settings.tracing)
    stop_metrics = serve_metrics(settings.metrics)
    try:
        status = asyncio.run(_serve(settings, app))
    finally:
        stop_metrics()
        flush_spans()
    sys.exit(status)


async def _serve(settings: S, app: App[S]) -> int:
    stop, started = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(_run_until(stop, started, settings, app))

    def on_signal() -> None:
        stop.set()
        if not started.is_set():
            running.cancel()  # it may be waiting for something that never comes

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        return await running
    except asyncio.CancelledError:
        _log.info("stopped before it had started")
        return 0
    except Exception as error:  # noqa: BLE001 - the log tells what standard error would
        _log.error("could not stop cleanly", exc_info=error)
        return 1


async def _run_until(stop: asyncio.Event, started: asyncio.Event, settings: S, app: App[S]) -> int:
    """Start, serve until ``stop`` or until a part fails, drain; returns the status that the process ends with."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(settings.start_s) as limit:
                service = await stack.enter_async_context(app(settings))
                await asyncio.to_thread(service.rehearse)
                server, health, port = await _start_grpc(settings, service.servicers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the log says so and the process ends
            if limit.expired():
                _log.error("could not start: what the service needs was not there in time", waited_s=settings.start_s)
            else:
                _log.error("could not start", exc_info=error)
            return 1
        started.set()
        _log.info("serving", grpc_port=port)
        following = asyncio.create_task(follow_dependencies(health, service.dependencies))
        loops = [asyncio.ensure_future(work(stop)) for work in service.loops]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, following, *loops), return_when=asyncio.FIRST_COMPLETED)
        asked = stop.is_set()
        _log.info("draining")
        stop.set()
        health.close()
        following.cancel()
        await server.stop(settings.drain_s)
        late = await _drained(loops, settings.drain_s)
        ended = await asyncio.gather(*loops, following, return_exceptions=True)
    failures = [error for error in ended if isinstance(error, Exception)]
    for failure in failures:
        _log.error("a part of the service failed", exc_info=failure)
    if not asked and not failures:
        _log.error("a part of the service ended")
    _log.info("stopped")
    return 0 if asked and not failures and not late else 1


async def _drained(loops: Sequence[asyncio.Future[None]], drain_s: float) -> bool:
    """Wait for the loops, which drain by themselves; those that do not are cancelled. Whether there were any."""
    late = (await asyncio.wait(loops, timeout=drain_s + _DRAIN_MARGIN_S))[1] if loops else set()
    for loop in late:
        _log.error("a part of the service did not drain in time")
        loop.cancel()
    return bool(late)


async def _start_grpc(
    settings: ServiceSettings, servicers: Sequence[Servicer]
) -> tuple[grpc.aio.Server, HealthServicer, int]:
    size = settings.grpc.max_message_mb * 1024 * 1024
    tls = read_tls(settings.tls)
    server = grpc.aio.server(
        interceptors=[CallInterceptor(Gate(tokens_of(settings.auth)))],
        options=[
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=1024,
    )
    for servicer in servicers:
        servicer.add(servicer.implementation, server)
    names = [servicer.name for servicer in servicers]
    health = HealthServicer(names)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection([*names, HEALTH_NAME, reflection.SERVICE_NAME], server)
    address = f"{settings.grpc.host}:{settings.grpc.port}"
    port = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls.server())
    await server.start()
    return server, health, port
