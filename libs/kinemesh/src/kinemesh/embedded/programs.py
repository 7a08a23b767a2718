"""Where the programs of installed wheels lie."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from kinemesh.errors import FailedPrecondition


def program(name: str) -> str:
    """The path of a program of this environment, or else of PATH.

    :raises FailedPrecondition: ``PROGRAM_MISSING``.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise FailedPrecondition(
            "PROGRAM_MISSING", f"{name} is not installed: the extra kinemesh[embedded] holds it.", program=name
        )
    return found
