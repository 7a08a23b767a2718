"""``python -m kinemesh_ingest.requeue``: go on with a broker that has lost its streams, or has those of another moment.

For after a restore of the catalogue. It makes all streams anew but that of dead letters, and publishes what every
unfinished job waits for. All services must be stopped. Reads the settings of ingest.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

from nats.js.errors import NotFoundError

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.topology import CONSUMERS, EVENTS, EXHAUSTED, OUTCOMES, TASKS
from kinemesh.errors import FailedPrecondition
from kinemesh.settings import load
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.catalogue.outbox import publish_all
from kinemesh_ingest.commands import tell
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.settings import IngestSettings

_NAME: Final = "requeue"


def main() -> int:
    """Run the command; answers with the status to end with: 0 when done, 1 when refused, 2 for wrong settings."""
    settings = load(IngestSettings)
    return tell(lambda: f"jobs that go on: {asyncio.run(_requeue(settings))}")


async def _requeue(settings: IngestSettings) -> int:
    async with open_database(settings.database) as engine:
        async with asyncio.timeout(settings.start_s), connect(settings.nats, _NAME) as bus:
            await _require_idle(bus)
            # A stream that is kept knows the ids of what was published within the hour, and would drop it.
            for name in (TASKS, OUTCOMES, EXHAUSTED, EVENTS):
                await bus.jetstream.delete_stream(name)
        async with asyncio.timeout(settings.start_s), connect(settings.nats, _NAME) as bus:
            conductor = Conductor(engine, 1, settings.retention.late_sweep_s)
            count = await conductor.requeue()
            await publish_all(engine, bus)
    return count


async def _require_idle(bus: Bus) -> None:
    for consumer in CONSUMERS:
        with contextlib.suppress(NotFoundError):
            if (await bus.jetstream.consumer_info(consumer.stream, consumer.durable)).num_waiting:
                raise FailedPrecondition(
                    "SERVICES_RUNNING",
                    "Services of the mesh still take tasks: stop them all.",
                    waiting=consumer.durable,
                )


if __name__ == "__main__":
    sys.exit(main())
