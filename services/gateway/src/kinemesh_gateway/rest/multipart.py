"""Multipart forms with one file, read as they come."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from kinemesh.errors import InvalidArgument, TooLarge, UnsupportedMedia
from kinemesh.media.container import recognise

_HEAD: Final = 400
_MOST_FIELD_BYTES: Final = 64 * 1024
_MOST_FIELDS: Final = 32
_FIELD_TYPES: Final = frozenset(("application/json", "text/plain"))
FORM_ROOM: Final = _MOST_FIELDS * _MOST_FIELD_BYTES
"""Bytes that a form may have besides its file."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What file a form must hold.

    :ivar field: name of its field.
    :ivar suffixes: those that its name may have, in lower case; any when empty.
    :ivar check: raises when the file cannot be what it must be, by its first bytes.
    :ivar limit_mb: the gateway's own limit when 0.
    """

    field: str = "file"
    suffixes: tuple[str, ...] = ()
    check: Callable[[BinaryIO], object] | None = recognise
    limit_mb: int = 0


@dataclass(slots=True)
class Form:
    """What is known of a form with one file: all of it once the form has been read."""

    filename: str = ""
    content_type: str = ""
    size: int = 0
    fields: dict[str, str] = field(default_factory=dict)


class FormParser:
    """The parser's callbacks: the file's bytes wait to be taken, fields go into the form."""

    def __init__(self, form: Form, content_type: str, expected: Expected) -> None:
        self.form = form
        self._expected = expected
        self._pending = bytearray()
        self._head = bytearray()
        self._recognised = False
        self._ended = False
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field = ""
        self._text = bytearray()
        self._is_file = False
        self._parser = MultipartParser(
            _boundary(content_type),
            {
                "on_part_begin": self._part_begin,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_end": self._end,
            },
            max_header_count=16,
            max_header_size=8192,
        )

    def feed(self, chunk: bytes) -> None:
        """Read on; :attr:`pending` grows by no more than the chunk.

        :raises InvalidArgument: ``FORM_INVALID``.
        :raises TooLarge: ``FIELD_TOO_LARGE``.
        :raises UnsupportedMedia: what ``expected`` says of the file, as soon as its head is there.
        """
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise InvalidArgument("FORM_INVALID", "The form cannot be read.") from None

    @property
    def pending(self) -> int:
        """Bytes of the file that have come and have not been taken."""
        return len(self._pending)

    def take(self) -> bytearray:
        """Bytes of the file that have come, in their order."""
        taken, self._pending = self._pending, bytearray()
        return taken

    def finish(self) -> None:
        """Say that nothing comes any more.

        :raises InvalidArgument: ``FORM_INVALID``, ``FILE_MISSING``.
        """
        if not self._ended:
            raise InvalidArgument("FORM_INVALID", "The form ends before its last boundary.")
        if not self.form.filename:
            raise InvalidArgument("FILE_MISSING", "The form holds no file.", field=self._expected.field)

    def _part_begin(self) -> None:
        self._headers = {}
        self._text.clear()

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        kind = self._headers.get(b"content-type", b"application/octet-stream").decode("ascii", "replace")
        wanted = self._expected
        # Browsers send a Blob, such as one of JSON, as a file.
        is_field = kind.partition(";")[0].strip().lower() in _FIELD_TYPES
        self._is_file = filename is not None and (self._field == wanted.field or not is_field)
        if filename is None or not self._is_file:
            return
        if self._field != wanted.field or self.form.filename:
            raise InvalidArgument("FORM_INVALID", f"The form takes one file, {wanted.field}.", field=self._field)
        self.form.filename = filename.decode("utf-8", "replace") or "upload"
        self.form.content_type = kind
        if wanted.suffixes and not self.form.filename.lower().endswith(wanted.suffixes):
            raise UnsupportedMedia(
                "UNSUPPORTED_CONTAINER", f"The file must be one of {', '.join(wanted.suffixes)}.", field=self._field
            )

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if not self._is_file:
            self._text += piece
            if len(self._text) > _MOST_FIELD_BYTES:
                raise TooLarge("FIELD_TOO_LARGE", "A field of the form is too long.", field=self._field)
            return
        self.form.size += len(piece)
        self._pending += piece
        if not self._recognised:
            self._head += piece[: _HEAD - len(self._head)]
            if len(self._head) == _HEAD:
                self._recognise()

    def _recognise(self) -> None:
        self._recognised = True
        if self._expected.check is not None:
            self._expected.check(io.BytesIO(self._head))

    def _part_end(self) -> None:
        if self._is_file:
            if not self._recognised:
                self._recognise()
            return
        if len(self.form.fields) >= _MOST_FIELDS:
            raise InvalidArgument("FORM_INVALID", "The form has too many fields.")
        self.form.fields[self._field] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("FORM_EXPECTED", "The body must be multipart/form-data.", field="Content-Type")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise InvalidArgument("FORM_INVALID", "The form names no boundary.", field="Content-Type")
    return boundary
