"""What the pose service reads from the environment."""

from __future__ import annotations

import os

from pydantic import Field

from kinemesh.confined.settings import DecodingSettings
from kinemesh.inference.settings import TritonSettings
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage.settings import S3Settings


class EstimationSettings(Group):
    """How poses are found."""

    detect_every: int = Field(
        default=10, ge=1, le=300, description="frames between two looks for newcomers; at most those of warm-up"
    )
    decoder_threads: int = Field(default=1, ge=1, le=16)
    max_pixels: int = Field(default=MOST_PIXELS, ge=1, description="of a picture in a request")


class SlotSettings(Group):
    """How many tasks are taken at once."""

    pose: int = Field(default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=64)
    stitch: int = Field(default=1, ge=1, le=16)
    movement: int = Field(default=1, ge=1, le=16)


class PoseSettings(ServiceSettings):
    """All settings of the pose service."""

    s3: S3Settings = S3Settings()
    decoding: DecodingSettings = DecodingSettings()
    triton: TritonSettings = TritonSettings()
    estimation: EstimationSettings = EstimationSettings()
    slots: SlotSettings = SlotSettings()
