"""``python -m kinemesh.bus.apply``: the streams and consumers of the mesh on the broker, as this version has them.

Every service does the same when it starts. Done on its own before an upgrade, a broker that does not take them stops
the upgrade and not the services. Reads ``KINEMESH_NATS__…`` (``__REPLICAS`` says how many copies the streams have),
``KINEMESH_START_S`` and ``KINEMESH_LOG__…``. Ends with status 0 when done, 1 when refused or not done in time, 2 for
wrong settings.
"""

from __future__ import annotations

import asyncio
import sys

import structlog

from kinemesh.bus.connection import connect
from kinemesh.bus.topology import CONSUMERS, streams
from kinemesh.errors import KinemeshError
from kinemesh.settings import NatsSettings, ServiceSettings, load
from kinemesh.telemetry.logging import configure_logging

_log = structlog.get_logger()


def main() -> int:
    settings = load(ServiceSettings)
    configure_logging("topology", settings.log)
    try:
        asyncio.run(apply(settings.nats, settings.start_s))
    except KinemeshError as error:
        _log.error(error.message, reason=error.reason)
        return 1
    except TimeoutError:
        _log.error("the broker did not take the topology in time", waited_s=settings.start_s)
        return 1
    return 0


async def apply(settings: NatsSettings, timeout_s: float) -> None:
    """Make the broker's streams and consumers those of this version; what they hold stays.

    :raises FailedPrecondition: BROKER_TOPOLOGY, BROKER_FILE, as :func:`kinemesh.bus.connection.connect`.
    :raises TimeoutError: when the broker was not there, or not ready, for so long.
    """
    async with asyncio.timeout(timeout_s), connect(settings, "topology"):
        names = [config.name for config in streams(settings.replicas)]
        _log.info("applied", streams=names, consumers=len(CONSUMERS), replicas=settings.replicas)


if __name__ == "__main__":
    sys.exit(main())
