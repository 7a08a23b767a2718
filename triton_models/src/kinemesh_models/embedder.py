"""An embedder without Triton: the network of an ONNX file, and how a picture of a person is fed to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from kinemesh_models.onnx_network import ONNXRUNTIME, OPENVINO, run, session

Floats = NDArray[np.float32]

_TYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """How a network that embeds is fed.

    :param output: the one that holds the vectors; names are empty where there is one of each.
    :param dimension: length of a vector.
    :param layout: ``NCHW`` or ``NHWC``.
    :param batch: pictures that the graph takes, all of them or none: 1 where it leaves that open.
    :param alone: OpenVINO takes one picture all the same.
    :param type: of the input: ``FP32``, ``FP16`` or ``UINT8``.
    :param order: of the channels, ``RGB`` or ``BGR``; ``mean`` and ``scale`` in this order: (pixel - mean) / scale.
    :param runtime: what runs it on a CPU here: ``openvino``, or ``onnxruntime`` where that cannot.
    """

    input: str
    output: str
    height: int
    width: int
    dimension: int = 0
    layout: str = "NCHW"
    batch: int = 1
    alone: bool = True
    type: str = "FP32"
    order: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    runtime: str = OPENVINO

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's, with its batch."""
        sides = (self.height, self.width)
        return (self.batch, 3, *sides) if self.layout == "NCHW" else (self.batch, *sides, 3)

    def parameters(self) -> dict[str, str]:
        """As parameters of ``config.pbtxt``; :func:`from_parameters` reads them."""
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in asdict(self).items()}


def from_parameters(parameters: Mapping[str, str]) -> Feed:
    """The feed that :meth:`Feed.parameters` wrote."""
    texts = {"input", "output", "layout", "type", "order", "runtime"}
    told: dict[str, Any] = {field.name: parameters[field.name] for field in fields(Feed)}
    for key in told.keys() - texts:
        value = json.loads(told[key])
        told[key] = tuple(value) if isinstance(value, list) else value
    return Feed(**told)


class Embedder:
    """Embeds one picture at a time on one thread: company must not change a bit of a result.

    :param device: an OpenVINO device, or the name of an onnxruntime execution provider.
    """

    def __init__(self, path: Path, feed: Feed, device: str = "CPU") -> None:
        self.feed = feed
        self.runtime = ONNXRUNTIME if device.endswith("ExecutionProvider") else feed.runtime
        self._network: _OpenVinoNetwork | _OnnxRuntimeNetwork
        if self.runtime == OPENVINO:
            try:
                self.feed = replace(feed, batch=1) if feed.alone else feed
                self._network = _OpenVinoNetwork(path, self.feed, device)
            except RuntimeError as error:
                _log.warning("%s runs on onnxruntime: OpenVINO cannot compile it (%s)", path, str(error).split("\n")[0])
                self.feed, self.runtime = feed, ONNXRUNTIME
        if self.runtime == ONNXRUNTIME:
            provider = device if device.endswith("ExecutionProvider") else "CPUExecutionProvider"
            self._network = _OnnxRuntimeNetwork(path, feed, provider)

    def embedding(self, picture: NDArray[np.uint8]) -> Floats:
        """The vector [D], of length one, of a person in a picture [H, W, 3] RGB."""
        return unit(self.raw(picture))

    def raw(self, picture: NDArray[np.uint8]) -> Floats:
        """What the network answers, [D]."""
        return self._network.infer(values(picture, self.feed))


class _OpenVinoNetwork:
    def __init__(self, path: Path, feed: Feed, device: str) -> None:
        core = ov.Core()
        whole = core.read_model(path)
        graph = ov.Model([whole.output(feed.output or 0)], whole.get_parameters(), path.stem)
        graph.reshape(list(feed.shape))
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bf16 where a CPU has it
        if device == "CPU":
            # Instances are the parallelism. Pinning would put all of them on the same core.
            options |= {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        self._request = core.compile_model(graph, device, options).create_infer_request()

    def infer(self, picture: NDArray[np.generic]) -> Floats:
        self._request.infer([picture])
        return np.array(self._request.get_output_tensor(0).data[0], np.float32).ravel()


class _OnnxRuntimeNetwork:
    def __init__(self, path: Path, feed: Feed, provider: str) -> None:
        self._session = session(path, list(dict.fromkeys([provider, "CPUExecutionProvider"])))
        self._feed = feed

    def infer(self, picture: NDArray[np.generic]) -> Floats:
        (answer,) = run(self._session, self._feed.input, picture, [self._feed.output])
        vector: Floats = answer[0].astype(np.float32).ravel()
        return vector


def values(picture: NDArray[np.uint8], feed: Feed) -> NDArray[np.generic]:
    """A picture [H, W, 3] RGB as the network's input; as often as the graph's own batch has it."""
    if picture.shape[:2] != (feed.height, feed.width):
        shrinks = picture.shape[0] > feed.height or picture.shape[1] > feed.width
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = cv2.resize(picture, (feed.width, feed.height), interpolation=way).astype(np.uint8, copy=False)
    channels = picture[:, :, ::-1] if feed.order == "BGR" else picture
    floats = (channels.astype(np.float32) - np.array(feed.mean, np.float32)) / np.array(feed.scale, np.float32)
    if feed.layout == "NCHW":
        floats = floats.transpose(2, 0, 1)
    one = floats.astype(_TYPES[feed.type], order="C")[None]
    return one if feed.batch == 1 else np.repeat(one, feed.batch, axis=0)


def unit(vector: Floats) -> Floats:
    """A vector at length one; nothing at all becomes the vector whose parts are alike.

    :raises FloatingPointError: it holds infinities, or values that are not numbers.
    """
    length = np.linalg.norm(vector.astype(np.float64))
    if not np.isfinite(length):
        raise FloatingPointError("the network answers with values that are not finite")
    if length < np.finfo(np.float32).tiny:
        return np.full(len(vector), len(vector) ** -0.5, np.float32)
    return (vector / length).astype(np.float32)
