"""``python -m kinemesh_ingest.sweep``: delete now what the settings say is too old, and objects that no row knows.

Reads the settings of ingest, prints one JSON object of counts. Ingest itself deletes by age; objects without a row are
deleted by this command only, since after a restore they may be all that is left of what came later than the backup.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from kinemesh.settings import load
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.catalogue.expiry import expire
from kinemesh_ingest.commands import tell
from kinemesh_ingest.orphans import remove_orphans
from kinemesh_ingest.settings import IngestSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; answers with the status to end with: 0 when done, 1 when refused, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m kinemesh_ingest.sweep", description="Delete what is too old.")
    parser.add_argument("--dry-run", action="store_true", help="only count")
    parser.add_argument(
        "--orphans-hours", type=float, default=24.0, help="how old objects without a row must be (24)", metavar="HOURS"
    )
    asked = parser.parse_args(arguments)
    settings, age = load(IngestSettings), timedelta(hours=asked.orphans_hours)
    return tell(lambda: json.dumps(asyncio.run(_sweep(settings, age, asked.dry_run))))


async def _sweep(settings: IngestSettings, orphans_age: timedelta, count_only: bool) -> dict[str, object]:
    database = settings.database.model_copy(update={"migrate": False})
    async with open_database(database) as engine, ObjectStore(settings.s3) as store:
        expired = await expire(engine, settings.retention, count_only=count_only)
        orphans = await remove_orphans(engine, store, orphans_age, count_only=count_only)
    return {"dry_run": count_only, "expired": asdict(expired), "orphans": asdict(orphans)}


if __name__ == "__main__":
    sys.exit(main())
