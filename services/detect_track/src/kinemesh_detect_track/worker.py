"""The stages of the detection and tracking service."""

from __future__ import annotations

from kinemesh.bus.tasks import Handle

STAGES: tuple[tuple[str, Handle, int], ...] = ()
"""``(stage, handler, slots)``; no pipeline has a stage for this service yet."""
