"""Plays ``python -m kinemesh_models``: the same commands and answers, with models that find what they are told to.

A file of weights says behind its first bytes, in JSON, what becomes of it: ``labels`` of the model, or ``refuse`` with
a reason, ``broken`` for one that cannot be loaded, ``crash``, or ``wait`` for a file to appear.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

HEAD = b"\x08\x08\x12"

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 16
input [ {{ name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }} ]
output [ {{ name: "boxes" data_type: TYPE_FP32 dims: [ 300, 6 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
"""

EMBEDDER = """
name: "{name}"
backend: "python"
max_batch_size: 64
input [ {{ name: "image" data_type: TYPE_UINT8 dims: [ 256, 128, 3 ] }} ]
output [ {{ name: "embedding" data_type: TYPE_FP32 dims: [ 4 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
"""

MODEL = """
import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            image = backend.get_input_tensor_by_name(request, "image").as_numpy()
            boxes = np.zeros((len(image), 300, 6), np.float32)
            boxes[:, 0] = 8, 16, 24, 48, 0.9, 0
            boxes[:, 1] = 0, 0, 16, 16, 0.3, 1
            responses.append(backend.InferenceResponse([backend.Tensor("boxes", boxes)]))
        return responses
"""


EMBEDDING = """
import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            image = backend.get_input_tensor_by_name(request, "image").as_numpy()
            halves = image[:, :128].mean((1, 2)), image[:, 128:, :, :1].mean((1, 2))
            seen = np.concatenate(halves, axis=1).astype(np.float32)
            vectors = seen / np.linalg.norm(seen, axis=1, keepdims=True)
            responses.append(backend.InferenceResponse([backend.Tensor("embedding", vectors)]))
        return responses
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["import", "add", "remove"])
    parser.add_argument("subject")
    parser.add_argument("--name")
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--licence", default="")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--task", default="detector")
    for option in ("--order", "--mean", "--scale"):
        parser.add_argument(option, default="")
    parser.add_argument("--accelerator", choices=["cpu"])
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--json", action="store_true", required=True)
    arguments = parser.parse_args()
    print("noise before the answer")
    if arguments.command == "remove":
        if not (arguments.repository / arguments.subject).is_dir():
            return refuse("MODEL_NOT_FOUND")
        shutil.rmtree(arguments.repository / arguments.subject)
        print(json.dumps({"model": arguments.subject}))
        return 0
    if arguments.command == "add":
        if arguments.subject.startswith("unknown"):
            return refuse("UNKNOWN_MODEL")
        source = os.environ.get("KINEMESH_TEST_SOURCE", "manifest")
        return write(arguments.repository, arguments.subject, ["person", "chair"], source)
    told = Path(arguments.subject).read_bytes().removeprefix(HEAD)
    wanted: dict[str, Any] = json.loads(told)
    if wanted.get("crash"):
        print("a detail of the inside", file=sys.stderr)
        return 3
    if wait := wanted.get("wait"):
        Path(f"{wait}.begun").touch()
        deadline = time.monotonic() + 300
        while not Path(wait).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    if reason := wanted.get("refuse"):
        seen = {"suffix": Path(arguments.subject).suffix, "licence": arguments.licence}
        colors = " ".join((arguments.order, arguments.mean, arguments.scale))
        facts = {"picture": bool(arguments.picture), "environment": " ".join(sorted(os.environ)), "colors": colors}
        return refuse(reason, **seen, **facts)
    labels = arguments.label or wanted["labels"]
    return write(
        arguments.repository,
        arguments.name,
        labels,
        "imported",
        broken=bool(wanted.get("broken")),
        task=arguments.task,
        preferred=bool(wanted.get("preferred")),
    )


def write(
    repository: Path,
    name: str,
    labels: list[str],
    source: str,
    *,
    broken: bool = False,
    task: str = "detector",
    preferred: bool = False,
) -> int:
    folder = repository / name
    if folder.exists():
        return refuse("MODEL_EXISTS")
    (folder / "1").mkdir(parents=True)
    facts = {
        "task": task, "labels": json.dumps(labels), "source": source, "sha256": "ab" * 32, "size_bytes": "7",
        "size": "64", "resizable": "true", "runtime": "numpy", "licence": "Apache-2.0", "description": "A test",
        "preference": "1" if source == "embedded" or preferred else "0",
    }  # fmt: skip
    parameters = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n' for key, value in facts.items()
    )
    config, code = (CONFIG, MODEL) if task == "detector" else (EMBEDDER, EMBEDDING)
    (folder / "1" / "model.py").write_text("raise RuntimeError" if broken else code)
    (folder / "config.pbtxt").write_text(config.format(name=name) + parameters)
    told = {"model": name, "labels": labels, "sha256": facts["sha256"], "size_bytes": 7}
    print(json.dumps({**told, "input_width": 64, "input_height": 64}))
    return 0


def refuse(reason: str, **metadata: Any) -> int:
    print(json.dumps({"error": {"reason": reason, "message": "It is refused.", "metadata": metadata}}))
    return 1


if __name__ == "__main__":
    sys.exit(main())
