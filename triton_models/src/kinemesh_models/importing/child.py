"""What a confined process runs: it raises the walls, says which stand, and only then imports and does its task."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from kinemesh_models.importing.walls import Limits, raise_walls
from kinemesh_models.refusal import RefusedError


def main() -> None:
    """Read the task from stdin; answer on stdout with two lines of JSON, the walls and the result."""
    task = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sys.path += task["code"]
    walls = raise_walls(
        Limits(**task["limits"]), Path(task["scratch"]), [Path(path) for path in task["code"]], to_nobody=task["nobody"]
    )
    _say(answers, asdict(walls))
    if task["demand"] and not (walls.network and (walls.files or walls.user == "nobody")):
        text = "This machine offers no way to keep the code of weights from the network and from files."
        _say(answers, {"error": _error("CONVERSION_FAILED", text)})
        return
    _say(answers, {**_run(task["entry"], task["arguments"]), "peak_bytes": _peak()})


def _run(entry: str, arguments: dict[str, object]) -> dict[str, object]:
    module, _, function = entry.partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), function)(**arguments)}
    except RefusedError as refused:
        return {"error": _error(refused.reason, refused.message, **refused.metadata)}
    except MemoryError:
        return {"error": _error("CONVERSION_LIMIT", "The model needs more memory than it may have.", limit="memory")}
    except Exception as error:  # noqa: BLE001 (whatever a library raises over a user's file becomes an answer)
        text = next(iter(str(error).splitlines()), "")[:500]
        if "bad_alloc" in text or "allocate memory" in text:  # how C++ and torch say MemoryError
            return {
                "error": _error("CONVERSION_LIMIT", "The model needs more memory than it may have.", limit="memory")
            }
        return {"error": _error("CONVERSION_FAILED", f"The model cannot be read: {type(error).__name__}: {text}.")}


def _error(reason: str, message: str, **metadata: str) -> dict[str, object]:
    return {"reason": reason, "message": message, "metadata": metadata}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _say(answers: TextIO, answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
