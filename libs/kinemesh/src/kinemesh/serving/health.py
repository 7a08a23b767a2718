"""Health that follows real dependencies: a service that cannot reach what it needs says NOT_SERVING."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from kinemesh.telemetry.metrics import DEPENDENCY_UP

Check = Callable[[], Awaitable[bool]]
"""Whether a dependency answers; one that raises does not."""

_log = structlog.get_logger()


async def follow_dependencies(
    servicer: HealthServicer,
    services: Sequence[str],
    checks: Mapping[str, Check],
    *,
    interval_s: float = 2.0,
    timeout_s: float = 3.0,
) -> None:
    """Set the health of all services from the checks, again and again, until cancelled.

    The empty service name, which probes ask for, follows the same state.
    """
    known: dict[str, bool] = {}
    while True:
        answers = await asyncio.gather(*(_answers(check, timeout_s) for check in checks.values()))
        for name, up in zip(checks, answers, strict=True):
            DEPENDENCY_UP.labels(name).set(up)
            if known.get(name) != up and (name in known or not up):
                _log.info("dependency is back" if up else "dependency is down", dependency=name)
            known[name] = up
        serving = health_pb2.HealthCheckResponse.SERVING if all(answers) else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *services):
            await servicer.set(service, serving)
        await asyncio.sleep(interval_s if all(answers) else interval_s / 4)


async def _answers(check: Check, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await check()
    except Exception:  # noqa: BLE001 - whatever goes wrong, the dependency does not answer
        return False
