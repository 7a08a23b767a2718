"""All checks, and which of them apply to which mesh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kinemesh.errors import FailedPrecondition
from kinemesh_client import local
from kinemesh_client.doctor.broker import look_at_broker
from kinemesh_client.doctor.database import look_at_database
from kinemesh_client.doctor.exposure import judge_authentication, look_at_certificates
from kinemesh_client.doctor.findings import Check, Finding, blocking
from kinemesh_client.doctor.folder import look_at_folder, look_at_leftovers, look_at_ports
from kinemesh_client.doctor.gateway import look_at_gateway
from kinemesh_client.doctor.machine import look_at_disk, look_at_machine
from kinemesh_client.doctor.models import look_at_built, look_at_served
from kinemesh_client.doctor.programs import look_at_gpu, look_at_packages
from kinemesh_client.doctor.storage import look_at_storage
from kinemesh_client.doctor.target import Target


def checks_of(target: Target, data_dir: Path, port: int, least_disk_gb: float) -> list[Check]:
    """All that can be looked at: of a mesh at a URL the gateway, of others this machine too."""
    gateway = [Check("gateway", lambda: look_at_gateway(target.url))] if target.url else []
    if target.is_far:
        return gateway
    checks = [
        blocking("machine", look_at_machine),
        blocking("packages", look_at_packages),
        blocking("disk", lambda: look_at_disk(data_dir, least_disk_gb)),
        blocking("leftovers", look_at_leftovers),
        blocking("gpu", lambda: look_at_gpu(target.accelerator)),
        blocking("certificates", lambda: look_at_certificates(os.environ)),
        blocking("authentication", lambda: judge_authentication(target.hosts, target.secret)),
        *gateway,
    ]
    if not target.hosts:
        checks += [
            blocking("data folder", lambda: look_at_folder(data_dir, target.described)),
            blocking("ports", lambda: look_at_ports(port, target.described)),
            blocking("models", _built),
        ]
    if (nats := target.nats) is not None:
        checks.append(Check("broker", lambda: look_at_broker(nats)))
    if (s3 := target.s3) is not None:
        checks.append(Check("storage", lambda: look_at_storage(s3)))
    if target.database:
        checks.append(blocking("database", lambda: look_at_database(target.database)))
    if (triton := target.triton) is not None:
        checks.append(Check("models", lambda: look_at_served(triton)))
    return checks


def _built() -> Sequence[Finding]:
    try:
        return look_at_built(local.models_project())
    except FailedPrecondition:  # not in a checkout: there is nothing to build
        return []
