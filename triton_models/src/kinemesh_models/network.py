"""One TFLite network on OpenVINO, one request at a time on one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor


class Network:
    """A compiled network that takes one UINT8 image and answers with float32 arrays.

    :param outputs: indices of the outputs wanted, in order; what only other outputs need is not computed
        (BlazePose's segmentation mask is a third of its time).
    :param mean, scale: the network sees ``(pixel - mean) / scale``.
    """

    def __init__(self, path: Path, outputs: tuple[int, ...], mean: float, scale: float, device: str = "CPU") -> None:
        core = ov.Core()
        whole = core.read_model(path)
        part = ov.Model([whole.output(index) for index in outputs], whole.get_parameters(), path.stem)
        steps = PrePostProcessor(part)
        steps.input().tensor().set_element_type(ov.Type.u8)
        steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(scale)
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bf16 where a CPU has it
        if device == "CPU":
            # Instances are the parallelism. Pinning would put all of them on the same core.
            options |= {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        compiled = core.compile_model(steps.build(), device, options)
        self._request = compiled.create_infer_request()
        self._count = len(outputs)
        self.input_shape = tuple(compiled.input(0).shape)

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Run the network on one image [H,W,3]; the arrays are views that the next call overwrites."""
        self._request.infer([image[None]], share_inputs=True)
        return [self._request.get_output_tensor(index).data[0] for index in range(self._count)]
