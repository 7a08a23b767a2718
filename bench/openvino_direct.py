"""A network on OpenVINO in throughput mode, called directly: the limit of what any server around it can reach.

Runs in the model server's environment::

    triton_models/.venv/bin/python bench/openvino_direct.py MODEL.onnx IMAGES.npy --frames 1200

``IMAGES.npy`` is uint8 [N, H, W, 3]. The network takes the pictures as they are, without normalisation, and nobody
decodes what it answers. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import openvino as ov
from openvino.preprocess import PrePostProcessor


def main() -> None:
    parser = argparse.ArgumentParser(description="OpenVINO in throughput mode.")
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--frames", type=int, default=1200)
    arguments = parser.parse_args()
    images = np.load(arguments.images)
    core = ov.Core()
    model = core.read_model(arguments.model)
    model.reshape([1, 3, *images.shape[1:3]])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    compiled = core.compile_model(
        steps.build(), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    )
    queue = ov.AsyncInferQueue(compiled)
    queue.start_async([images[:1]])
    queue.wait_all()
    started = time.perf_counter()
    for number in range(arguments.frames):
        queue.start_async([images[number % len(images)][None]])
    queue.wait_all()
    seconds = time.perf_counter() - started
    print(json.dumps({"fps": arguments.frames / seconds, "shape": list(images.shape[1:3]), "streams": len(queue)}))


if __name__ == "__main__":
    main()
