"""Every failure as the same JSON, whoever raised it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from kinemesh.errors import Internal, KinemeshError, ResourceExhausted, Unauthenticated, Unavailable
from kinemesh.serving.status import as_error
from kinemesh.telemetry.metrics import FAILURES

_log = structlog.get_logger()

_MOST_FIELDS = 20
_RETRY_AFTER_S = "2"

_CHALLENGE = 'Bearer realm="kinemesh"'
_CHALLENGES = dict.fromkeys(("TOKEN_INVALID", "TOKEN_EXPIRED"), f'{_CHALLENGE}, error="invalid_token"')

# What the framework itself refuses: status → (gRPC code, reason, sentence).
_FRAMEWORK = {
    400: ("INVALID_ARGUMENT", "BODY_INVALID", "The body cannot be read."),
    404: ("NOT_FOUND", "ROUTE_NOT_FOUND", "There is nothing at this path."),
    405: ("UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "This path does not take this method."),
    413: ("INVALID_ARGUMENT", "BODY_TOO_LARGE", "The body is too large."),
}


class ErrorFacts(BaseModel):
    """For programs."""

    status: str = Field(description="name of the gRPC code", examples=["NOT_FOUND"])
    reason: str = Field(description="cause in UPPER_SNAKE", examples=["JOB_NOT_FOUND"])
    metadata: dict[str, str] = Field(description="further facts; `field` names what is wrong with the input")
    request_id: str = Field(description="the id to look for in the logs")


class ErrorAnswer(BaseModel):
    """How everything fails."""

    detail: str = Field(description="one sentence")
    error: ErrorFacts


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for OpenAPI; what it has no part in, admission adds."""
    return {status: {"model": ErrorAnswer} for status in sorted({*statuses, 400, 422, 503})}


@contextmanager
def fields_named(names: Mapping[str, str]) -> Iterator[None]:
    """Errors of services name fields as gRPC has them; let them name those that the client sent.

    :param names: beginnings of paths, such as ``style.trail_sec``, and what stands there for them; the first that fits.
    """
    try:
        yield
    except KinemeshError as error:
        field = error.metadata.get("field", "")
        for theirs, ours in names.items():
            if field == theirs or field.startswith((f"{theirs}.", f"{theirs}[")):
                renamed = {**error.metadata, "field": ours + field.removeprefix(theirs)}
                raise type(error)(error.reason, error.message, **renamed) from None
        raise


def answer(
    http_status: int, code: str, reason: str, message: str, metadata: Mapping[str, str], headers: Mapping[str, str]
) -> JSONResponse:
    FAILURES.labels(reason).inc()
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    error = {"status": code, "reason": reason, "metadata": dict(metadata), "request_id": request_id}
    return JSONResponse({"detail": message, "error": error}, http_status, headers=dict(headers))


def error_response(error: Exception) -> JSONResponse:
    """The answer for anything that was raised; what has no reason says nothing of itself."""
    visible = as_error(error)
    if isinstance(visible, Internal):
        _log.error("request failed", reason=visible.reason, exc_info=error)
    headers: dict[str, str] = {}
    if isinstance(visible, ResourceExhausted | Unavailable):
        headers["Retry-After"] = visible.metadata.get("retry_after_s", _RETRY_AFTER_S)
    if visible.reason == "RATE_LIMITED":
        headers |= {"RateLimit-Limit": visible.metadata["limit"], "RateLimit-Remaining": "0"}
        headers["RateLimit-Reset"] = visible.metadata["reset_s"]
    if isinstance(visible, Unauthenticated):
        headers["WWW-Authenticate"] = _CHALLENGES.get(visible.reason, _CHALLENGE)
    return answer(visible.http_status, visible.code, visible.reason, visible.message, visible.metadata, headers)


def handle_errors(app: FastAPI) -> None:
    """Install the handlers."""

    @app.exception_handler(KinemeshError)
    async def _ours(_request: Request, error: KinemeshError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def _frameworks(request: Request, error: HTTPException) -> JSONResponse:
        fallback = ("UNKNOWN", "HTTP_ERROR", "The request was refused.")
        code, reason, message = _FRAMEWORK.get(error.status_code, fallback)
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers or {}
        return answer(error.status_code, code, reason, message, {}, headers)

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = {_field(problem["loc"]): str(problem["msg"]) for problem in error.errors()[:_MOST_FIELDS]}
        message = "; ".join(f"{field}: {text}" for field, text in problems.items()) + "."
        metadata = {"field": ", ".join(problems)}
        return answer(422, "INVALID_ARGUMENT", "VALIDATION_FAILED", message, metadata, {})


def _allowed(request: Request) -> str:
    """The methods that a path takes; the framework names those of one route only."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") if takes(method))


def _field(location: tuple[int | str, ...]) -> str:
    """The name of a field as a client knows it: ``parts[0].etag`` for ("body", "parts", 0, "etag")."""
    name = ""
    for part in location[1:]:
        name += f"[{part}]" if isinstance(part, int) and name else f".{part}" if name else str(part)
    # A position in a body that is no JSON at all is no field.
    return name[:200] if name and not name.isdecimal() else str(location[0])
