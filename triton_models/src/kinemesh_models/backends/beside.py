"""Asks networks that another backend of the same Triton runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def beside(network: str, tensor: str, outputs: Sequence[str]) -> Callable[[NDArray[np.generic]], list[Floats]]:
    """``ask(values)`` gives the input ``tensor`` to the model ``network`` and answers with its ``outputs``.

    What it returns raises ``TritonModelException`` where the network fails.
    """
    ready = False

    def ask(values: NDArray[np.generic]) -> list[Floats]:
        nonlocal ready
        if not ready:
            # Whoever loads a model while the server runs need not know that it has a part.
            if not pb_utils.is_model_ready(network):
                pb_utils.load_model(network)
            ready = True
        request = pb_utils.InferenceRequest(
            model_name=network,
            requested_output_names=list(outputs),
            inputs=[pb_utils.Tensor(tensor, values)],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise pb_utils.TritonModelException(response.error().message())
        answers = [pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in outputs]
        return [answer.astype(np.float32, copy=False) for answer in answers]

    return ask
