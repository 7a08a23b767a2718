"""A model of Triton's Python backend that does what its ONNX Runtime backend does, for a machine without a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.input = json.loads(args["model_config"])["input"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:
        value = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(names, {self.input: value})
        tensors = [pb_utils.Tensor(name, value) for name, value in zip(names, values, strict=True)]
        return pb_utils.InferenceResponse(tensors)
