"""What ingest reads from the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from kinemesh.confined.settings import DecodingSettings
from kinemesh.inference.settings import TritonSettings
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage.settings import S3Settings


class DatabaseSettings(Group):
    """The catalogue."""

    url: SecretStr = SecretStr("postgresql+psycopg://localhost/kinemesh")
    connections: int = Field(default=8, ge=2, le=100, description="held open by each process")
    overflow: int = Field(default=0, ge=0, le=100, description="more that a process may open for a while")
    timeout_s: float = Field(default=10.0, gt=0, le=120, description="of a statement, and of waiting for a connection")
    lock_s: float = Field(default=10.0, gt=0, le=120, description="longest wait for a row or table that another holds")
    idle_transaction_s: float = Field(default=120.0, ge=10, le=3600, description="then the server ends a transaction")
    recycle_s: int = Field(default=1800, ge=60, description="age at which a connection is replaced")
    migrate: bool = Field(default=True, description="at start; else ingest refuses a schema that is not the newest")


class UploadSettings(Group):
    """What users may bring."""

    max_size_mb: int = Field(default=5120, ge=1)
    max_picture_mb: int = Field(default=64, ge=1, le=1024)
    max_weights_mb: int = Field(default=512, ge=1)
    part_size_mb: int = Field(default=64, ge=5, le=5120, description="larger files are uploaded in parts of this size")
    url_expires_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    max_pixels: int = Field(default=MOST_PIXELS, ge=1)
    max_frames: int = Field(default=2_000_000, ge=1)
    max_duration_s: float = Field(default=12 * 3600.0, gt=0)


class QuotaSettings(Group):
    """What an owner may use who has no limits of their own; 0 sets none."""

    storage_gb: float = Field(
        default=0, ge=0, description="of assets, announced uploads and outputs of jobs; 1 GB is 10⁹ bytes"
    )
    active_jobs: int = Field(default=0, ge=0, description="jobs that have not ended")
    pending_uploads: int = Field(default=0, ge=0, description="uploads that were announced and not confirmed")


class ModelsSettings(Group):
    """How models are brought in while the mesh runs; without a program and a repository none can be."""

    python: Path | None = Field(default=None, description="interpreter that kinemesh_models is installed for")
    repository: Path | None = Field(default=None, description="where it writes models; the model server reads it too")
    accelerator: Literal["cpu", "nvidia", "amd", "mac"] = "cpu"
    import_timeout_s: float = Field(default=1800.0, gt=0)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.python is None) != (self.repository is None):
            raise ValueError("python and repository must be set together")
        return self


def inherited() -> dict[str, str]:
    """What of our environment a program gets that handles users' files: none of the settings, nor other secrets."""
    names = ("PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy")
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or (name.startswith("KINEMESH_") and "__" not in name)
    }


class ConductorSettings(Group):
    """How work is cut and handed out."""

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="segments worked on at once, over all machines"
    )
    min_segment_frames: int = Field(default=48, ge=1)
    max_segment_frames: int = Field(default=240, ge=1)
    warm_up_frames: int = Field(default=10, ge=0, le=300)
    window: int | None = Field(
        default=None, ge=1, le=1000, description="tasks of one job that may be queued at once; workers + 1 if unset"
    )
    window_sec: float = Field(
        default=10.0, ge=1.0, le=600.0, description="seconds over all cameras that are associated in one go, about"
    )


class RetentionSettings(Group):
    """What is cleaned up, and when."""

    pending_upload_hours: float = Field(default=24.0, gt=0)
    sweep_interval_s: float = Field(default=5.0, gt=0)
    late_sweep_s: float = Field(default=60.0, ge=0, description="a second look after workers that wrote too late")
    jobs_days: float = Field(default=0.0, ge=0, description="after their end, with all their results; 0 keeps them")
    uploads_days: float = Field(default=0.0, ge=0, description="media that nothing names any more; 0 keeps it")
    requests_hours: float = Field(default=168.0, ge=1, description="by when a repeated request must have come")
    matching_hours: float = Field(
        default=168.0, gt=0, description="files between the stages of jobs that match attempts, after the job has ended"
    )


class IngestSettings(ServiceSettings):
    """All settings of ingest."""

    s3: S3Settings = S3Settings()
    triton: TritonSettings = TritonSettings()
    database: DatabaseSettings = DatabaseSettings()
    upload: UploadSettings = UploadSettings()
    decoding: DecodingSettings = DecodingSettings()
    quota: QuotaSettings = QuotaSettings()
    models: ModelsSettings = ModelsSettings()
    conductor: ConductorSettings = ConductorSettings()
    retention: RetentionSettings = RetentionSettings()
