"""Run by the model server's Python: runs one task behind the walls and prints its answer, or why there is none."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from kinemesh_models.importing import confined
from kinemesh_models.importing.walls import Limits
from kinemesh_models.refusal import RefusedError


def main() -> None:
    task = json.load(sys.stdin)
    with confined.scratch_folder() as scratch:
        for name, file in task["files"].items():
            confined.copy(Path(file), scratch / name, 1 << 30)
        try:
            answer = confined.run(
                Path(task["python"]),
                f"hostile_tasks:{task['entry']}",
                task["arguments"],
                scratch,
                Limits(**task["limits"]),
                code=(Path(__file__).parent,),
            )
            if task["take"]:
                confined.copy(scratch / task["take"], scratch / "taken", 1 << 20)
        except RefusedError as error:
            print(json.dumps({"reason": error.reason, "metadata": error.metadata}))
        else:
            print(json.dumps(asdict(answer)))


if __name__ == "__main__":
    main()
