"""What the detection and tracking service reads from the environment."""

from __future__ import annotations

import os

from pydantic import Field

from kinemesh.confined.settings import DecodingSettings
from kinemesh.inference.settings import TritonSettings
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.serving.upstreams import UpstreamSettings
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage.settings import S3Settings


class DetectionSettings(Group):
    """How objects are found."""

    in_flight: int = Field(
        default=4, ge=1, le=64, description="frames of a task that the model server is given at once"
    )
    stream_frames: int = Field(default=4, ge=1, le=64, description="the same of a live stream, decoding included")
    decoder_threads: int = Field(default=1, ge=1, le=16)
    max_pixels: int = Field(default=MOST_PIXELS, ge=1, description="of a picture in a request")
    embed_interval_s: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="how often people are looked at to recognise them, by the recording's clock",
    )
    known_s: float = Field(
        default=2.0, ge=0, le=60, description="how long what a model takes is believed before it is asked for again"
    )


class SlotSettings(Group):
    """How many tasks are taken at once."""

    detect: int = Field(default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=64)
    track: int = Field(default=1, ge=1, le=16)
    refine: int = Field(default=1, ge=1, le=16)
    associate: int = Field(default=1, ge=1, le=16)
    resolve: int = Field(default=1, ge=1, le=16)


class QuerySettings(Group):
    """How much a query may take."""

    timeout_s: float = Field(default=20.0, gt=0, le=300)
    memory_mb: int = Field(default=512, ge=64, le=65536)
    cache_mb: int = Field(default=1024, ge=1, description="of finished jobs' tables, on disk")


class DetectTrackSettings(ServiceSettings):
    """All settings of the detection and tracking service."""

    s3: S3Settings = S3Settings()
    decoding: DecodingSettings = DecodingSettings()
    triton: TritonSettings = TritonSettings()
    detection: DetectionSettings = DetectionSettings()
    slots: SlotSettings = SlotSettings()
    upstreams: UpstreamSettings = UpstreamSettings()
    query: QuerySettings = QuerySettings()
