"""Inference in NVIDIA Triton: numpy arrays in, numpy arrays out."""

from kinemesh.inference.client import Sequence, TritonClient
from kinemesh.inference.settings import TritonSettings
from kinemesh.inference.shared_memory import sweep_stale_regions

__all__ = ["Sequence", "TritonClient", "TritonSettings", "sweep_stale_regions"]
