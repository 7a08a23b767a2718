"""Short-lived tokens: JSON Web Tokens (RFC 7519), signed by HMAC with SHA-256 and nothing else."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import jwt

from kinemesh.access.identity import OWNER_PATTERN, SCOPES, Identity, Limits
from kinemesh.errors import Unauthenticated
from kinemesh.settings import AuthSettings

_ALGORITHM: Final = "HS256"
_NAME: Final = "kinemesh"  # both who issues tokens and whom they are for
_LEEWAY_S: Final = 10
_LONGEST: Final = 4096
_REQUIRED: Final = ("exp", "iat", "iss", "aud", "sub", "scope")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Signs tokens and checks them.

    :param secret: of 32 characters or more; the same in every service of a mesh.
    :param previous: what was signed with it is believed too, so that the secret can be changed while the mesh runs.
    """

    secret: str = field(repr=False)
    previous: str = field(default="", repr=False)

    def issue(self, identity: Identity, valid_s: int) -> str:
        """A token for a caller, valid from now on."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": _NAME,
            "aud": _NAME,
            "iat": now,
            "exp": now + valid_s,
            "sub": identity.owner,
            "scope": " ".join(sorted(identity.scopes)),
        }
        if identity.key_id:
            claims["kid"] = identity.key_id
        limits = {name: value for name, value in asdict(identity.limits).items() if value is not None}
        if limits:
            claims["limits"] = limits
        return jwt.encode(claims, self.secret, algorithm=_ALGORITHM)

    def verify(self, token: str) -> Identity:
        """Whose token it is. Clocks may differ by ten seconds.

        :raises Unauthenticated: TOKEN_EXPIRED; TOKEN_INVALID without saying why.
        """
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("TOKEN_EXPIRED", "The token has expired; get a new one.") from None
        except (jwt.PyJWTError, ValueError):
            raise _invalid() from None
        return _identity(claims)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST:
            raise ValueError("a token is not as long as that")
        try:
            return _decode(token, self.secret)
        except jwt.InvalidSignatureError:
            if not self.previous:
                raise
            return _decode(token, self.previous)


def tokens_of(settings: AuthSettings) -> Tokens | None:
    """What the settings sign with; None without a secret."""
    if not settings.secret:
        return None
    return Tokens(settings.secret.get_secret_value(), settings.previous_secret.get_secret_value())


def _decode(token: str, secret: str) -> dict[str, Any]:
    return jwt.decode(
        token,
        secret,
        algorithms=[_ALGORITHM],
        audience=_NAME,
        issuer=_NAME,
        leeway=_LEEWAY_S,
        options={"require": list(_REQUIRED)},
    )


def _identity(claims: dict[str, Any]) -> Identity:
    owner, scope, key_id = claims["sub"], claims["scope"], claims.get("kid", "")
    limits = claims.get("limits", {})
    known = set(Limits.__dataclass_fields__)
    if not (
        isinstance(owner, str)
        and OWNER_PATTERN.fullmatch(owner)
        and isinstance(scope, str)
        and isinstance(key_id, str)
        and isinstance(limits, dict)
        and all(name in known and type(value) is int for name, value in limits.items())
    ):
        raise _invalid()
    # A scope of a later version is none here.
    scopes = frozenset(scope.split()) & frozenset(SCOPES)
    return Identity(owner, scopes, key_id, Limits(**limits), int(claims["exp"]))


def _invalid() -> Unauthenticated:
    return Unauthenticated("TOKEN_INVALID", "The token is not valid.")
