"""What the detection and tracking service reads from the environment."""

from __future__ import annotations

from kinemesh.inference.settings import TritonSettings
from kinemesh.settings import ServiceSettings
from kinemesh.storage.settings import S3Settings


class DetectTrackSettings(ServiceSettings):
    """All settings of the detection and tracking service."""

    s3: S3Settings = S3Settings()
    triton: TritonSettings = TritonSettings()
