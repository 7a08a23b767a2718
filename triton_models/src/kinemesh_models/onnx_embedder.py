"""Finds out how an embedder in a file is fed: from its graph, and from what it answers to a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import openvino as ov
from numpy.typing import NDArray

from kinemesh_models.embedder import Embedder, Feed, Floats, values
from kinemesh_models.onnx_network import ONNXRUNTIME, OPENVINO, ORT_ERRORS, run, session
from kinemesh_models.part_colors import HEIGHT, WIDTH
from kinemesh_models.refusal import RefusedError

LARGEST_SIDE, LARGEST_BATCH, LARGEST_DIMENSION = 1024, 64, 8192
_TYPES = {"tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(uint8)": "UINT8"}
_IMAGENET_MEAN, _IMAGENET_SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # red, green, blue
_ALIKE = 0.999


@dataclass(frozen=True, slots=True)
class Colours:
    """How a user says that the network was trained to see a pixel: (pixel - mean) / scale, channels in this order.

    Empty where nothing is said: RGB with ImageNet's mean and deviation for channels first, as Torchreid and FastReID
    train; BGR 0–255 for channels last, as Open Model Zoo's are converted; a graph that takes bytes gets them as they
    are.
    """

    order: str = ""
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def describe_embedder(path: Path, colours: Colours) -> Feed:
    """How to feed the network in ``path``. Runs it, on a picture of smooth noise.

    :raises RefusedError: ``UNKNOWN_FORMAT`` (not ONNX, or one that does not run), ``WRONG_HEAD``, ``INVALID_COLOURS``.
    """
    try:
        network = session(path, ["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise RefusedError("UNKNOWN_FORMAT", "The file is not an ONNX network that onnxruntime can read.") from error
    feed = _seen(_input(network), colours)
    picture = np.random.default_rng(1).integers(0, 256, (16, 8, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    names = [output.name for output in network.get_outputs()]
    try:
        answer = run(network, feed.input, values(picture, feed), names)
    except ORT_ERRORS as error:
        raise RefusedError("UNKNOWN_FORMAT", "The network does not run on a picture of its own size.") from error
    name, vector = _vector(names, answer, feed.batch)
    feed = replace(feed, output=name, dimension=len(vector))
    return _with_runtime(path, feed, picture, vector)


def describe_openvino(path: Path, colours: Colours) -> Feed:
    """How to feed an embedder of the manifest in OpenVINO's own format, which takes one picture, channels first.

    :raises RefusedError: ``WRONG_HEAD``.
    """
    graph = ov.Core().read_model(path)
    shapes = [[int(size) for size in port.get_shape()] for port in (*graph.inputs, *graph.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][:2] != [1, 3] or len(shapes[1]) < 2:
        raise RefusedError("WRONG_HEAD", f"An embedder takes one picture, and answers with one vector: {shapes}.")
    height, width = shapes[0][2:]
    return _seen(Feed("", "", height, width, dimension=math.prod(shapes[1])), colours)


def _input(network: ort.InferenceSession) -> Feed:
    inputs = network.get_inputs()
    shape = inputs[0].shape if inputs else []
    described = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
    wrong = RefusedError(
        "WRONG_HEAD",
        "An embedder takes one picture of three colours, [N, 3, height, width] or [N, height, width, 3], as floats or"
        f" bytes; this network takes {described or 'nothing'}.",
        inputs=described,
    )
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in _TYPES:
        raise wrong
    if shape[1] == 3 or (shape[3] != 3 and not isinstance(shape[1], int)):
        layout, sides = "NCHW", shape[2:]
    elif shape[3] == 3:
        layout, sides = "NHWC", shape[1:3]
    else:
        raise wrong
    height, width = (side if isinstance(side, int) else best for side, best in zip(sides, (HEIGHT, WIDTH), strict=True))
    batch = shape[0] if isinstance(shape[0], int) else 1
    if not 0 < min(height, width) <= max(height, width) <= LARGEST_SIDE or not 0 < batch <= LARGEST_BATCH:
        message = (
            f"The network takes {batch} pictures of {width}×{height}; {LARGEST_BATCH} of {LARGEST_SIDE} are the most."
        )
        raise RefusedError("MODEL_TOO_LARGE", message, batch=batch, width=width, height=height)
    return Feed(inputs[0].name, "", height, width, layout=layout, batch=batch, type=_TYPES[inputs[0].type])


def _seen(feed: Feed, colours: Colours) -> Feed:
    """The feed with the colours that the user says, else those that such networks usually take."""
    for what in (colours.mean, colours.scale):
        if len(what) not in (0, 1, 3) or not np.isfinite(what).all():
            raise RefusedError(
                "INVALID_COLOURS", "Mean and scale are one finite number each, or one for every channel."
            )
    if colours.order not in ("", "RGB", "BGR") or 0 in colours.scale:
        raise RefusedError("INVALID_COLOURS", "The order of channels is RGB or BGR, and no scale is zero.")
    imagenet = feed.layout == "NCHW" and feed.type != "UINT8"
    order = colours.order or ("BGR" if feed.layout == "NHWC" and feed.type != "UINT8" else "RGB")
    step = -1 if order == "BGR" else 1
    # Who says one of the two means to leave the other alone.
    usual = imagenet and not colours.mean and not colours.scale
    mean = _three(colours.mean) or (_IMAGENET_MEAN[::step] if usual else (0.0, 0.0, 0.0))
    scale = _three(colours.scale) or (_IMAGENET_SCALE[::step] if usual else (1.0, 1.0, 1.0))
    return replace(feed, order=order, mean=mean, scale=scale)


def _three(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in (list(numbers) * 3 if len(numbers) == 1 else numbers))


def _vector(names: Sequence[str], answer: Sequence[NDArray[np.generic]], batch: int) -> tuple[str, Floats]:
    """The one output that holds a vector [D] per picture, perhaps as a map [D, 1, 1]."""
    found = [
        (name, value[0].ravel())
        for name, value in zip(names, answer, strict=True)
        if value.ndim >= 2 and value.shape[0] == batch and value[0].size == max(value.shape[1:]) and value[0].size > 1
    ]
    described = ", ".join(f"{name} {list(value.shape)}" for name, value in zip(names, answer, strict=True))
    if len(found) != 1 or found[0][1].size > LARGEST_DIMENSION or found[0][1].dtype.kind != "f":
        message = (
            f"An embedder answers with one vector for each picture, [N, D] of 2 to {LARGEST_DIMENSION} floats;"
            f" this network's answer is {described}."
        )
        raise RefusedError("WRONG_HEAD", message, outputs=described[:500])
    return found[0][0], found[0][1].astype(np.float32)


def _with_runtime(path: Path, feed: Feed, picture: NDArray[np.uint8], expected: Floats) -> Feed:
    """OpenVINO if it answers like onnxruntime, if possible with a batch of one; else onnxruntime."""
    for alone in (True, False):
        tried = replace(feed, alone=alone, runtime=OPENVINO)
        try:
            embedder = Embedder(path, tried)
            answer = embedder.raw(picture) if embedder.runtime == OPENVINO else expected[:0]
        except RuntimeError:
            continue
        if answer.shape == expected.shape and _alike(answer, expected):
            return tried
    return replace(feed, runtime=ONNXRUNTIME)


def _alike(ours: Floats, theirs: Floats) -> bool:
    """Networks that answer with nothing, or with infinities, are refused later, for that."""
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return not np.isfinite(lengths) or lengths == 0 or float(ours @ theirs) / lengths > _ALIKE
