"""A decoder for tests of what follows decoding."""

from __future__ import annotations

from typing import Final

from kinemesh.confined.settings import DecodingSettings
from kinemesh.media.confined import Decoder

IN_PROCESS: Final = Decoder(DecodingSettings(confined=False))
"""Starts no processes. That confined decoding gives the same bytes has tests of its own."""
