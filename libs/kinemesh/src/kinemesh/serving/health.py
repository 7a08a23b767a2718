"""Health that follows real dependencies: a service that cannot reach what it needs says NOT_SERVING."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh import errors
from kinemesh.telemetry.metrics import DEPENDENCY_UP

Check = Callable[[], Awaitable[bool]]
"""Whether a dependency answers; one that raises does not."""

_Response = health_pb2.HealthCheckResponse
_log = structlog.get_logger()


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """``grpc.health.v1``: all services of a process share one state, also under the empty name that probes ask for.

    Nothing is healthy before it has been checked, and one that watches and hangs or leaves keeps nobody else waiting.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(("", *services))
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set(self, *, serving: bool) -> None:
        """Tell everybody, unless the process is about to end."""
        if self._closed or serving == self._serving:
            return
        self._serving = serving
        self._tell()

    def close(self) -> None:
        """Say NOT_SERVING for the last time, and let go of those who watch."""
        self._closed, self._serving = True, False
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        return _Response(status=_Response.SERVING if self._serving else _Response.NOT_SERVING)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            raise errors.NotFound("SERVICE_UNKNOWN", "There is no such service here.", service=request.service)
        return self._status(request.service)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last = None
        while True:
            changed, closed = self._changed, self._closed
            status = self._status(request.service)
            if status != last:
                yield status
                last = status
            if closed:
                return
            await changed.wait()


async def follow_dependencies(
    health: HealthServicer, checks: Mapping[str, Check], *, interval_s: float = 2.0, timeout_s: float = 3.0
) -> None:
    """Set the health from the checks, again and again, until cancelled."""
    known: dict[str, bool] = {}
    while True:
        answers = await asyncio.gather(*(_answers(check, timeout_s) for check in checks.values()))
        for name, up in zip(checks, answers, strict=True):
            DEPENDENCY_UP.labels(name).set(up)
            if known.get(name) != up and (name in known or not up):
                _log.info("dependency is back" if up else "dependency is down", dependency=name)
            known[name] = up
        health.set(serving=all(answers))
        await asyncio.sleep(interval_s if all(answers) else interval_s / 4)


async def _answers(check: Check, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await check()
    except Exception:  # noqa: BLE001 - whatever goes wrong, the dependency does not answer
        return False
