"""A model for tests, run by Triton's Python backend: gives back what it gets, as slowly as it is told to."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        responses = []
        for request in requests:
            data = backend.get_input_tensor_by_name(request, "DATA").as_numpy()
            wait = backend.get_input_tensor_by_name(request, "WAIT_MS").as_numpy()
            if wait[0] < 0:
                raise ValueError("a detail that nobody outside shall see: /secret/path")
            time.sleep(float(wait[0]) / 1000)
            correlation = int(request.correlation_id() or 0)
            total = np.array([data.sum(dtype=np.int64), correlation, request.flags()], np.int64)
            outputs = [backend.Tensor("ECHO", data), backend.Tensor("FACTS", total)]
            responses.append(backend.InferenceResponse(outputs))
        return responses
