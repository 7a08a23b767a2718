"""Lets callers in: who they are is settled once, where a call arrives, and holds for all that it leads to.

::

    identity = gate.identify("/kinemesh.job.v1.JobService/GetJob", metadata)
    gate.permit("/kinemesh.job.v1.JobService/GetJob", identity)
    with acting_as(identity, gate.tokens):
        …                                   # current() is identity; calls to other services go out in its name
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from kinemesh.access.identity import LOCAL_OWNER, Identity, local_identity
from kinemesh.access.methods import NEEDED, PUBLIC
from kinemesh.access.tokens import Tokens
from kinemesh.errors import PermissionDenied, Unauthenticated

AUTHORIZATION = "authorization"
OWNER = "x-kinemesh-owner"

# Long enough for a call to arrive; every call gets a token of its own, so what goes on for hours goes on.
_CALL_S = 60


@dataclass(frozen=True, slots=True)
class Gate:
    """At the door of a service.

    :param tokens: None believes whoever calls: there is no secret, and so nothing but this machine can call.
    """

    tokens: Tokens | None = None

    def identify(self, method: str, metadata: Mapping[str, str]) -> Identity | None:
        """Who calls a gRPC method; None for one that anybody may call.

        :param method: full name, ``/package.Service/Method``.
        :raises Unauthenticated: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED
        """
        if self.tokens is None:
            return local_identity(metadata.get(OWNER, LOCAL_OWNER))
        if NEEDED.get(method) == PUBLIC:
            return None
        return self.tokens.verify(bearer(metadata.get(AUTHORIZATION, "")))

    def permit(self, method: str, identity: Identity) -> None:
        """Refuse a caller who may not call a method.

        :raises PermissionDenied: SCOPE_MISSING, METHOD_CLOSED
        """
        if self.tokens is None:
            return
        scope = NEEDED.get(method)
        if scope is None:
            raise PermissionDenied("METHOD_CLOSED", "Nobody may call that method.", method=method)
        identity.require(scope)


OPEN = Gate()
"""Believes whoever calls."""


def bearer(header: str) -> str:
    """The token of an Authorization header.

    :raises Unauthenticated: TOKEN_MISSING
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("TOKEN_MISSING", "This needs a token: Authorization: Bearer TOKEN.")
    return token.strip()


_acting: ContextVar[tuple[Identity, Tokens | None]] = ContextVar("kinemesh_acting")


@contextmanager
def acting_as(identity: Identity, tokens: Tokens | None = None) -> Iterator[None]:
    """Act in a caller's name, in this context and in the tasks that begin in it."""
    before = _acting.set((identity, tokens))
    try:
        yield
    finally:
        _acting.reset(before)


def current() -> Identity:
    """The caller in whose name the present work is done.

    :raises LookupError: it is nobody's.
    """
    return _acting.get()[0]


def vouching(owner: str) -> dict[str, str]:
    """Metadata for a call to another service in the name of ``owner``.

    With a secret, a token of the present caller, with their scopes and limits; none if ``owner`` is somebody else, so
    that nothing is ever done in a name that nobody has shown.
    """
    metadata = {OWNER: owner}
    identity, tokens = _acting.get((None, None))
    if tokens is not None and identity is not None and identity.owner == owner:
        metadata[AUTHORIZATION] = f"Bearer {tokens.issue(identity, _CALL_S)}"
    return metadata
