"""What each request needs, as data. Services check the same again, by gRPC method."""

from __future__ import annotations

import re
from typing import Final

PUBLIC: Final = None
ANY: Final = ""
"""A token, whatever its scopes."""

_READING: Final = ("GET", "HEAD", "OPTIONS", "WEBSOCKET")
_OPEN: Final = frozenset(
    (
        "/api/health",
        "/api/v1/health",
        "/api/v1/auth/token",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
    )
)
QUIET: Final = frozenset(("/api/health", "/api/v1/health"))
"""Asked by probes, which no limit may stop."""

# Method, path, scope; the first that fits. Whatever fits none reads or writes.
_RULES: Final = tuple(
    (re.compile(method), re.compile(path), scope)
    for method, path, scope in (
        (".*", r"/api/v1/auth/keys(/.*)?", "admin"),
        (".*", r"/api/v1/auth/me", ANY),
        ("POST", r"/api/v1/models/(import|add)/?", "models"),
        ("DELETE", r"/api/v1/models/[^/]+/?", "models"),
        ("GET|HEAD", r"/api/v1/(assets|analyze)/[^/]+/upload/?", "write"),  # answers with URLs to write to
        ("POST", r"/api/v1/tracks/query/?", "read"),
    )
)


def scope_of(method: str, path: str) -> str | None:
    """The scope that a request needs; :data:`ANY`, or :data:`PUBLIC` for what anybody may ask.

    :param method: of HTTP, or WEBSOCKET.
    """
    if path in _OPEN:
        return PUBLIC
    for methods, paths, scope in _RULES:
        if methods.fullmatch(method) and paths.fullmatch(path):
            return scope
    return "read" if method in _READING else "write"
