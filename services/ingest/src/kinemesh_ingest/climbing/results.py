"""What a job over attempts has found, noted with the attempts and the reference image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue import attempts, references
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.domain.climb import figures_of


async def note_results(connection: AsyncConnection, job: AnyRow) -> None:
    """Note what a job's summary says, in the transaction in which the job succeeds."""
    asked, told = job.parameters["route_match"], job.summary
    reported = {one.get("camera"): one for one in told.get("attempts", []) if isinstance(one, Mapping)}
    named = [one for one in asked.get("attempts", []) if one.get("attempt_id")]
    for one in sorted(named, key=lambda attempt: str(attempt["attempt_id"])):
        found: dict[str, Any] = {"job_id": job.job_id}
        # What an earlier job has written stays, where this one wrote none.
        found |= {name: True for name in ("has_poses", "has_features") if told.get(name)}
        if metrics := figures_of(reported.get(one["camera"], {}).get("metrics")):
            found["metrics"] = metrics
        await attempts.note(connection, one["attempt_id"], **found)
    features = told.get("reference_features")
    if asked.get("reference") and isinstance(features, int | float) and 0 < features < 2**31:
        await references.note_features(connection, asked["reference"], int(features))
