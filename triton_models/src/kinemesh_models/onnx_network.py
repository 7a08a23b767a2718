"""A detector's ONNX network on OpenVINO or onnxruntime, one picture at a time on one thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import openvino as ov
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from openvino.preprocess import PrePostProcessor

from kinemesh_models.heads import STRIDE, Floats, Head

OPENVINO, ONNXRUNTIME = "openvino", "onnxruntime"
LARGEST_SIDE = 2560
_SHAPES_KEPT = 4

# What onnxruntime raises for files that it cannot read or run; its classes share no base but Exception.
ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OpenVinoNetwork:
    """Takes UINT8 pictures [H,W,3] RGB. Keeps a compiled network per shape, four at most.

    :raises RuntimeError: OpenVINO cannot read or compile the graph.
    """

    def __init__(self, path: Path, head: Head, device: str = "CPU") -> None:
        self._core = ov.Core()
        self._head = head
        self._device = device
        self._path = path
        self._requests: OrderedDict[tuple[int, int], tuple[ov.InferRequest, Floats]] = OrderedDict()
        self._request(head.height, head.width)

    def infer(self, image: NDArray[np.uint8]) -> list[Floats]:
        """The outputs without the batch dimension; views that the next call overwrites.

        :raises ValueError: the network cannot take this shape.
        """
        check_shape(self._head, image)
        request, picture = self._request(*image.shape[:2])
        # In one pass; OpenVINO's own conversion from interleaved bytes takes five times as long.
        picture[0] = _channels_first(image, self._head)
        request.infer()
        count = len(self._head.outputs)
        return [request.get_output_tensor(index).data[0].astype(np.float32, copy=False) for index in range(count)]

    def _request(self, height: int, width: int) -> tuple[ov.InferRequest, Floats]:
        entry = self._requests.pop((height, width), None)
        if entry is None:
            while len(self._requests) >= _SHAPES_KEPT:
                self._requests.popitem(last=False)
            request = self._compile(height, width).create_infer_request()
            picture = np.zeros((1, 3, height, width), np.float32)
            request.set_input_tensor(ov.Tensor(picture, shared_memory=True))
            entry = request, picture
        self._requests[height, width] = entry
        return entry

    def _compile(self, height: int, width: int) -> ov.CompiledModel:
        # Read anew: reshaping changes a graph, and shapes are few.
        whole = self._core.read_model(self._path)
        graph = ov.Model([whole.output(name) for name in self._head.outputs], whole.get_parameters(), self._path.stem)
        graph.reshape([1, 3, height, width])
        steps = PrePostProcessor(graph)
        steps.input().tensor().set_element_type(ov.Type.f32)
        steps.input().model().set_layout(ov.Layout("NCHW"))
        if any(self._head.mean):
            steps.input().preprocess().mean(list(self._head.mean))
        if any(scale != 1 for scale in self._head.scale):
            steps.input().preprocess().scale(list(self._head.scale))
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bf16 where a CPU has it
        if self._device == "CPU":
            # Instances are the parallelism. Pinning would put all of them on the same core.
            options |= {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        return self._core.compile_model(steps.build(), self._device, options)


class OnnxRuntimeNetwork:
    """The same on onnxruntime; only graphs that leave their size open take other sizes than their own.

    :param provider: an execution provider's name; the CPU's takes over what it cannot do, or all where it is missing.
    """

    def __init__(self, path: Path, head: Head, provider: str = "CPUExecutionProvider") -> None:
        wanted = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
        self._session = session(path, [name for name in wanted if name in ort.get_available_providers()])
        self._head = head

    @property
    def providers(self) -> list[str]:
        """Those in use, the preferred one first."""
        return list(self._session.get_providers())

    def infer(self, image: NDArray[np.uint8]) -> list[Floats]:
        """As :meth:`OpenVinoNetwork.infer`; the arrays belong to the caller."""
        check_shape(self._head, image, reshapes=False)
        values = normalised(image, self._head)
        answer = run(self._session, self._head.input, values, self._head.outputs)
        return [output[0].astype(np.float32, copy=False) for output in answer]


def session(path: Path, providers: list[str]) -> ort.InferenceSession:
    """An onnxruntime session on one thread that keeps its opinions to itself."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=providers)


def run(
    session: ort.InferenceSession, name: str, values: NDArray[np.generic], outputs: Sequence[str]
) -> Sequence[NDArray[np.generic]]:
    """The answer to one input, of either precision."""
    half = session.get_inputs()[0].type == "tensor(float16)"
    answer: Sequence[NDArray[np.generic]] = session.run(
        list(outputs), {name: values.astype(np.float16) if half else values}
    )
    return answer


def normalised(image: NDArray[np.uint8], head: Head) -> NDArray[np.float32]:
    """The picture [H,W,3] as the network's float32 input [1,3,H,W]."""
    values = _channels_first(image, head).astype(np.float32, order="C")
    if any(head.mean):
        values -= np.array(head.mean, np.float32)[:, None, None]
    if head.scale != (1.0, 1.0, 1.0):
        values /= np.array(head.scale, np.float32)[:, None, None]
    return values[None]


def _channels_first(image: NDArray[np.uint8], head: Head) -> NDArray[np.uint8]:
    channels = image[:, :, ::-1] if head.order == "BGR" else image
    return channels.transpose(2, 0, 1)


def check_shape(head: Head, image: NDArray[np.uint8], *, reshapes: bool = True) -> None:
    """Refuse what the network cannot take.

    :raises ValueError: with a sentence for the caller.
    """
    height, width = image.shape[:2]
    if (height, width) == (head.height, head.width):
        return
    if not (head.resizable and (reshapes or head.dynamic)):
        raise ValueError(f"this network takes pictures of {head.width}×{head.height} only, not {width}×{height}")
    if height % STRIDE or width % STRIDE or not 0 < max(height, width) <= LARGEST_SIDE or not min(height, width):
        raise ValueError(f"sides must be multiples of {STRIDE} up to {LARGEST_SIDE}, not {width}×{height}")
