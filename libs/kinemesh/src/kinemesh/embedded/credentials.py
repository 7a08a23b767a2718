"""What the parts of an embedded mesh show one another; made once for a data folder, and kept there."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from kinemesh.embedded.seaweedfs import S3Secrets, write_private

NATS_USER = "kinemesh"


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
