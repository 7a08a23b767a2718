"""Who calls, and what they may do. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from kinemesh.errors import PermissionDenied

READ: Final = "read"
WRITE: Final = "write"
MODELS: Final = "models"
ADMIN: Final = "admin"
SCOPES: Final = (READ, WRITE, MODELS, ADMIN)
"""None holds another: a key that may write may not read unless it says so."""

LOCAL_OWNER: Final = "local"
"""The machine's own user, where nobody has to say who they are."""

OWNER_PATTERN: Final = re.compile(r"[A-Za-z0-9._@+-]{1,128}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may use at most; None leaves it to the deployment."""

    requests_per_minute: int | None = None
    storage_bytes: int | None = None
    active_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller.

    :ivar owner: whose objects they see and make.
    :ivar key_id: the API key that their token was given for; empty where there was none.
    :ivar expires: when what they showed is no longer valid, in seconds since 1970; 0 if it stays valid.
    """

    owner: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    key_id: str = ""
    limits: Limits = Limits()
    expires: int = 0

    def require(self, scope: str) -> None:
        """Refuse a caller without a scope.

        :raises PermissionDenied: SCOPE_MISSING
        """
        if scope not in self.scopes:
            raise PermissionDenied("SCOPE_MISSING", f"That needs the scope {scope}.", scope=scope)


def local_identity(owner: str) -> Identity:
    """A caller who is believed, because only this machine can call."""
    return Identity(owner, frozenset(SCOPES))
