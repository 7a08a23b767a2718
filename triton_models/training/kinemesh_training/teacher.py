"""RTMDet-nano, whose answers at every cell the network learns besides the labels."""

from pathlib import Path

import numpy as np
import openvino as ov
import torch
from openvino import Core
from openvino.preprocess import ColorFormat, PrePostProcessor
from torch import Tensor

from kinemesh_training.boxes import around, flatten, places
from kinemesh_training.network import STRIDES
from kinemesh_training.taught import Taught

# Tensors of the published graph, by stride: what its heads say before suppression, and what they look at.
SCORES = ("y", "y.8", "y.16")
LENGTHS = ("y.4", "y.12", "y.20")
FEATURES = ("onnx::Conv_1085", "onnx::Conv_1093", "onnx::Conv_1101")
# Its own input: BGR.
MEAN, DEVIATION = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]


class Teacher:
    """RTMDet-nano's raw heads and features, run by OpenVINO."""

    def __init__(self, weights: Path, threads: int) -> None:
        core = Core()
        model = core.read_model(weights)
        outputs = [model.add_outputs([name])[0] for name in (*SCORES, *LENGTHS, *FEATURES)]
        # Without its own answers, nothing of the suppression runs.
        model = ov.Model(outputs, model.get_parameters(), "teacher")
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(
            ColorFormat.RGB
        )
        steps.input().model().set_layout(ov.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.BGR).mean(MEAN).scale(
            DEVIATION
        )
        self._request = core.compile_model(
            steps.build(), "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        ).create_infer_request()

    def __call__(self, pictures: np.ndarray) -> Taught:
        """Answer for uint8 [B, S, S, 3], RGB."""
        self._request.infer([pictures])
        answers = [
            torch.from_numpy(self._request.get_output_tensor(index).data.astype(np.float32))
            for index in range(len(SCORES) * 3)
        ]
        return Taught(flatten(answers[0:3])[..., 0].sigmoid(), flatten(answers[3:6]).clamp(min=0), answers[6:9])

    def cells(self, square: np.ndarray) -> tuple[Tensor, Tensor]:
        """What it says of one picture, as :func:`kinemesh_training.finding.cells_of` has it."""
        taught = self(square[None])
        points, _ = places([(square.shape[0] // stride, square.shape[1] // stride) for stride in STRIDES])
        return taught.scores[0], around(points, taught.lengths[0])
