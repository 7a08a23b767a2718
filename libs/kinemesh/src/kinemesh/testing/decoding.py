"""Decoders in tests."""

from __future__ import annotations

from typing import Final

import psutil

from kinemesh.confined.settings import DecodingSettings
from kinemesh.media.confined import Decoder

IN_PROCESS: Final = Decoder(DecodingSettings(confined=False))
"""Starts no processes. That confined decoding gives the same bytes has tests of its own."""


def confined_processes(pid: int | None = None) -> set[psutil.Process]:
    """The confined processes of ``pid``, or else our own: those at work, and those about to end."""
    family = psutil.Process(pid).children()
    zygotes = [one for one in family if "kinemesh.confined.zygote" in (one.as_dict(["cmdline"])["cmdline"] or ())]
    return {one for zygote in zygotes for one in zygote.children()}
