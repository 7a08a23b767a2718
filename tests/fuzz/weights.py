"""Run by the models' Python: the importer may take damaged weights or refuse them, and nothing else.

``weights.py FOLDER IMPORTS``: files of weights, and how many of those that are well-formed are imported as a whole. The
last line of the output is JSON: how many were refused and imported, and what made the importer fail, by name of file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kinemesh_models.importer import Source, import_model, to_onnx
from kinemesh_models.importing import onnx_structure, pickles
from kinemesh_models.refusal import RefusedError

READERS: dict[str, Callable[[Path], object]] = {".pt": pickles.layers_and_values, ".onnx": onnx_structure.check}


def main(folder: Path, imports: int) -> None:
    """Read all files, and import some."""
    refused = imported = 0
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, path in enumerate(sorted(folder.iterdir())):
            try:
                READERS[path.suffix](path)
                if imported < imports:
                    imported += 1
                    _import(path, Path(scratch) / str(number))
            except RefusedError as error:
                refused += 1
                # A library may crash behind its walls, which are for that; a child of ours that gives up is a defect.
                if int(error.metadata.get("status", -1)) >= 0:
                    failures[path.name] = f"{error} {error.metadata}"
            except Exception as error:  # noqa: BLE001 - whatever it is, the file is wanted
                failures[path.name] = f"{type(error).__name__}: {error}"
    print(json.dumps({"refused": refused, "imported": imported, "failures": failures}))


def _import(path: Path, target: Path) -> None:
    if path.suffix == ".pt":
        to_onnx(path, target)
    else:
        import_model(Source(path), "mine", target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
