"""Random messages of any type, valid by their types and by nothing else."""

from __future__ import annotations

import random
import struct
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_DEPTH = 4
_TEXTS = (
    *("", "x", "nope", "0" * 32, "../../etc/passwd", "a" * 5000, "\x00", "\n", "%s%n", "’ OR 1=1 --", "ä€😀", "-1"),
    *("pose_detector", "local", "built-in-wall", "camera-1", "homography_points_c09.npz", "{}", "NaN"),
)
_BYTES = (b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8X", b"PK\3\4", b"\x80\4.", b"{}")
_FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
_INTEGERS = (0, 1, -1, 2, 16, 255, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)


def random_message(kind: Descriptor, rng: random.Random, depth: int = _DEPTH) -> Message:
    """A message whose fields are set or not, mostly to what lies at the edge of something."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if rng.random() < 0.3 or (field.message_type is not None and not depth):
            continue
        if not field.is_repeated:
            _set(message, field, rng, depth)
            continue
        for _ in range(rng.choice((1, 1, 2, 5, 40))):
            _add(message, field, rng, depth)
    return message


def _set(message: Message, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    if field.message_type is None:
        setattr(message, field.name, _scalar(field, rng))
    else:
        getattr(message, field.name).CopyFrom(random_message(field.message_type, rng, depth - 1))


def _add(message: Message, field: FieldDescriptor, rng: random.Random, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type is None:
        target.append(_scalar(field, rng))
    elif field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        if value.message_type is None:
            target[_scalar(key, rng)] = _scalar(value, rng)
        else:
            target[_scalar(key, rng)].CopyFrom(random_message(value.message_type, rng, depth - 1))
    else:
        target.append(random_message(field.message_type, rng, depth - 1))


def _scalar(field: FieldDescriptor, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice(_BYTES) + rng.randbytes(rng.choice((0, 0, 3, 200)))
        return rng.choice(_TEXTS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.enum_type is not None:
        return rng.choice([*field.enum_type.values_by_number, 99])
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return rng.choice(_FLOATS)
    if kind == FieldDescriptor.CPPTYPE_FLOAT:
        value = rng.choice(_FLOATS)
        return value if abs(value) < 1e38 or value != value else struct.unpack("f", rng.randbytes(4))[0]
    low, high = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    }[kind]
    return rng.choice([number for number in _INTEGERS if low <= number <= high])
