"""How unproven bytes are decoded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DecodingSettings(BaseModel):
    """Whether in processes of their own, and what these may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confined: bool = Field(default=True, description="false decodes inside the service")
    memory_mb: int = Field(default=2048, ge=64, description="of one decoder, beside the 150 MB that it begins with")
    look_s: float = Field(default=60.0, gt=0, description="for a look at an upload, or one picture")
    index_s: float = Field(default=3600.0, gt=0, description="for going through a whole video once")
    silent_s: float = Field(default=60.0, gt=0, description="without a frame and without reading on")
