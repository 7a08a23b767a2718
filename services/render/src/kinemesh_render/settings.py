"""The service's settings; see :mod:`kinemesh.settings` for the names of the variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from kinemesh.confined.settings import DecodingSettings
from kinemesh.inference import TritonSettings
from kinemesh.settings import Group, ServiceSettings
from kinemesh.storage import S3Settings


class EncoderSettings(Group):
    """How x264 encodes. All parts of a job must be encoded alike, so workers of one mesh share these."""

    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = Field(
        default="ultrafast",
        description="at equal quality ultrafast takes half of superfast's time and 1.5 times its bytes",
    )
    crf: int = Field(default=23, ge=0, le=51, description="quality; less is better and larger")
    gop: int = Field(default=60, ge=1, le=600, description="most frames between keyframes")
    threads: int = Field(default=1, ge=1, le=16)


class WorkSettings(Group):
    """How much is done at once, and where."""

    render_slots: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=64, description="segments at once"
    )
    mosaic_slots: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 2) // 2), ge=1, le=64, description="windows at once"
    )
    mosaic_rate: float = Field(default=15.0, ge=1, le=60, description="most frames per second of the mosaic")
    finalize_slots: int = Field(default=1, ge=1, le=16, description="videos joined at once")
    decoder_threads: int = Field(default=1, ge=1, le=16)
    scratch_dir: Path | None = Field(default=None, description="for temporary files; the system's place if unset")


class PictureSettings(Group):
    """What a single picture may ask for."""

    max_pixels: int = Field(default=33_177_600, ge=1, description="width times height")
    max_bytes: int = Field(default=24 * 1024 * 1024, ge=1)


class RenderSettings(ServiceSettings):
    """Everything that the service reads from the environment."""

    s3: S3Settings = S3Settings()
    decoding: DecodingSettings = DecodingSettings()
    triton: TritonSettings = TritonSettings()
    face_model: str = "face_detector"
    encoder: EncoderSettings = EncoderSettings()
    work: WorkSettings = WorkSettings()
    picture: PictureSettings = PictureSettings()
