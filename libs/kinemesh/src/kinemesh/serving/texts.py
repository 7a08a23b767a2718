"""Texts of requests, looked at before anything works with them."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from kinemesh.errors import InvalidArgument


def check_texts(message: Message) -> None:
    """Refuse a message with a NUL in a text, which neither names nor databases can hold.

    :raises InvalidArgument: INVALID_TEXT, naming the field.
    """
    if not _holds_text(message.DESCRIPTOR):
        return
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for each in _values(field, value):
            if isinstance(each, Message):
                check_texts(each)
            elif isinstance(each, str) and "\0" in each:
                raise InvalidArgument("INVALID_TEXT", f"{field.name} must not hold a NUL.", field=field.name)


def _values(field: FieldDescriptor, value: Any) -> list[Any]:
    if not field.is_repeated:
        return [value]
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return [*value, *value.values()] if is_map else list(value)


@cache
def _holds_text(kind: Descriptor) -> bool:
    """Whether a message can hold any; those with thousands of numbers need not be walked through."""
    known: set[str] = set()
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        if one.full_name in known:
            continue
        known.add(one.full_name)
        if any(field.type == FieldDescriptor.TYPE_STRING for field in one.fields):
            return True
        waiting += [field.message_type for field in one.fields if field.message_type is not None]
    return False
