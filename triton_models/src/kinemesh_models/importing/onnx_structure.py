"""Reads the structure of an ONNX file without a library that would act on it.

Only protobuf's wire format is read: fields are a key (number and type) and a value. A file is refused if it refers to
other files (external data, which would read any path on the server) or to operators outside ONNX, which are code.
Source of the field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kinemesh_models.refusal import RefusedError

_DEEPEST = 16  # graphs within nodes within graphs
_DOMAINS = {"", "ai.onnx"}
_EXTERNAL = 1
_NEEDED = {7, 8}  # of a model: the graph and its operator sets

# Field numbers of nested messages, by message: number -> message.
_NESTED = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_NODE_DOMAIN, _FUNCTION_DOMAIN = 7, 10
_TENSOR_FILES, _TENSOR_LOCATION = 13, 14


def check(path: Path) -> None:
    """Raise :class:`RefusedError` UNKNOWN_FORMAT unless the file is one self-contained graph of ONNX' own operators."""
    data = memoryview(path.read_bytes())
    try:
        parts = {number for number, _ in _fields(data)}
        own: set[str] = set()
        used: set[str] = set()
        _walk("Model", data, 0, own, used)
    except (ValueError, IndexError) as error:
        raise RefusedError("UNKNOWN_FORMAT", "The file is damaged, or not an ONNX network.") from error
    if not parts >= _NEEDED:
        raise RefusedError("UNKNOWN_FORMAT", "The file is not an ONNX network.")
    if foreign := sorted(used - own - _DOMAINS):
        message = f"The network uses operators that are not ONNX' own: {', '.join(foreign)[:200]}."
        raise RefusedError("UNKNOWN_FORMAT", message, domains=",".join(foreign)[:200])


def _walk(message: str, data: memoryview, depth: int, own: set[str], used: set[str]) -> None:
    if depth > 4 * _DEEPEST:
        raise ValueError("nested too deep")
    nested = _NESTED.get(message, {})
    for number, value in _fields(data):
        if number in nested:
            _walk(nested[number], _bytes(value), depth + 1, own, used)
        elif message == "Node" and number == _NODE_DOMAIN:
            used.add(str(_bytes(value), "utf-8"))
        elif message == "Function" and number == _FUNCTION_DOMAIN:
            own.add(str(_bytes(value), "utf-8"))
        elif message == "Tensor" and (number == _TENSOR_FILES or (number == _TENSOR_LOCATION and value == _EXTERNAL)):
            raise RefusedError("UNKNOWN_FORMAT", "The network keeps its weights in other files: save it as one.")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")  # noqa: TRY004 (the file is wrong, not the caller)
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value: int | memoryview
            value, position = _varint(data, position)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, position = _varint(data, position)
            if size > len(data) - position:
                raise ValueError("a field ends behind its message")
            value, position = data[position : position + size], position + size
        else:
            raise ValueError("an unknown type of field")
        if not key >> 3:
            raise ValueError("a field without a number")
        yield key >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number of more than ten bytes")
