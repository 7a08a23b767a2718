"""Our own services as child processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh.access.tls import Tls
from kinemesh.embedded.checks import ASK_S, Check
from kinemesh.embedded.process import ServerSpec
from kinemesh.inference.shared_memory import PREFIX
from kinemesh.memory import ALLOCATION
from kinemesh.serving.channel import open_channel


def service_spec(
    name: str,
    env: Mapping[str, str],
    log: Path,
    scratch: Path,
    ready: Check,
    *,
    service: str = "",
    address: str = "",
    after: tuple[str, ...] = (),
    restarts: int = 0,
    niceness: int = 0,
) -> ServerSpec:
    """``python -m kinemesh_<service>`` with the settings in ``env``.

    :param service: the service that it is; ``name`` if empty.
    :param niceness: how much it gives way to the others where they all share the processor.
    :param scratch: a folder for its temporary files. It is emptied at each start: a killed service leaves some behind.
    """

    def prepare() -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)

    return ServerSpec(
        name=name,
        argv=(
            *(("nice", "-n", str(niceness)) if niceness else ()),
            sys.executable,
            "-m",
            f"kinemesh_{service or name}",
        ),
        ready=ready,
        log=log,
        address=address,
        env={**ALLOCATION, "PYTHONUNBUFFERED": "1", "TMPDIR": str(scratch), **env},
        prepare=prepare,
        after=after,
        restarts=restarts,
        grace_s=15.0,
        leftovers=(f"/dev/shm/{PREFIX}{{pid}}_*",),  # noqa: S108 - POSIX shared memory, not a temporary file
    )


def grpc_serving(address: str, service: str = "", *, tls: Tls | None = None) -> Check:
    """Ready once ``grpc.health.v1`` says SERVING."""

    async def ask() -> bool:
        try:
            async with open_channel(address, tls) as channel:
                request = health_pb2.HealthCheckRequest(service=service)
                answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=ASK_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return ask
