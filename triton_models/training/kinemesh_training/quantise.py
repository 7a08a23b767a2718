"""The exported network in INT8, for processors: OpenVINO's format, quantised by NNCF on pictures to learn from."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import nncf
import numpy as np
import openvino as ov
from numpy.random import Generator
from numpy.typing import NDArray

from kinemesh_training.export import SIZE
from kinemesh_training.pictures import PAD, Picture, letterbox

PICTURES = 400


def to_int8(network: Path, shown: Sequence[Picture], path: Path, random: Generator) -> None:
    """Write ``path`` (.xml) and the weights beside it (.bin), from the file that :func:`.export.to_onnx` wrote.

    Ranges of activations are taken from pictures to learn from, some of them smaller than the input, as people far
    away are. What makes boxes of the answers stays in single precision.
    """
    model = ov.Core().read_model(network)
    chosen = random.choice(len(shown), min(PICTURES, len(shown)), replace=False)
    quantised = nncf.quantize(
        model,
        nncf.Dataset([_fed(shown[index], random) for index in chosen]),
        subset_size=len(chosen),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(types=["Softmax", "MatMul", "NonMaxSuppression", "Sigmoid"]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=False),
    )
    # How it was made is the model card's to tell; this would tell of the machine too.
    for section in ("nncf", "conversion_parameters"):
        if quantised.has_rt_info([section]):
            quantised.set_rt_info("", [section])
    ov.save_model(quantised, path, compress_to_fp16=True)


def _fed(picture: Picture, random: Generator) -> NDArray[np.float32]:
    pixels = picture.pixels
    if random.random() < 0.3:
        pixels = np.asarray(
            cv2.copyMakeBorder(
                pixels, 0, pixels.shape[0] // 2, 0, pixels.shape[1] // 2, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD)
            ),
            np.uint8,
        )
    canvas, _ = letterbox(pixels, SIZE)
    return (canvas.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
