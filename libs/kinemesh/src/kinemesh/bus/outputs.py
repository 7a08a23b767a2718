"""What a task leaves for the job's user."""

from __future__ import annotations

from collections.abc import Iterable

from kinemesh.job.v1 import job_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore


async def put_outputs(
    store: ObjectStore, job_id: str, files: Iterable[tuple[str, str, bytes]]
) -> list[job_pb2.JobOutput]:
    """Write files, given as (name, media type, content), where the job's user gets them; answers with what they are."""
    outputs = []
    for name, content_type, data in files:
        await store.put_bytes(keys.output(job_id, name), data, content_type)
        outputs.append(job_pb2.JobOutput(name=name, content_type=content_type, size_bytes=len(data)))
    return outputs
