"""The shipped person detector beside RTMDet-nano and YOLOX-nano: precision on labelled pictures, and speed.

Runs in the model server's environment, which has OpenVINO and pycocotools::

    make bench-detector DATA=person_train.zip OUT=out/bench

``DATA`` is laid out like the archive that it was trained on: pictures under ``val/<source>/``, ``labels.json`` with
``{"val/<source>/<id>.webp": [[cx, cy, w, h], …]}``, normalised. Writes ``OUT/detections.json``, what the embedded
detector finds in every picture under ``val/``, and ``OUT/detector.json``. The two others are looked for as
``kinemesh models add`` does, and in the folder that ``KINEMESH_TEST_DATA`` names; who is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from kinemesh_models import manifest
from kinemesh_models.detector import Detector
from kinemesh_models.fetch import FetchError, cache_folder, fetch, fetch_files
from kinemesh_models.heads import Head, from_parameters
from kinemesh_models.onnx_head import describe_onnx
from kinemesh_training import evaluate
from kinemesh_training.pictures import Picture, letterbox, read

OURS: Final = "person_detector"
_LEAST: Final = 0.01
_SIZE, _LARGER = 416, 640
_OTHERS: Final = ("rtmdet_nano_person", "yolox_nano")
_PERSON: Final = 0
_THREADS: Final = (1, 2)
_REPEATS: Final = 40


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network to measure: its file, how it is fed, and the longest side of its pictures."""

    name: str
    path: Path
    head: Head
    size: int


def main() -> int:
    parser = argparse.ArgumentParser(description="Precision and speed of the shipped person detector.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="in which networks take turns to be timed")
    arguments = parser.parse_args()
    try:
        pictures = read(arguments.data, "val")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"bench-detector: {error}", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    candidates = shipped() + others()
    stills = coco_stills()
    result: dict[str, Any] = {"pictures": len(pictures), "precision": {}, "speed": speed(candidates, arguments.rounds)}
    for candidate in candidates:
        found = find(candidate, [*pictures, *stills])
        if candidate == candidates[0]:
            write_detections(arguments.out / "detections.json", pictures, found)
        measured = evaluate.by_source([*pictures, *stills], found)
        result["precision"][candidate.name] = {source: asdict(one) for source, one in measured.items()}
    (arguments.out / "detector.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return 0


def shipped() -> list[Candidate]:
    """Ours: first what processors run, then the ONNX file, then both at the size that jobs use and at a larger one."""
    (model,) = (model for model in manifest.load().sets["default"] if model.name == OURS)
    assert model.weights is not None
    assert model.onnx is not None
    assert model.size is not None
    head, cache = from_parameters(model.parameters), cache_folder()
    int8, onnx = fetch_files(model.weights, cache)[0], fetch(model.onnx, cache)
    files = {OURS: int8, f"{OURS}.onnx": onnx}
    sizes = {"": _SIZE, f" {model.size}": model.size, f" {_LARGER}": _LARGER}
    return [
        Candidate(f"{name}{suffix}", path, head, size) for suffix, size in sizes.items() for name, path in files.items()
    ]


def others() -> list[Candidate]:
    """The two that ours is compared with, at its size, where they are to be had."""
    data = os.environ.get("KINEMESH_TEST_DATA")
    mirror = os.environ.get("KINEMESH_MODELS_MIRROR") or (Path(data) / "models" if data else None)
    found = []
    for name in _OTHERS:
        try:
            path = fetch(manifest.load().detectors[name].weights, cache_folder(), Path(mirror) if mirror else None)
        except (FetchError, OSError) as error:
            print(f"bench-detector: {name} is left out: {error}", file=sys.stderr)
            continue
        found.append(Candidate(name, path, describe_onnx(path), _SIZE))
    return found


def find(candidate: Candidate, pictures: Sequence[Picture]) -> dict[str, NDArray[np.float32]]:
    """The people in every picture, float32 [N, 5]: x1 y1 x2 y2 score in its pixels."""
    detector = Detector(candidate.path, candidate.head)
    found = {}
    for picture in pictures:
        canvas, scale = letterbox(picture.pixels, candidate.size)
        boxes = detector.boxes(canvas, _LEAST)
        boxes = boxes[boxes[:, 5] == _PERSON]
        height, width = picture.pixels.shape[:2]
        corners = (boxes[:, :4] / scale).clip(0, [width, height, width, height])
        found[picture.name] = np.concatenate([corners, boxes[:, 4:5]], axis=1).astype(np.float32)
    return found


def speed(candidates: Sequence[Candidate], rounds: int) -> dict[str, Any]:
    """Milliseconds of each network on 1 and 2 threads, and frames per second: ours with suppression, as it has it
    inside; others without what their files leave to be done. In turns, so that all share what else the machine does.
    """
    requests = {
        (candidate.name, threads): _request(candidate, threads) for candidate in candidates for threads in _THREADS
    }
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in requests}
    for _ in range(rounds):
        for key, request in requests.items():
            request.infer()
            for _ in range(_REPEATS):
                begun = time.perf_counter()
                request.infer()
                taken[key].append(time.perf_counter() - begun)
    return {
        candidate.name: {
            f"{threads} thread{'s'[: threads - 1]}": {
                "ms": round(1000 * (seconds := statistics.median(taken[candidate.name, threads])), 2),
                "frames_per_second": round(1 / seconds, 1),
            }
            for threads in _THREADS
        }
        for candidate in candidates
    }


def _request(candidate: Candidate, threads: int) -> ov.InferRequest:
    core = ov.Core()
    model = core.read_model(candidate.path)
    model.reshape([1, 3, candidate.size, candidate.size])
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    noise = np.random.default_rng(1).random((1, 3, candidate.size, candidate.size), np.float32)
    request.set_input_tensor(ov.Tensor(noise))
    return request


def coco_stills() -> list[Picture]:
    """The four stills of COCO in the test data, with their people."""
    data = os.environ.get("KINEMESH_TEST_DATA")
    folder = Path(data or "") / "pose" / "coco_gt"
    if not data or not folder.is_dir():
        return []
    told = json.loads((folder / "test_coco.json").read_text())
    stills = []
    for image in told["images"]:
        pixels = cv2.imread(str(folder / image["file_name"]), cv2.IMREAD_COLOR_RGB)
        boxes = [
            one["bbox"] for one in told["annotations"] if one["image_id"] == image["id"] and not one.get("iscrowd")
        ]
        corners = np.asarray(boxes, np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        stills.append(Picture(f"coco_stills/{image['file_name']}", np.asarray(pixels, np.uint8), corners))
    return stills


def write_detections(path: Path, pictures: Sequence[Picture], found: Mapping[str, NDArray[np.float32]]) -> None:
    """What was found in the archive's own pictures."""
    rows = {
        picture.name: [
            [*(round(value, 2) for value in row[:4]), round(row[4], 4)] for row in found[picture.name].tolist()
        ]
        for picture in pictures
    }
    path.write_text(json.dumps(rows) + "\n")


def show(result: dict[str, Any]) -> None:
    """Print one table."""
    sources = list(dict.fromkeys(source for one in result["precision"].values() for source in one))
    head = f"{'':<26}" + "".join(f"{source:>16}" for source in sources) + "".join(f"{t:>6} thr." for t in _THREADS)
    print(f"{head}\n{'':<26}" + "".join(f"{'AP50 / AP':>16}" for _ in sources) + f"{'ms':>11}" * len(_THREADS))
    for name, measured in result["precision"].items():
        cells = [measured.get(source) for source in sources]
        precision = "".join(f"{one['ap50']:>8.1f} /{one['ap']:>6.1f}" if one else f"{'–':>16}" for one in cells)
        print(f"{name:<26}{precision}" + "".join(f"{one['ms']:>11.1f}" for one in result["speed"][name].values()))


if __name__ == "__main__":
    sys.exit(main())
