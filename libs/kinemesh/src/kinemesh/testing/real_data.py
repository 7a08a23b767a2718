"""Real weights, footage and ground truth, for the tests that are marked ``data``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def real_data() -> Path:
    """The folder that KINEMESH_TEST_DATA names. Skips the test where it names none."""
    folder = os.environ.get("KINEMESH_TEST_DATA")
    if not folder:
        pytest.skip("KINEMESH_TEST_DATA names no folder")
    return Path(folder)
