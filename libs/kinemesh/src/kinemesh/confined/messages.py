"""Messages between a process and its confined children: JSON and bytes, since what a child says must not be believed.

A message is two lengths, a JSON object, and bytes. Descriptors may come with one that the parent sends.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_LENGTHS: Final = struct.Struct("<IQ")
MOST_JSON: Final = 4 << 20
MOST_BYTES: Final = 256 << 20


class Gone(Exception):
    """The other side has ended, or says what it never would."""


@dataclass(slots=True)
class Message:
    """What the other side says.

    :ivar facts: the JSON object.
    :ivar data: the bytes.
    :ivar descriptors: of open files; whoever gets them closes them.
    """

    facts: dict[str, Any]
    data: bytes = b""
    descriptors: list[int] = field(default_factory=list)


def send(
    connection: socket.socket,
    facts: Mapping[str, Any],
    data: bytes | memoryview = b"",
    descriptors: Sequence[int] = (),
) -> None:
    """Say something.

    :param data: bytes; a view must be one of single bytes.
    :raises Gone: nobody listens any more.
    :raises TimeoutError: where the socket has a timeout.
    """
    text = json.dumps(facts, separators=(",", ":")).encode()
    head = _LENGTHS.pack(len(text), len(data))
    try:
        if descriptors:
            socket.send_fds(connection, [head], descriptors)
            head = b""
        connection.sendall(head + text)
        if data:
            connection.sendall(data)
    except TimeoutError:
        raise
    except OSError as error:
        raise Gone from error


def receive(connection: socket.socket, within_s: float | None = None, *, takes_descriptors: bool = False) -> Message:
    """Hear something.

    :param within_s: for the whole message.
    :raises Gone: the other side has ended, or sends no message.
    :raises TimeoutError: nothing came in time.
    """
    deadline = None if within_s is None else time.monotonic() + within_s
    descriptors: list[int] = []
    try:
        if takes_descriptors:
            head, descriptors, _, _ = socket.recv_fds(connection, _LENGTHS.size, 1)
            head += _exactly(connection, _LENGTHS.size - len(head), deadline) if head else b""
        else:
            head = _exactly(connection, _LENGTHS.size, deadline)
        if not head:
            raise Gone
        text_length, data_length = _LENGTHS.unpack(head)
        if text_length > MOST_JSON or data_length > MOST_BYTES:
            raise Gone
        facts = json.loads(_exactly(connection, text_length, deadline))
        data = _exactly(connection, data_length, deadline)
    except TimeoutError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise Gone from error
    if not isinstance(facts, dict):
        raise Gone
    return Message(facts, data, descriptors)


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        read = connection.recv_into(view)
        if not read:
            raise Gone
        view = view[read:]
    return bytes(buffer)
