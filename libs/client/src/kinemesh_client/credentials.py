"""How a client shows who calls: with tokens that it gets for an API key and renews in time, or signs itself."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import httpx

from kinemesh.access.identity import LOCAL_OWNER, SCOPES, Identity
from kinemesh_client.answers import answer, unreachable

API_KEY: Final = "KINEMESH_API_KEY"
_SECRET: Final = "KINEMESH_AUTH__SECRET"  # noqa: S105 - its name
_EARLY_S: Final = 30.0  # a token is renewed so long before its end
_SIGNED_S: Final = 300
_EXCHANGE: Final = httpx.Timeout(20.0, connect=5.0)

Headers = Callable[[], Awaitable[dict[str, str]]]
"""What to open a WebSocket with; asked anew for each."""
Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Answers with a new token and for how many seconds it is valid."""


class Bearer(httpx.Auth):
    """Adds a token to every request.

    :param fetch: gets one; None sends none.
    """

    def __init__(self, fetch: Fetch | None) -> None:
        self._fetch = fetch
        self._token = ""
        self._until = 0.0
        self._fetching = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers.update(await self.headers())
        yield request

    async def headers(self) -> dict[str, str]:
        """What to send along, also when a WebSocket is opened.

        :raises Unauthenticated: ``KEY_INVALID``.
        """
        if self._fetch is None:
            return {}
        async with self._fetching:
            if time.monotonic() > self._until - _EARLY_S:
                self._token, valid_s = await self._fetch()
                # One that ends very soon is used once rather than never.
                self._until = time.monotonic() + max(valid_s, _EARLY_S + 1)
        return {"Authorization": f"Bearer {self._token}"}


def exchanging(url: str, api_key: str) -> Fetch:
    """Gets tokens for a key from the gateway."""

    async def fetch() -> tuple[str, float]:
        async with httpx.AsyncClient(timeout=_EXCHANGE, trust_env=False) as http:
            try:
                response = await http.post(f"{url}/api/v1/auth/token", json={"api_key": api_key})
            except httpx.TransportError as error:
                raise unreachable(error, url) from None
        token = answer(response)
        return token["access_token"], float(token["expires_in"])

    return fetch


def signing(secret: str) -> Fetch:
    """Signs tokens of the machine's own user, who may do everything: whoever has the secret may anyway."""
    from kinemesh.access.tokens import Tokens

    tokens = Tokens(secret)

    async def fetch() -> tuple[str, float]:
        return tokens.issue(Identity(LOCAL_OWNER, frozenset(SCOPES)), _SIGNED_S), float(_SIGNED_S)

    return fetch


def of_environment(url: str) -> Fetch | None:
    """As the environment says: by the key in KINEMESH_API_KEY, or else by the mesh's own secret."""
    if api_key := os.environ.get(API_KEY, ""):
        return exchanging(url, api_key)
    return of_secret()


def of_secret() -> Fetch | None:
    """By the mesh's own secret, if the environment holds it."""
    secret = os.environ.get(_SECRET, "")
    return signing(secret) if secret else None
