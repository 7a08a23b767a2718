"""Detectors of every kind whose answers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.testing.fixtures import triton_python
from kinemesh.testing.onnx_networks import STRIDES, Graph, Size, brightness, node, tiny_yolox

# What decodes needs numpy and OpenCV alone, which the services' environment has as well.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

BOXES = np.array([[8, 8, 40, 60, 0.3], [50, 4, 90, 44, 0.9], [0, 0, 9, 9, 0.01], [20, 20, 10, 30, 0.8]], np.float32)
Probe = Callable[..., dict[str, Any]]
Write = Callable[..., None]


def in_pixels(channels: int) -> NDArray[np.float32]:
    """Centres of all cells of 64 × 96 pixels, and sizes of 20 × 10: [1, channels, 126]."""
    centres = [((x + 0.5) * s, (y + 0.5) * s) for s in STRIDES for y in range(64 // s) for x in range(96 // s)]
    grid = np.zeros((1, channels, len(centres)), np.float32)
    grid[0, :2] = np.array(centres).T
    grid[0, 2:4] = [[20], [10]]
    return grid


def constant(rows: NDArray[np.float32], output: str, *shape: Size) -> Graph:
    """Answers every picture with ``rows``."""
    graph = Graph({"input": shape}, {output: rows.shape})
    graph.constants = {"rows": rows, "zero": np.zeros((), np.float32)}
    graph.nodes = [
        node("ReduceMean", ["input"], "mean", keepdims=0),
        node("Mul", ["mean", "zero"], "nothing"),
        node("Add", ["rows", "nothing"], output),
    ]
    return graph


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="session")
def yolox(networks: Path) -> Path:
    return tiny_yolox(networks / "yolox.onnx")


@pytest.fixture(scope="session")
def classes(networks: Path) -> Path:
    """Two classes; the second is how red a cell is, of 1. Boxes of 20 × 10 pixels around a cell's centre."""
    graph = brightness(6, looks=5, gain=1, bias=[0] * 6)
    graph.nodes.append(node("Add", ["joined", "grid"], "output0"))
    graph.constants["grid"] = in_pixels(6)
    graph.outputs["output0"] = [1, 6, 126]
    graph.told = {"task": "detect", "names": "{0: 'wheel', 1: 'tyre, \"soft\"'}", "imgsz": "[64, 96]"}
    return graph.write(networks / "classes.onnx")


@pytest.fixture(scope="session")
def objectness(networks: Path) -> Path:
    """Each box of :func:`classes` three times, as of three anchors: objectness is red, the only class is certain."""
    graph = brightness(6, looks=4, gain=1, bias=[0, 0, 0, 0, 0, 1])
    graph.nodes += [
        node("Add", ["joined", "grid"], "pixels"),
        node("Concat", ["pixels"] * 3, "anchors", axis=2),
        node("Transpose", ["anchors"], "output", perm=[0, 2, 1]),
    ]
    graph.constants["grid"] = in_pixels(6)
    graph.outputs["output"] = [1, 378, 6]
    return graph.write(networks / "objectness.onnx")


@pytest.fixture(scope="session")
def end2end(networks: Path) -> Path:
    """Four boxes and their labels, whatever the picture and its size."""
    graph = constant(BOXES[None], "dets", "batch", 3, "height", "width")
    graph.constants["numbers"] = np.array([[3, 1, 0, 0]], np.int64)
    graph.nodes.append(node("Identity", ["numbers"], "labels"))
    graph.outputs["labels"] = [1, 4]
    graph.kinds["labels"] = 7
    return graph.write(networks / "end2end.onnx")


@pytest.fixture(scope="session")
def nms(networks: Path) -> Path:
    """Three boxes with their classes, whatever the picture."""
    return constant(final_boxes(), "output0", 1, 3, 64, 96).write(networks / "nms.onnx")


@pytest.fixture(scope="session")
def unknown_to_openvino(networks: Path) -> Path:
    """Like :func:`nms`, with an operator that onnxruntime has and OpenVINO has not."""
    graph = constant(final_boxes(), "before", 1, 3, 64, 96)
    graph.constants["identity"] = np.eye(2, dtype=np.float32)
    graph.nodes += [node("Det", ["identity"], "one"), node("Mul", ["before", "one"], "output0")]
    graph.outputs = {"output0": [1, 3, 6]}
    return graph.write(networks / "unknown.onnx")


def final_boxes() -> NDArray[np.float32]:
    return np.concatenate([BOXES[:3], [[2], [0], [1]]], axis=1, dtype=np.float32)[None]


PROBE = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from kinemesh_models.detector import Detector
from kinemesh_models.onnx_head import describe_onnx
from kinemesh_models.refusal import RefusedError
path, device, *pictures = sys.argv[1:]
try:
    head = describe_onnx(Path(path))
except RefusedError as error:
    print(json.dumps({"reason": error.reason, "message": error.message}))
else:
    detector = Detector(Path(path), head, device)
    found = [detector.boxes(np.load(picture)).tolist() for picture in pictures]
    print(json.dumps({"head": dataclasses.asdict(head), "runtime": detector.runtime, "boxes": found}))
"""

WRITE = """
import sys
from pathlib import Path
from kinemesh_models.detector_folder import write_detector
from kinemesh_models.onnx_head import describe_onnx
out, *models = sys.argv[1:]
for name, path, accelerator in zip(models[::3], models[1::3], models[2::3]):
    write_detector(
        name, Path(path), describe_onnx(Path(path)), ["a", 'b "c", d', "e"], licence="MIT", description="Tiny\\nthing",
        source="imported", preference=0, accelerator=accelerator, out=Path(out),
    )
"""


def in_models(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(triton_python()), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def probe() -> Probe:
    """``probe(onnx, *pictures, device="CPU")``: what the model server's environment makes of them."""

    def run(path: Path, *pictures: NDArray[np.uint8], device: str = "CPU") -> dict[str, Any]:
        files = [path.with_suffix(f".{number}.npy") for number in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            np.save(file, picture)
        done = in_models(PROBE, path, device, *files)
        return {**json.loads(done.stdout.splitlines()[-1]), "log": done.stderr}

    return run


@pytest.fixture(scope="session")
def write_models() -> Write:
    """``write_models(repository, (name, onnx, accelerator), …)``, with odd labels and description."""

    def write(repository: Path, *models: tuple[str, Path, str]) -> None:
        in_models(WRITE, repository, *(value for model in models for value in model))

    return write
