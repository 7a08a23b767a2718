"""What the matching service reads from the environment."""

from __future__ import annotations

import os

from pydantic import Field

from kinemesh.confined.settings import DecodingSettings
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.serving.upstreams import UpstreamSettings
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage.settings import S3Settings


class MatchingSettings(Group):
    """How pictures are matched."""

    frame_side: int = Field(
        default=1280, ge=320, le=4096, description="longest side in pixels to which frames of videos are scaled"
    )
    frame_features: int = Field(default=3000, ge=100, le=20000, description="features of a frame, at most")
    kept_references: int = Field(default=16, ge=1, le=1024, description="whose features are held in memory")
    decoder_threads: int = Field(default=1, ge=1, le=16)
    max_pixels: int = Field(default=MOST_PIXELS, ge=1, description="of a picture")


class SlotSettings(Group):
    """How many tasks are taken at once."""

    match: int = Field(default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=64)
    retarget: int = Field(default=1, ge=1, le=16)


class MatcherSettings(ServiceSettings):
    """All settings of the matching service."""

    s3: S3Settings = S3Settings()
    decoding: DecodingSettings = DecodingSettings()
    matching: MatchingSettings = MatchingSettings()
    slots: SlotSettings = SlotSettings()
    upstreams: UpstreamSettings = UpstreamSettings()
