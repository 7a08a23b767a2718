"""URLs under which users fetch what a job made."""

from __future__ import annotations

from typing import Final

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import PRESIGNED_FOR, ObjectStore
from kinemesh_ingest.catalogue.tables import AnyRow

DOWNLOAD_S: Final = int(PRESIGNED_FOR.total_seconds())


def output_download(store: ObjectStore, job: AnyRow, name: str) -> common_pb2.Download:
    """A URL for one output of a job.

    :raises NotFound: OUTPUT_NOT_FOUND.
    """
    found = [output for output in job.outputs if output["name"] == name]
    if not found:
        raise errors.NotFound("OUTPUT_NOT_FOUND", "The job made no such output.", name=name)
    return common_pb2.Download(
        url=store.presign_get(keys.output(job.job_id, name)),
        expires_in_sec=DOWNLOAD_S,
        content_type=found[0]["content_type"],
        size_bytes=int(found[0]["size_bytes"]),
    )
