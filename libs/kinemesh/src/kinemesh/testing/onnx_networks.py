"""Tiny ONNX networks, written byte by byte: detectors whose answers are known, for tests that have no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
Size = int | str


def _message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """Protobuf's wire format; field numbers are those of onnx.proto."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(out)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _tensor(name: str, value: NDArray[Any]) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[value.dtype]
    return _message(*((1, size) for size in value.shape), (2, kind), (8, name), (9, value.tobytes()))


def node(kind: str, inputs: Sequence[str], output: str, **attributes: list[int] | int) -> bytes:
    """One operation of a graph."""
    fields = [
        _message((1, name), (3, value), (20, 2))
        if isinstance(value, int)
        else _message((1, name), *((8, number) for number in value), (20, 7))
        for name, value in attributes.items()
    ]
    return _message(*((1, name) for name in inputs), (2, output), (4, kind), *((5, data) for data in fields))


def _port(name: str, kind: int, shape: Sequence[Size]) -> bytes:
    dims = _message(*((1, _message((2, size) if isinstance(size, str) else (1, size))) for size in shape))
    return _message((1, name), (2, _message((1, _message((1, kind), (2, dims))))))


@dataclass
class Graph:
    """What becomes an ONNX file. Inputs and outputs are floats unless ``kinds`` says otherwise."""

    inputs: dict[str, Sequence[Size]]
    outputs: dict[str, Sequence[Size]] = field(default_factory=dict)
    nodes: list[bytes] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the file; answers with its path."""
        graph = _message(
            *((1, one) for one in self.nodes),
            (2, "tiny"),
            *((5, _tensor(name, value)) for name, value in self.constants.items()),
            *((11, _port(name, self.kinds.get(name, 1), shape)) for name, shape in self.inputs.items()),
            *((12, _port(name, self.kinds.get(name, 1), shape)) for name, shape in self.outputs.items()),
        )
        told = [(14, _message((1, key), (2, value))) for key, value in self.told.items()]
        path.write_bytes(_message((1, 8), (7, graph), (8, _message((2, 13))), *told))
        return path


def brightness(channels: int, looks: int, gain: float, bias: Sequence[float]) -> Graph:
    """Rows ``joined`` [1, channels, 126]: ``bias``; channel ``looks`` adds how bright the first colour is."""
    graph = Graph({"images": [1, 3, 64, 96]}, constants={"flat": np.array([0, channels, -1], np.int64)})
    for stride in STRIDES:
        weights = np.zeros((channels, 3, stride, stride), np.float32)
        weights[looks, 0] = gain / stride**2
        graph.constants |= {f"w{stride}": weights, f"b{stride}": np.array(bias, np.float32)}
        inputs = ["images", f"w{stride}", f"b{stride}"]
        graph.nodes += [
            node("Conv", inputs, f"map{stride}", kernel_shape=[stride, stride], strides=[stride, stride]),
            node("Reshape", [f"map{stride}", "flat"], f"rows{stride}"),
        ]
    graph.nodes.append(node("Concat", [f"rows{stride}" for stride in STRIDES], "joined", axis=2))
    return graph


def tiny_yolox(path: Path) -> Path:
    """A YOLOX of two classes for 64 × 96 pixels: objectness is how blue a cell is, of 255, and boxes are two cells wide
    and one high, around the cell."""
    graph = brightness(7, looks=4, gain=1 / 255, bias=[0.5, 0.5, float(np.log(2)), 0, 0, 0.25, 1])
    graph.nodes.append(node("Transpose", ["joined"], "output", perm=[0, 2, 1]))
    graph.outputs["output"] = [1, 126, 7]
    return graph.write(path)
