"""Around every request and WebSocket: id, trace, log, metrics, limits, headers that restrain browsers."""

from __future__ import annotations

import re
import time
import uuid
from contextlib import ExitStack
from urllib.parse import urlsplit

import structlog
from opentelemetry.trace import Span, SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kinemesh.access import audit
from kinemesh.access.gate import acting_as
from kinemesh.errors import InvalidArgument, KinemeshError, PermissionDenied, TooLarge
from kinemesh.telemetry.tracing import span
from kinemesh_gateway.domain.rates import Standing
from kinemesh_gateway.domain.scopes import QUIET
from kinemesh_gateway.metrics import HTTP_SECONDS
from kinemesh_gateway.rest.admission import SUBPROTOCOL, Admission
from kinemesh_gateway.rest.errors import error_response
from kinemesh_gateway.settings import HttpSettings

_log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_METHODS = frozenset((*_SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE"))
_SAID_TO_SOCKETS = frozenset(("TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "SCOPE_MISSING", "RATE_LIMITED"))

# The pages that show the OpenAPI document load their scripts and styles from a public network.
_DOC_PAGES = frozenset(("/docs", "/redoc", "/docs/oauth2-redirect"))
_DOC_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; worker-src blob:; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    "font-src https://fonts.gstatic.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; frame-ancestors 'none'"
)
_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class RequestContext:
    """ASGI middleware.

    :param admission: settles who calls, and whether they may, before anything else is done.
    :param streamed: what matches whole paths whose bodies are not held in memory and have limits of their own.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, admission: Admission, streamed: re.Pattern[str]) -> None:
        self._app = app
        self._settings = settings
        self._admission = admission
        self._limit = settings.json_limit_kb * 1024
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        method = scope.get("method", "WEBSOCKET")
        with ExitStack() as stack:
            stack.enter_context(structlog.contextvars.bound_contextvars(request_id=request_id))
            current = stack.enter_context(span(method, SpanKind.SERVER, parent=headers))
            answered = _Answered(send, request_id, scope)
            started = time.perf_counter()
            try:
                self._check_origin(scope, headers)
                admitted = scope["admitted"] = self._admission.admit(scope, headers)
                answered.standing = admitted.standing
                if admitted.identity is not None:
                    stack.enter_context(acting_as(admitted.identity, self._admission.tokens))
                if scope["type"] == "http" and not self._streamed.fullmatch(scope["path"]):
                    receive = _limited(receive, headers, self._limit)
                await self._app(scope, receive, answered.send)
            except Exception as error:  # noqa: BLE001 - every failure leaves as an answer with a reason
                await self._fail(scope, receive, answered, error)
                answered.reason = error.reason if isinstance(error, KinemeshError) else "INTERNAL"
            finally:
                _note(scope, method, answered)
                _observe(scope, method, answered.status, time.perf_counter() - started, current)

    async def _fail(self, scope: Scope, receive: Receive, answered: _Answered, error: Exception) -> None:
        if isinstance(error, ClientDisconnect):
            _log.info("client left")
            return
        if answered.status or scope["type"] == "websocket":
            if not isinstance(error, KinemeshError):
                _log.error("request broke off", exc_info=error)
            if not answered.status and isinstance(error, KinemeshError) and error.reason in _SAID_TO_SOCKETS:
                # Accepted first, because browsers do not show their pages why one was not.
                await receive()
                await answered.send({"type": "websocket.accept", "headers": []})
                code = 4000 + error.http_status
                await answered.send({"type": "websocket.close", "code": code, "reason": error.reason})
            elif not answered.status:
                await answered.send({"type": "websocket.close", "code": 1008})
            elif scope["type"] == "http":
                raise _BrokenOff from None  # the server closes the connection, so that the client sees the loss
            return
        await error_response(error)(scope, receive, answered.send)

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse what another site's page sends through the user's browser.

        :raises InvalidArgument: ``HOST_NOT_ALLOWED``.
        :raises PermissionDenied: ``ORIGIN_NOT_ALLOWED``.
        """
        host = headers.get("host", "")
        public = urlsplit(self._settings.public_url).netloc
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]
        if name.lower() not in self._settings.allowed_hosts and (not public or host != public):
            raise InvalidArgument("HOST_NOT_ALLOWED", "This server does not answer to that name.", field="Host")
        origin = headers.get("origin")
        if origin is None or scope.get("method") in _SAFE_METHODS:
            return
        if origin not in self._settings.cors_origins and urlsplit(origin).netloc != host:
            raise PermissionDenied("ORIGIN_NOT_ALLOWED", "Pages of that origin may not do this.", field="Origin")


class _BrokenOff(Exception):
    """An answer ended before it was whole."""


class _Answered:
    """Adds headers to the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str, scope: Scope) -> None:
        self._send = send
        self._request_id = request_id
        self._policy = _DOC_POLICY if scope["path"] in _DOC_PAGES else _POLICY
        self._offered = scope.get("subprotocols", ())
        self.status = 0
        self.reason = ""
        self.standing: Standing | None = None

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            self.status = message.get("status", 101)
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            if self.standing is not None:
                headers["RateLimit-Limit"] = str(self.standing.limit)
                headers["RateLimit-Remaining"] = str(self.standing.remaining)
                headers["RateLimit-Reset"] = str(self.standing.reset_s)
            if self.status == 101 and SUBPROTOCOL in self._offered:
                message["subprotocol"] = SUBPROTOCOL
            if self.status != 101:
                headers.setdefault("Cache-Control", "no-store")
                headers["Content-Security-Policy"] = self._policy
                for name, value in _SECURITY.items():
                    headers[name] = value
        await self._send(message)


def _limited(receive: Receive, headers: Headers, limit: int) -> Receive:
    """Refuse a body that is longer than allowed, whether it says so or not."""
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge("BODY_TOO_LARGE", "The body is too large.", limit_bytes=limit)
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413)  # the one kind that the framework hands on from a body it reads
        return message

    return counted


def _note(scope: Scope, method: str, answered: _Answered) -> None:
    """Tell the audit log of what changes something, and of whom is refused."""
    refused = answered.status in (401, 403) or audit.is_refusal(answered.reason)
    if (method in _SAFE_METHODS or method == "WEBSOCKET") and not refused:
        return
    resources = {name: value for name, value in scope.get("path_params", {}).items() if isinstance(value, str)}
    outcome = answered.reason or ("OK" if answered.status < 400 else f"HTTP_{answered.status}")
    action = f"{method} {getattr(scope.get('route'), 'path', scope['path'][:200])}"
    audit.note(action, outcome, scope.get("identity"), scope.get("address", ""), resources)


def _observe(scope: Scope, method: str, status: int, seconds: float, current: Span) -> None:
    route = getattr(scope.get("route"), "path", "unknown")
    method = method if method in _METHODS or method == "WEBSOCKET" else "OTHER"
    HTTP_SECONDS.labels(method, route, str(status)).observe(seconds)
    current.update_name(f"{method} {route}")
    current.set_attribute("http.response.status_code", status)
    if route not in QUIET:
        _log.info("request", method=method, route=route, status=status, ms=round(1000 * seconds, 1))
