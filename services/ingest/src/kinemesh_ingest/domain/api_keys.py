"""API keys as texts: how they look, and what of them is kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

_KEY: Final = re.compile(r"km_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_SECRET_BYTES: Final = 32
_LONGEST: Final = 128


def new_key() -> tuple[str, str]:
    """A new key and its id. It begins with ``km_``, so that those who search for leaked secrets know it."""
    key_id = secrets.token_hex(8)
    return f"km_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}", key_id


def id_of(api_key: str) -> str:
    """The id in a key; empty if it does not look like one."""
    found = _KEY.fullmatch(api_key) if len(api_key) <= _LONGEST else None
    return found[1] if found else ""


def digest_of(api_key: str) -> bytes:
    """What is kept: SHA-256. Keys hold 256 bits of chance, so nothing slower would make them safer."""
    return hashlib.sha256(api_key.encode()).digest()
