"""Who can reach a mesh: authentication and certificates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from kinemesh.settings import is_loopback
from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_AUTH: Final = "authentication"
_TLS: Final = "certificates"
_SOON_DAYS: Final = 21


def judge_authentication(hosts: Mapping[str, str], secret: bool) -> list[Finding]:
    """Whether who calls has to say who they are.

    :param hosts: what is listened on, by the variable that says so.
    :param secret: whether tokens are signed.
    """
    open_to_all = {name: host for name, host in hosts.items() if not is_loopback(host)}
    if secret:
        return [ok(_AUTH, "KINEMESH_AUTH__SECRET is set: callers need a token.")]
    if not open_to_all:
        return [ok(_AUTH, "Without authentication, and reached from this machine only.")]
    said = ", ".join(f"{name}={host}" for name, host in sorted(open_to_all.items()))
    why = "Anybody who reaches it would be believed to be whom they say; so services do not start like that."
    return [
        problem(
            _AUTH,
            f"{said}, and KINEMESH_AUTH__SECRET is not set.",
            why,
            "Set it to 32 random characters or more, the same in all services.",
        )
    ]


def look_at_certificates(environment: Mapping[str, str]) -> list[Finding]:
    """All certificates that variables name."""
    files = {
        name: value
        for name, value in environment.items()
        if value and name.startswith("KINEMESH_") and name.endswith(("__CERT_FILE", "__CA_FILE"))
    }
    now = datetime.now(UTC)
    findings = [finding for name, path in sorted(files.items()) for finding in look_at_file(name, Path(path), now)]
    return findings or [ok(_TLS, "None are set: connections are in the clear, or by the system's authorities.")]


def look_at_file(name: str, path: Path, now: datetime) -> list[Finding]:
    """The certificates of one file.

    :param name: the variable that names it.
    """
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        why = "Services do not start with it."
        cause = getattr(error, "strerror", None) or "it holds no certificate in PEM"
        said = f"The file of {name} cannot be read: {cause}."
        return [problem(_TLS, said, why, "Name a PEM file that this user can read.")]
    return [judge_certificate(name, one.not_valid_before_utc, one.not_valid_after_utc, now) for one in found]


def judge_certificate(name: str, since: datetime, until: datetime, now: datetime) -> Finding:
    """The time that a certificate is valid for."""
    why = "Whoever checks it hangs up, and the part that shows it cannot be reached."
    action = "Issue a new one and restart what uses it."
    days = (until - now).total_seconds() / 86400
    if days <= 0:
        return problem(_TLS, f"{name}: expired {-days:.0f} days ago.", why, action)
    if since > now:
        return problem(_TLS, f"{name}: not valid before {since:%Y-%m-%d %H:%M} UTC.", why, "See the clock, or wait.")
    if days < _SOON_DAYS:
        return warning(_TLS, f"{name}: expires in {days:.0f} days.", why, action)
    return ok(_TLS, f"{name}: valid for another {days:.0f} days.")
