"""A detector without Triton: the network of an ONNX file and what makes boxes of its answer."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinemesh_models import heads
from kinemesh_models.heads import Floats, Head
from kinemesh_models.onnx_network import ONNXRUNTIME, OPENVINO, OnnxRuntimeNetwork, OpenVinoNetwork

_log = logging.getLogger(__name__)


class Detector:
    """Finds things in pictures that are letterboxed to the network's size, as every detector's contract says.

    :param device: an OpenVINO device, or the name of an onnxruntime execution provider.
    """

    def __init__(self, path: Path, head: Head, device: str = "CPU") -> None:
        self.head = head
        self._network: OpenVinoNetwork | OnnxRuntimeNetwork
        if device.endswith("ExecutionProvider"):
            self._network = OnnxRuntimeNetwork(path, head, device)
            self.runtime = ONNXRUNTIME
            if device not in (used := self._network.providers):
                _log.warning("%s: onnxruntime has no %s here; it runs on %s", path, device, used[0])
        elif head.runtime == ONNXRUNTIME:
            self._network, self.runtime = OnnxRuntimeNetwork(path, head), ONNXRUNTIME
            _log.warning("%s runs on onnxruntime: OpenVINO could not read or compile it when it was added", path)
        else:
            self._network, self.runtime = _with_fallback(path, head, device)

    def boxes(self, image: NDArray[np.uint8], least: float = heads.MIN_SCORE) -> Floats:
        """The boxes [D ≤ 300, 6] in a picture [H,W,3] RGB: x1 y1 x2 y2 in its pixels, score, class; best first.

        :param least: the lowest score that counts.
        :raises ValueError: the network cannot take pictures of this shape.
        """
        height, width = image.shape[:2]
        return heads.boxes(self.head.kind, self.raw(image), height, width, least)

    def raw(self, image: NDArray[np.uint8]) -> list[Floats]:
        """What the network answers, in the order of ``head.outputs``; the next call may overwrite it.

        :raises ValueError: as :meth:`boxes`.
        """
        return self._network.infer(image)


def _with_fallback(path: Path, head: Head, device: str) -> tuple[OpenVinoNetwork | OnnxRuntimeNetwork, str]:
    try:
        return OpenVinoNetwork(path, head, device), OPENVINO
    except RuntimeError as error:
        _log.warning("%s runs on onnxruntime: OpenVINO cannot compile it (%s)", path, str(error).splitlines()[0])
        return OnnxRuntimeNetwork(path, head), ONNXRUNTIME
