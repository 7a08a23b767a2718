"""Certificates that a test makes for its servers and for strangers to them."""

from __future__ import annotations

from pathlib import Path

import trustme

from kinemesh.access.tls import Tls


def certificate(authority: trustme.CA, *names: str) -> Tls:
    """What a service of those names, or else of 127.0.0.1, shows; it believes who has one of the same authority."""
    leaf = authority.issue_cert(*(names or ("127.0.0.1",)))
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Tls(chain, leaf.private_key_pem.bytes(), authority.cert_pem.bytes())


def write_tls(folder: Path, tls: Tls) -> dict[str, str]:
    """Files of a folder, and the variables that tell a service to use them."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {}
    for name, content in (("cert", tls.certificate), ("key", tls.key), ("ca", tls.authority)):
        (folder / f"{name}.pem").write_bytes(content)
        variables[f"KINEMESH_TLS__{name.upper()}_FILE"] = str(folder / f"{name}.pem")
    return variables
