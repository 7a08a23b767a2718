from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can get to, as PostgreSQL's if we are root; pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-test-") as folder:
        yield Path(folder)
