"""Frames of WebSockets (RFC 6455, section 5.2)."""

from __future__ import annotations

_WHOLE_TEXT = 0x81
_TWO_BYTES, _EIGHT_BYTES = 126, 127


def text_frame(text: bytes) -> bytes:
    """A whole text message from a server, which does not mask."""
    length = len(text)
    if length < _TWO_BYTES:
        head = bytes((_WHOLE_TEXT, length))
    elif length < 2**16:
        head = bytes((_WHOLE_TEXT, _TWO_BYTES)) + length.to_bytes(2, "big")
    else:
        head = bytes((_WHOLE_TEXT, _EIGHT_BYTES)) + length.to_bytes(8, "big")
    return head + text
