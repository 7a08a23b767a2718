"""Video in and out: probing, indexing, exact decoding of ranges, H.264 encoding, joining and copying. Built on PyAV."""

from __future__ import annotations

from kinemesh.media.concat import concatenate, read_times
from kinemesh.media.decode import decode
from kinemesh.media.encode import H264Writer
from kinemesh.media.index import FrameIndex, build_index
from kinemesh.media.probe import probe
from kinemesh.media.remux import plays_in_browsers, remux
from kinemesh.media.source import BinaryFile, Source
from kinemesh.media.types import DEFAULT_LIMITS, Frame, Limits, Orientation, VideoInfo
from kinemesh.nv12 import Image

__all__ = [
    "DEFAULT_LIMITS",
    "BinaryFile",
    "Frame",
    "FrameIndex",
    "H264Writer",
    "Image",
    "Limits",
    "Orientation",
    "Source",
    "VideoInfo",
    "build_index",
    "concatenate",
    "decode",
    "plays_in_browsers",
    "probe",
    "read_times",
    "remux",
]
