"""Finds out what kind of detector an ONNX file is: from its graph, its metadata, and what it answers to a picture."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from kinemesh_models.heads import STRIDE, Floats, Head, grid
from kinemesh_models.onnx_network import (
    LARGEST_SIDE,
    ONNXRUNTIME,
    OPENVINO,
    ORT_ERRORS,
    OnnxRuntimeNetwork,
    OpenVinoNetwork,
    normalised,
    run,
    session,
)
from kinemesh_models.refusal import RefusedError

__all__ = ["Head", "describe_onnx"]

_USUAL_SIZE = 640
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_HELP = (
    "Known are YOLOX, RTMDet with NMS (dets and labels), Ultralytics YOLO v5 to 11 for detection, and networks that"
    " answer [1, K, 6] (x1 y1 x2 y2 score class)."
)
_IMAGENET_MEAN, _IMAGENET_SCALE = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # blue, green, red


def describe_onnx(path: Path) -> Head:
    """How to feed the network in ``path`` and read its answer.

    Runs the network once, on a picture of smooth noise. Normalisation is that of the family which has such a head:
    YOLOX BGR 0–255, mmdeploy's end-to-end models BGR with ImageNet's mean and deviation, all others RGB 0–1.

    :raises RefusedError: ``UNKNOWN_FORMAT`` (not ONNX, or one that does not run), ``WRONG_HEAD``, ``LABELS_MISMATCH``.
    """
    try:
        network = session(path, ["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise RefusedError("UNKNOWN_FORMAT", "The file is not an ONNX network that onnxruntime can read.") from error
    told = network.get_modelmeta().custom_metadata_map
    if (task := told.get("task", "detect")) != "detect":
        raise RefusedError("WRONG_HEAD", f"The network is made for the task {task}, not for detection.", task=task)
    head = _input(network, told)
    try:
        answer = _answer(network, head)
    except ORT_ERRORS as error:
        raise RefusedError("UNKNOWN_FORMAT", "The network does not run on a picture of its own size.") from error
    head = _output(head, answer)
    if head.labels and head.classes and len(head.labels) != head.classes:
        message = f"The file names {len(head.labels)} classes, its network answers with {head.classes}."
        raise RefusedError("LABELS_MISMATCH", message, labels=len(head.labels), classes=head.classes)
    return _with_runtime(path, head)


def _input(network: ort.InferenceSession, told: dict[str, str]) -> Head:
    inputs = network.get_inputs()
    shape = inputs[0].shape if inputs else []
    fits = len(inputs) == 1 and len(shape) == 4 and inputs[0].type in ("tensor(float)", "tensor(float16)")
    if not fits or (isinstance(shape[0], int) and shape[0] != 1) or (isinstance(shape[1], int) and shape[1] != 3):
        described = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        message = f"A detector takes one picture as floats [1, 3, height, width]; this network takes {described}."
        raise RefusedError("WRONG_HEAD", message, inputs=described)
    usual = _literal(told.get("imgsz", ""))
    if not (isinstance(usual, list) and len(usual) == 2 and all(isinstance(side, int) for side in usual)):
        usual = [_USUAL_SIZE, _USUAL_SIZE]
    height, width = (side if isinstance(side, int) else best for side, best in zip(shape[2:], usual, strict=True))
    if not 0 < min(height, width) <= max(height, width) <= LARGEST_SIDE:
        message = f"The network's pictures of {width}×{height} are larger than {LARGEST_SIDE}."
        raise RefusedError("WRONG_HEAD", message, width=width, height=height)
    dynamic = not any(isinstance(side, int) for side in shape[2:])
    return Head(
        kind="",
        input=inputs[0].name,
        outputs=(),
        height=height,
        width=width,
        dynamic=dynamic,
        resizable=dynamic,
        labels=_labels(told.get("names", "")),
        half=inputs[0].type == "tensor(float16)",
    )


def _labels(text: str) -> tuple[str, ...]:
    """Ultralytics writes the names as Python's text of a dictionary, number to name."""
    names = _literal(text)
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _answer(network: ort.InferenceSession, head: Head) -> dict[str, Floats]:
    coarse = np.random.default_rng(1).integers(0, 256, (-(-head.height // 16), -(-head.width // 16), 3), np.uint8)
    picture = coarse.repeat(16, axis=0).repeat(16, axis=1)[: head.height, : head.width]
    names = [output.name for output in network.get_outputs()]
    answer = run(network, head.input, normalised(picture, head), names)
    return {name: value.astype(np.float32, copy=False) for name, value in zip(names, answer, strict=True)}


def _output(head: Head, answer: dict[str, Floats]) -> Head:
    """Which head it is, from the shapes; where two share one, from the values."""
    # Old exports of YOLOv5 give their three raw maps [1, 3, h, w, 5 + C] beside the decoded answer.
    shapes = {name: tuple(value.shape) for name, value in answer.items() if value.ndim != 5}
    dets = [name for name, shape in shapes.items() if len(shape) == 3 and shape[2] == 5]
    if len(shapes) == 2 and len(dets) == 1:
        (labels,) = shapes.keys() - dets
        if shapes[labels][:2] == shapes[dets[0]][:2] and len(shapes[labels]) in (2, 3):
            return replace(
                head, kind="end2end", outputs=(dets[0], labels), order="BGR", mean=_IMAGENET_MEAN, scale=_IMAGENET_SCALE
            )
    if len(shapes) == 1 and len(next(iter(shapes.values()))) == 3:
        ((name, shape),) = shapes.items()
        cells = [sum((head.height // s) * (head.width // s) for s in strides) for strides in _STRIDES]
        found = replace(head, outputs=(name,))
        if shape[2] >= 6 and shape[1] == cells[0] and _is_raw(answer[name][0], head):
            return replace(found, kind="yolox", classes=shape[2] - 5, order="BGR", scale=(1.0, 1.0, 1.0))
        if shape[2] >= 6 and shape[1] in (*cells, *(3 * count for count in cells)):
            return replace(found, kind="objectness", classes=shape[2] - 5)
        if shape[1] >= 5 and shape[2] in cells:
            return replace(found, kind="classes", classes=shape[1] - 4)
        if shape[2] == 6 and _is_final(answer[name][0]):
            return replace(found, kind="nms")
    described = ", ".join(f"{name} {list(value.shape)}" for name, value in answer.items())
    raise RefusedError(
        "WRONG_HEAD", f"The network's answer is not one of a detector: {described}. {_HELP}", outputs=described
    )


def _is_raw(rows: Floats, head: Head) -> bool:
    """Whether centres are offsets from a grid of cells rather than pixels: those follow the grid, offsets do not."""
    cells = grid(head.width, head.height)
    pixels = (cells[:, :2] + 0.5) * cells[:, 2:]
    return bool(np.median(np.abs(rows[:, :2])) < np.median(np.abs(rows[:, :2] - pixels)))


def _is_final(rows: Floats) -> bool:
    scores, classes = rows[:, 4], rows[:, 5]
    ordered = (rows[:, 2:4] >= rows[:, :2]).all()
    return bool(ordered and (scores >= 0).all() and (scores <= 1).all() and (classes == classes.round()).all())


def _with_runtime(path: Path, head: Head) -> Head:
    """Which runtime takes the network, and whether it takes other sizes there: OpenVINO reshapes many fixed graphs."""
    try:
        whole = _shapes(OpenVinoNetwork(path, head), head.height, head.width)
    except RuntimeError:
        head = replace(head, runtime=ONNXRUNTIME)
        whole = _shapes(OnnxRuntimeNetwork(path, head), head.height, head.width)
    # What a fixed graph with NMS inside holds as constants cannot be seen from the shape of its answer.
    fixed = not head.dynamic and (head.runtime == ONNXRUNTIME or head.kind in ("end2end", "nms"))
    if fixed or head.height % STRIDE or head.width % STRIDE or head.height + STRIDE > LARGEST_SIDE:
        return replace(head, dynamic=False, resizable=False)
    taller = replace(head, height=head.height + STRIDE, resizable=True)
    runtime = OpenVinoNetwork if head.runtime == OPENVINO else OnnxRuntimeNetwork
    try:
        shapes = _shapes(runtime(path, taller), taller.height, taller.width)
    except (RuntimeError, *ORT_ERRORS):
        return replace(head, dynamic=False, resizable=False)
    axis = 1 if head.kind == "classes" else 0
    grows = shapes[0][axis] * head.height == whole[0][axis] * taller.height
    resizable = grows or head.kind in ("end2end", "nms")
    return replace(head, dynamic=head.dynamic and resizable, resizable=resizable)


def _shapes(network: OpenVinoNetwork | OnnxRuntimeNetwork, height: int, width: int) -> list[tuple[int, ...]]:
    return [tuple(output.shape) for output in network.infer(np.full((height, width, 3), 114, np.uint8))]
