"""Protobuf ↔ JSON.

JSON keeps the fields' proto names; enums are short names (``SUCCEEDED`` for ``JOB_STATE_SUCCEEDED``, null when not
set), times are RFC 3339, bytes are base64, messages that are not set are null.
"""

from __future__ import annotations

import base64
import binascii
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kinemesh.errors import InvalidArgument
from kinemesh.job.v1 import job_pb2

_MOST_ITEMS = 10_000
_FREE_TEXT = frozenset(("notes", "description"))
_TIMESTAMP = "google.protobuf.Timestamp"

STATES = {
    "QUEUED": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}
"""States of jobs as the product surfaces call them."""


def state_name(job: job_pb2.Job) -> str:
    """The short name of a job's state."""
    return str(job_pb2.JobState.Name(job.state)).removeprefix("JOB_STATE_")


def job_json(job: job_pb2.Job) -> dict[str, Any]:
    """A job; its parameters are those of its pipeline, without the wrapper and without keys of objects."""
    chosen = job.parameters.WhichOneof("pipeline")
    parameters = to_json(getattr(job.parameters, chosen)) if chosen else {}
    for attempt in parameters.get("attempts", ()):
        del attempt["data_prefix"]
    return to_json(job) | {"parameters": parameters}


def to_json(message: Message) -> dict[str, Any]:
    """A message as JSON values."""
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    return {field.name: _field_json(message, field) for field in fields}


def _field_json(message: Message, field: FieldDescriptor) -> Any:
    if field.has_presence and not message.HasField(field.name):
        return None
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        kind = field.message_type.fields_by_name["value"]
        return {key: _value_json(item, kind) for key, item in value.items()}
    if field.is_repeated:
        return [_value_json(item, field) for item in value]
    return _value_json(value, field)


def _with_integers(value: Any) -> Any:
    """A Struct knows one kind of number; counts and ids shall be integers again."""
    if isinstance(value, dict):
        return {name: _with_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _value_json(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return _short_names(field.enum_type)[value] if value else None
    if field.message_type is None:
        return base64.b64encode(value).decode() if field.type == FieldDescriptor.TYPE_BYTES else value
    if field.message_type.full_name == _TIMESTAMP:
        return value.ToJsonString()
    if field.message_type.full_name == "google.protobuf.Struct":
        return _with_integers(MessageToDict(value))
    return to_json(value)


def _short_names(kind: EnumDescriptor) -> dict[int, str]:
    prefix = kind.values[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix) for value in kind.values}


def enum_number(kind: EnumDescriptor, name: str, path: str) -> int:
    """The number of a short name, in upper or lower case.

    :raises InvalidArgument: ``FIELD_INVALID``.
    """
    names = {short: number for number, short in _short_names(kind).items() if number}
    if name.upper() not in names:
        raise _invalid(path, "must be one of " + ", ".join(names))
    return names[name.upper()]


def from_json(message: Message, values: Any, path: str) -> None:
    """Fill a message from JSON values, which come from a client.

    :param path: where the values stand in the request, for errors.
    :raises InvalidArgument: ``FIELD_UNKNOWN``, ``FIELD_INVALID``; ``field`` in its metadata names the culprit.
    """
    if not isinstance(values, dict):
        raise _invalid(path, "must be an object")
    for name, value in values.items():
        field: Any = message.DESCRIPTOR.fields_by_name.get(name)
        where = (f"{path}.{name}" if path else name)[:200]
        if field is None:
            raise InvalidArgument("FIELD_UNKNOWN", f"There is no field {where}.", field=where)
        if value is None:
            continue
        if not field.is_repeated:
            _set(message, field, value, where)
            continue
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            raise _invalid(where, f"must be a list of at most {_MOST_ITEMS} items")
        for position, item in enumerate(value):
            target = getattr(message, name)
            if field.message_type is not None:
                from_json(target.add(), item, f"{where}[{position}]")
            else:
                target.append(_scalar(field, item, f"{where}[{position}]"))


def _set(message: Message, field: FieldDescriptor, value: Any, where: str) -> None:
    if field.message_type is not None:
        target = getattr(message, field.name)
        target.SetInParent()
        if field.message_type.full_name == _TIMESTAMP:
            _set_time(target, value, where)
        else:
            from_json(target, value, where)
    else:
        setattr(message, field.name, _scalar(field, value, where))


def _set_time(target: Any, value: Any, where: str) -> None:
    try:
        target.FromJsonString(value)
    except (TypeError, ValueError, AttributeError):
        raise _invalid(where, "must be a time such as 2026-03-01T08:00:00Z") from None


def _scalar(field: FieldDescriptor, value: Any, where: str) -> Any:
    kind = field.cpp_type
    if field.enum_type is not None:
        if not isinstance(value, str):
            raise _invalid(where, "must be a name")
        return enum_number(field.enum_type, value, where)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(value, where)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        readable = _is_free_text if field.name in _FREE_TEXT else str.isprintable
        if not isinstance(value, str) or not readable(value):
            raise _invalid(where, "must be a printable text")
        return value
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise _invalid(where, "must be true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _invalid(where, "must be a number")
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return float(value)
    if value != int(value) or not -(2**31) <= value < 2**31:
        raise _invalid(where, "must be a whole number below 2147483648")
    return int(value)


def _bytes(value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise _invalid(where, "must be base64") from None


def _is_free_text(value: str) -> bool:
    """Whether a text holds nothing but characters and line breaks."""
    return all(c in "\t\r\n" or unicodedata.category(c) not in ("Cc", "Cs") for c in value)


def _invalid(path: str, what: str) -> InvalidArgument:
    return InvalidArgument("FIELD_INVALID", f"{path} {what}.", field=path)
