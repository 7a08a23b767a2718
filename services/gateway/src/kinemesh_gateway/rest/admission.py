"""Who sends a request, whether they may, and how often."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.types import Scope

from kinemesh.access.gate import bearer
from kinemesh.access.identity import LOCAL_OWNER, OWNER_PATTERN, Identity, local_identity
from kinemesh.access.tokens import Tokens
from kinemesh.errors import InvalidArgument, ResourceExhausted
from kinemesh_gateway.domain.rates import Buckets, Standing
from kinemesh_gateway.domain.scopes import PUBLIC, QUIET, scope_of
from kinemesh_gateway.rest.errors import ErrorAnswer
from kinemesh_gateway.settings import RateSettings

OWNER_HEADER: Final = "X-Kinemesh-Owner"
SUBPROTOCOL: Final = "kinemesh.bearer"
_QUERY: Final = "access_token"

_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What is known of a request before anything is done for it.

    :ivar identity: None for what anybody may ask.
    :ivar address: from where, as far as proxies that are trusted say it.
    :ivar standing: where the sender stands, if there is a limit.
    """

    identity: Identity | None
    address: str
    standing: Standing | None


class Admission:
    """At the gateway's door.

    :param tokens: None where nobody has to show who they are.
    :param media: what matches paths that a browser's own elements ask for, which can send no header.
    """

    def __init__(
        self, tokens: Tokens | None, rates: RateSettings, proxies: Iterable[str], media: re.Pattern[str]
    ) -> None:
        self.tokens = tokens
        self._rates = rates
        self._proxies: _Networks = tuple(ipaddress.ip_network(one) for one in proxies)
        self._media = media
        self._requests = Buckets()
        self._failures = Buckets()

    def admit(self, scope: Scope, headers: Headers) -> Admitted:
        """Settle who sends a request. A token in the query is taken out of it, so that nobody writes it down later.

        :raises Unauthenticated: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED
        :raises PermissionDenied: SCOPE_MISSING
        :raises ResourceExhausted: RATE_LIMITED
        :raises InvalidArgument: OWNER_INVALID
        """
        address = scope["address"] = self.address_of(scope, headers)
        in_query = _taken_from_query(scope)
        method = scope.get("method", "WEBSOCKET")
        path = str(scope["path"])
        needed = scope_of(method, path)
        if self.tokens is None:
            identity = scope["identity"] = None if needed is PUBLIC else _believed(headers)
            return Admitted(identity, address, self._count(f"address {address}", None, path))
        if needed is PUBLIC:
            return Admitted(None, address, self._count(f"address {address}", None, path))
        identity = scope["identity"] = self.tokens.verify(self._token(scope, headers, in_query))
        if needed:
            identity.require(needed)
        name = f"key {identity.key_id}" if identity.key_id else f"owner {identity.owner}"
        return Admitted(identity, address, self._count(name, identity.limits.requests_per_minute, path))

    def _token(self, scope: Scope, headers: Headers, in_query: str) -> str:
        is_socket = scope["type"] == "websocket"
        if "authorization" not in headers:
            offered = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
            if is_socket and len(offered) == 2 and offered[0] == SUBPROTOCOL:
                return offered[1]
            is_media = scope.get("method") in ("GET", "HEAD") and self._media.fullmatch(scope["path"])
            if in_query and (is_socket or is_media):
                return in_query
        return bearer(headers.get("authorization", ""))

    def _count(self, name: str, own_limit: int | None, path: str) -> Standing | None:
        limit = own_limit or (self._rates.requests_per_minute if self.tokens is not None else 0)
        if not limit or path in QUIET:
            return None
        standing = self._requests.take(name, limit, time.monotonic())
        if standing.retry_s:
            raise rate_limited(standing)
        return standing

    def require_good_faith(self, address: str) -> None:
        """Refuse an address from where too many keys came that are none.

        :raises ResourceExhausted: RATE_LIMITED
        """
        standing = self._failures.look(address, self._rates.failures_per_minute, time.monotonic())
        if standing.retry_s:
            raise rate_limited(standing)

    def note_failure(self, address: str) -> None:
        """A key came from there that is none."""
        self._failures.take(address, self._rates.failures_per_minute, time.monotonic())

    def address_of(self, scope: Scope, headers: Headers) -> str:
        """Where a request comes from: the last address in X-Forwarded-For that is no trusted proxy's."""
        address = str((scope.get("client") or ("unknown",))[0])
        for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
            if not self._is_proxy(address) or not hop.strip():
                break
            address = hop.strip()[:64]
        return address

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ipaddress.ip_address(address) in network for network in self._proxies)
        except ValueError:
            return False


def rate_limited(standing: Standing) -> ResourceExhausted:
    """The refusal of somebody who asks too often; it says when to come again."""
    said = f"More than {standing.limit} a minute; ask again in {standing.retry_s} s."
    return ResourceExhausted(
        "RATE_LIMITED", said, retry_after_s=standing.retry_s, limit=standing.limit, reset_s=standing.reset_s
    )


def _believed(headers: Headers) -> Identity:
    owner = headers.get(OWNER_HEADER, LOCAL_OWNER)
    if not OWNER_PATTERN.fullmatch(owner):
        raise InvalidArgument("OWNER_INVALID", f"The header {OWNER_HEADER} is not a name.", field=OWNER_HEADER)
    return local_identity(owner)


def _taken_from_query(scope: Scope) -> str:
    query = scope.get("query_string", b"")
    if _QUERY.encode() not in query:
        return ""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    scope["query_string"] = urlencode([pair for pair in pairs if pair[0] != _QUERY]).encode()
    return next((value for name, value in pairs if name == _QUERY), "")


def document_admission(document: dict[str, Any]) -> None:
    """Say in an OpenAPI document which tokens its operations need, and how callers are refused before anything is done:
    without a token, without its scope, and for calling too often."""
    components = document["components"]
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = scope_of(method.upper(), path)
            refusals = [] if path in QUIET else [HTTPStatus.TOO_MANY_REQUESTS]
            if needed is not PUBLIC:
                operation["security"] = [{"bearer": [needed] if needed else []}]
                refusals += [HTTPStatus.UNAUTHORIZED, *([HTTPStatus.FORBIDDEN] if needed else [])]
            for status in refusals:
                operation["responses"].setdefault(str(status.value), {"description": status.phrase, "content": content})
