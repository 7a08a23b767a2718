"""The client shows who calls, and gets a new token before the old one ends."""

from __future__ import annotations

import asyncio

import pytest

from kinemesh.access.identity import LOCAL_OWNER, SCOPES
from kinemesh.access.tokens import Tokens
from kinemesh_client.credentials import Bearer, of_environment, signing

SECRET = "0123456789abcdef" * 2


def counting(valid_s: float) -> tuple[Bearer, list[int]]:
    calls: list[int] = []

    async def fetch() -> tuple[str, float]:
        calls.append(1)
        await asyncio.sleep(0)
        return f"token{len(calls)}", valid_s

    return Bearer(fetch), calls


async def test_a_token_is_kept_while_it_is_good_and_got_once_for_all_who_wait() -> None:
    bearer, calls = counting(900)
    said = await asyncio.gather(*(bearer.headers() for _ in range(5)))
    assert said == [{"Authorization": "Bearer token1"}] * 5
    assert len(calls) == 1


async def test_a_token_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    bearer, calls = counting(900)
    await bearer.headers()
    monkeypatch.setattr(bearer, "_until", bearer._until - 880)
    assert await bearer.headers() == {"Authorization": "Bearer token2"}
    assert len(calls) == 2


async def test_without_anything_to_show_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KINEMESH_API_KEY", "KINEMESH_AUTH__SECRET"):
        monkeypatch.delenv(name, raising=False)
    assert of_environment("http://127.0.0.1:1") is None
    assert await Bearer(None).headers() == {}


async def test_who_has_the_secret_signs_as_the_machines_own_user() -> None:
    token, _ = await signing(SECRET)()
    identity = Tokens(SECRET).verify(token)
    assert (identity.owner, identity.scopes) == (LOCAL_OWNER, frozenset(SCOPES))
