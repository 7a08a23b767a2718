"""The gateway's own account of the mesh."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import httpx

from kinemesh_client.doctor.findings import Finding, ok, problem, warning
from kinemesh_client.doctor.machine import judge_clock
from kinemesh_client.doctor.storage import skew

_GATEWAY: Final = "gateway"
_ASK_S: Final = 10.0


async def look_at_gateway(url: str) -> list[Finding]:
    """Ask for the health of all parts."""
    try:
        async with httpx.AsyncClient(timeout=_ASK_S) as http:
            asked = time.time()
            answer = await http.get(f"{url.rstrip('/')}/api/v1/health")
            now = (asked + time.time()) / 2
            parts: dict[str, Any] = answer.json()["services"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        why = "No client can do anything."
        return [
            problem(
                _GATEWAY,
                f"{url} does not answer as a gateway does ({type(error).__name__}).",
                why,
                "Start it, or see the address and what is before it.",
            )
        ]
    findings = judge_health(parts)
    skew_s = skew(answer.headers.get("date", ""), now)
    return findings if skew_s is None else [*findings, judge_clock("the gateway", skew_s)]


def judge_health(parts: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Health of each part as the gateway has it."""
    findings = []
    for name, part in parts.items():
        if part.get("status") == "ok":
            continue
        action = f"kinemesh logs {name}; docs/runbooks.md, KinemeshDependencyDown."
        if part.get("needed"):
            findings.append(problem(_GATEWAY, f"{name} is down.", "No request can be answered without it.", action))
        else:
            findings.append(warning(_GATEWAY, f"{name} is down.", "Jobs that need it wait.", action))
    return findings or [ok(_GATEWAY, f"It answers, and so do the {len(parts)} parts behind it.")]
