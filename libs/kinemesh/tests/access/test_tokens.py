"""A token says who calls, and nothing that was not signed for us is believed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from kinemesh.access.identity import ADMIN, READ, WRITE, Identity, Limits
from kinemesh.access.tokens import Tokens, tokens_of
from kinemesh.errors import PermissionDenied, Unauthenticated
from kinemesh.settings import AuthSettings

SECRET = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
ADA = Identity("ada@example.org", frozenset((READ, WRITE)), "k1", Limits(60, 10**12, 3))
TOKENS = Tokens(SECRET)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {"iss": "kinemesh", "aud": "kinemesh", "iat": now, "exp": now + 60, "sub": "ada", "scope": "read"}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def reason(token: str, tokens: Tokens = TOKENS) -> str:
    with pytest.raises(Unauthenticated) as refused:
        tokens.verify(token)
    assert len(token) < 30 or token not in str(refused.value)
    return refused.value.reason


def test_what_was_issued_is_read_again() -> None:
    read = TOKENS.verify(TOKENS.issue(ADA, 60))
    assert (read.owner, read.scopes, read.key_id, read.limits) == (ADA.owner, ADA.scopes, ADA.key_id, ADA.limits)
    assert 50 <= read.expires - time.time() <= 60
    bare = TOKENS.verify(TOKENS.issue(Identity("eve"), 60))
    assert (bare.scopes, bare.key_id, bare.limits) == (frozenset(), "", Limits())


def test_claims_without_changes_are_good() -> None:
    assert TOKENS.verify(signed()).owner == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": OTHER},
        {"iss": "somebody"},
        {"aud": "somebody"},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"iat": None},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x" * 129},
        {"sub": "ada\n"},
        {"scope": None},
        {"scope": ["read"]},
        {"kid": 7},
        {"limits": "many"},
        {"limits": {"requests_per_minute": "60"}},
        {"limits": {"requests_per_minute": True}},
        {"limits": {"wishes": 3}},
    ],
)
def test_wrong_claims(changes: dict[str, Any]) -> None:
    assert reason(signed(**changes)) == "TOKEN_INVALID"


def test_an_expired_token_says_so_and_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert TOKENS.verify(signed(exp=now - 2)).owner == "ada"
    assert reason(signed(exp=now - 60)) == "TOKEN_EXPIRED"
    assert reason(signed(OTHER, exp=now - 60)) == "TOKEN_INVALID"


def test_a_token_of_another_algorithm_is_not_believed_though_the_secret_is_ours() -> None:
    assert Tokens(SECRET * 2).verify(signed(SECRET * 2)).owner == "ada"
    for algorithm in ("HS384", "HS512"):
        assert reason(signed(SECRET * 2, algorithm), Tokens(SECRET * 2)) == "TOKEN_INVALID"


def test_an_unsigned_token_is_nothing() -> None:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE", "HS256"):
        assert reason(f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}.") == "TOKEN_INVALID"


def test_a_token_that_was_changed_is_not_believed() -> None:
    head, body, signature = signed(scope="read").split(".")
    admin = signed(OTHER, scope="admin").split(".")[1]
    assert reason(f"{head}.{admin}.{signature}") == "TOKEN_INVALID"
    assert reason(f"{head}.{body}.{signature[:-4]}AAAA") == "TOKEN_INVALID"


@given(st.text(max_size=200) | st.builds(".".join, st.lists(st.text(max_size=40), min_size=3, max_size=3)))
def test_garbage_is_refused(text: str) -> None:
    assert reason(text) == "TOKEN_INVALID"


def test_very_long_tokens_are_not_looked_at() -> None:
    assert reason(signed(padding="x" * 5000)) == "TOKEN_INVALID"


def test_scopes_of_a_later_version_are_none() -> None:
    assert TOKENS.verify(signed(scope="read fly")).scopes == {READ}


def test_a_secret_can_be_replaced_while_the_mesh_runs() -> None:
    before, between, after = Tokens(OTHER), Tokens(SECRET, OTHER), Tokens(SECRET)
    token = before.issue(ADA, 60)
    assert between.verify(token).owner == ADA.owner
    assert reason(token, after) == "TOKEN_INVALID"
    assert after.verify(between.issue(ADA, 60)).owner == ADA.owner


def test_settings_without_a_secret_sign_nothing() -> None:
    assert tokens_of(AuthSettings()) is None
    assert tokens_of(AuthSettings(secret=SecretStr(SECRET))) == Tokens(SECRET)
    assert SECRET not in repr(Tokens(SECRET, SECRET))


def test_no_scope_holds_another() -> None:
    ADA.require(WRITE)
    with pytest.raises(PermissionDenied) as refused:
        ADA.require(ADMIN)
    assert (refused.value.reason, refused.value.metadata) == ("SCOPE_MISSING", {"scope": ADMIN})
