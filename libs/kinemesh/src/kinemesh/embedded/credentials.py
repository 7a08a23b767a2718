"""What the parts of an embedded mesh show one another; made once for a data folder, and kept there."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

NATS_USER = "kinemesh"


@dataclass(frozen=True, slots=True)
class S3Secrets:
    """The credentials of clients, and the key that SeaweedFS's parts trust one another by."""

    access_key: str
    secret_key: str
    internal_key: str

    @classmethod
    def random(cls) -> S3Secrets:
        """Fresh ones."""
        return cls(secrets.token_hex(10), secrets.token_urlsafe(30), secrets.token_urlsafe(30))


@dataclass(frozen=True, slots=True)
class MeshSecrets:
    """All of them.

    :ivar auth_secret: signs tokens, where callers have to show who they are.
    """

    s3: S3Secrets
    nats_password: str
    auth_secret: str


def load_secrets(path: Path) -> MeshSecrets:
    """The credentials in a file; those that are missing are made and added."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    fresh = asdict(S3Secrets.random()) | {name: secrets.token_urlsafe(32) for name in ("nats_password", "auth_secret")}
    whole = fresh | kept
    if whole != kept:
        write_private(path, json.dumps(whole))
    s3 = S3Secrets(**{name: whole[name] for name in S3Secrets.__dataclass_fields__})
    return MeshSecrets(s3, whole["nats_password"], whole["auth_secret"])


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
