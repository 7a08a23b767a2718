"""What every model shares between Triton's Python backend and a plain function over one image.

Triton's stub imports a backend module and looks for the class ``TritonPythonModel``; each backend derives it with
:func:`python_model` from a function that loads and returns ``answer(image) -> outputs``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Answer = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
Load = Callable[[Path, Mapping[str, str]], Answer]


def python_model(load: Load) -> type:
    """A ``TritonPythonModel`` that answers every image of a request on its own.

    ``load`` gets the path of the weights and the parameters of ``config.pbtxt``. A ``ValueError`` of its answer blames
    the image. Images are never inferred together: a result must not depend on what else was in the batch.
    """

    class TritonPythonModel:
        def initialize(self, args: dict[str, str]) -> None:
            config = json.loads(args["model_config"])
            folder = Path(args["model_repository"]) / args["model_version"]
            parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
            self._answer = load(folder / parameters.get("weights", ""), parameters)
            self._input = config["input"][0]["name"]
            self._outputs = {output["name"]: tuple(map(int, output["dims"])) for output in config["output"]}
            if parameters.get("network"):
                return  # another model's, which cannot be asked yet
            # The first inference allocates; do it before the server says that it is ready.
            shape = [int(size) for size in config["input"][0]["dims"]]
            self._answer(np.zeros([size if size > 0 else int(parameters["size"]) for size in shape], np.uint8))

        def execute(self, requests: list[Any]) -> list[Any]:
            return [self._respond(request) for request in requests]

        def _respond(self, request: Any) -> Any:
            images = pb_utils.get_input_tensor_by_name(request, self._input).as_numpy()
            outputs = {name: np.empty((len(images), *shape), np.float32) for name, shape in self._outputs.items()}
            try:
                for row, image in enumerate(images):
                    for name, value in self._answer(image).items():
                        outputs[name][row] = value
            except ValueError as error:
                refused = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                return pb_utils.InferenceResponse([], refused)
            except pb_utils.TritonModelException as error:
                return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in outputs.items()])

    return TritonPythonModel


def pad_rows(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The first ``count`` rows, filled up with zero rows: a score of 0 means that there is nothing."""
    padded = np.zeros((count, rows.shape[1]), np.float32)
    padded[: min(count, len(rows))] = rows[:count]
    return padded
