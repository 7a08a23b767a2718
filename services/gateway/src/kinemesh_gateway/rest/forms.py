"""Fields of multipart forms: what they must be, and how the document describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from kinemesh.errors import InvalidArgument, TooLarge, UnsupportedMedia

B = TypeVar("B", bound=BaseModel)

_BINARY = {"type": "string", "format": "binary"}


def form_document(file: str, required: tuple[str, ...] = (), **texts: str) -> dict[str, Any]:
    """What OpenAPI says of a form with one file and fields of text, each with its description."""
    fields = {name: {"type": "string", "description": text} for name, text in texts.items()}
    schema = {"type": "object", "required": [file, *required], "properties": {file: _BINARY, **fields}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def or_json(form: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A form's documentation, when the body may be JSON as well."""
    body = form["requestBody"]
    return {"requestBody": {**body, "content": {**body["content"], "application/json": {"schema": schema}}}}


def is_json(request: Request) -> bool:
    """Whether the body is JSON; a form otherwise.

    :raises UnsupportedMedia: ``JSON_OR_FORM_EXPECTED``.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        message = "The body must be JSON, or a form with a file."
        raise UnsupportedMedia("JSON_OR_FORM_EXPECTED", message, field="Content-Type")
    return kind == "application/json"


async def short_body(request: Request, limit: int) -> bytes:
    """A body at a path whose forms may be long; at most ``limit`` bytes.

    :raises TooLarge: ``BODY_TOO_LARGE``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge("BODY_TOO_LARGE", "The body is too large.", limit_bytes=limit)
    return bytes(body)


def json_field(fields: Mapping[str, str], name: str, default: Any) -> Any:
    """The JSON that a field holds.

    :raises InvalidArgument: ``FIELD_INVALID``.
    """
    text = fields.get(name, "").strip()
    if not text:
        return default
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidArgument("FIELD_INVALID", f"The field {name} must hold JSON.", field=name) from None


def parsed(body: bytes) -> Any:
    """The JSON of a body.

    :raises InvalidArgument: ``BODY_INVALID``.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidArgument("BODY_INVALID", "The body is not JSON.", field="body") from None


def checked(kind: type[B], values: Any, field: str = "") -> B:
    """The values of a form's fields, or of one field with JSON.

    :raises InvalidArgument: ``FIELD_INVALID``, naming the first that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        name = field
        for part in problem["loc"]:
            name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
        name = name[:200] or "body"
        raise InvalidArgument("FIELD_INVALID", f"{name}: {problem['msg']}.", field=name) from None
