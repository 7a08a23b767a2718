"""What the detection and tracking service reads from the environment."""

from __future__ import annotations

import os

from pydantic import Field

from kinemesh.inference.settings import TritonSettings
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage.settings import S3Settings


class DetectionSettings(Group):
    """How objects are found."""

    in_flight: int = Field(
        default=4, ge=1, le=64, description="frames of a task that the model server is given at once"
    )
    stream_frames: int = Field(default=4, ge=1, le=64, description="the same of a live stream, decoding included")
    decoder_threads: int = Field(default=1, ge=1, le=16)
    max_pixels: int = Field(default=8192 * 4320, ge=1, description="of a picture in a request")
    known_s: float = Field(
        default=2.0, ge=0, le=60, description="how long what a model takes is believed before it is asked for again"
    )


class SlotSettings(Group):
    """How many tasks are taken at once."""

    detect: int = Field(default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=64)
    track: int = Field(default=1, ge=1, le=16)
    refine: int = Field(default=1, ge=1, le=16)


class DetectTrackSettings(ServiceSettings):
    """All settings of the detection and tracking service."""

    s3: S3Settings = S3Settings()
    triton: TritonSettings = TritonSettings()
    detection: DetectionSettings = DetectionSettings()
    slots: SlotSettings = SlotSettings()
