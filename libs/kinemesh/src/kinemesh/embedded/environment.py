"""What each service of an embedded mesh is told: ports, addresses, credentials, as environment variables."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from kinemesh.embedded import seaweedfs, triton
from kinemesh.embedded.credentials import NATS_USER, MeshSecrets
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.ports import free_ports, is_free
from kinemesh.embedded.postgres import postgres_url
from kinemesh.embedded.seaweedfs import s3_settings
from kinemesh.errors import FailedPrecondition

GATEWAY = "gateway"
INGEST = "ingest"
SERVICES = (INGEST, "detect_track", "pose", "matcher", "render", GATEWAY)
ASKS = {GATEWAY: SERVICES[:-1], "detect_track": (INGEST,), "matcher": (INGEST,)}
"""Which services call which others."""


def instances(services: Iterable[str], replicas: Mapping[str, int]) -> tuple[str, ...]:
    """The names of all processes of services: a service's own name, and ``<service>-2`` and so on for its twins.

    :param replicas: how many there are of a service; 1 of those that are left out.
    :raises ValueError: for a service that is not among ``services``, none of one, or a second gateway.
    """
    services = tuple(services)
    for service, count in replicas.items():
        if service not in services or count < 1 or (service == GATEWAY and count > 1):
            raise ValueError(f"{service} cannot run {count} times")
    return tuple(
        service if number == 1 else f"{service}-{number}"
        for service in services
        for number in range(1, replicas.get(service, 1) + 1)
    )


def service_of(instance: str) -> str:
    """The service that a process of :func:`instances` is one of."""
    return instance.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of a mesh, each on 127.0.0.1."""

    nats: int
    nats_monitor: int
    s3: tuple[int, ...]
    triton: tuple[int, ...]
    http: int
    grpc: dict[str, int]
    metrics: dict[str, int]


def choose_ports(names: Iterable[str], http: int) -> Ports:
    """Free ports for everything; ``http`` is the gateway's, 0 for any.

    :param names: of :func:`instances`.
    :raises FailedPrecondition: ``PORT_IN_USE``.
    """
    names = tuple(names)
    if http and not is_free(http):
        raise FailedPrecondition("PORT_IN_USE", f"Something else listens on port {http}.", port=http)
    free = iter(free_ports(3 + seaweedfs.PORTS + triton.PORTS + 2 * len(names)))

    def take(count: int) -> tuple[int, ...]:
        return tuple(next(free) for _ in range(count))

    return Ports(
        nats=next(free),
        nats_monitor=next(free),
        s3=take(seaweedfs.PORTS),
        triton=take(triton.PORTS),
        http=http or next(free),
        grpc={name: next(free) for name in names},
        metrics={name: next(free) for name in names},
    )


def service_environment(
    name: str, ports: Ports, layout: Layout, secrets: MeshSecrets, log_level: str
) -> dict[str, str]:
    """The settings of one process of :func:`instances`."""
    service = service_of(name)
    s3 = s3_settings(ports.s3, secrets.s3)
    env = {
        "KINEMESH_NATS__URL": f"nats://127.0.0.1:{ports.nats}",
        "KINEMESH_NATS__USER": NATS_USER,
        "KINEMESH_NATS__PASSWORD": secrets.nats_password,
        "KINEMESH_S3__ENDPOINT": s3.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3.access_key,
        "KINEMESH_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "KINEMESH_S3__BUCKET": s3.bucket,
        "KINEMESH_TRITON__ENDPOINT": f"127.0.0.1:{ports.triton[0]}",
        "KINEMESH_GRPC__HOST": "127.0.0.1",
        "KINEMESH_GRPC__PORT": str(ports.grpc[name]),
        "KINEMESH_METRICS__HOST": "127.0.0.1",
        "KINEMESH_METRICS__PORT": str(ports.metrics[name]),
        "KINEMESH_LOG__LEVEL": log_level,
    }
    if service == INGEST:
        env["KINEMESH_DATABASE__URL"] = postgres_url(layout.data("postgres"))
    if service == GATEWAY:
        env["KINEMESH_HTTP__PORT"] = str(ports.http)
    for other in ASKS.get(service, ()):
        if addresses := [f"127.0.0.1:{port}" for twin, port in ports.grpc.items() if service_of(twin) == other]:
            # A channel to several addresses takes them in turn, and leaves out those that do not answer.
            several = "ipv4:" if len(addresses) > 1 else ""
            env[f"KINEMESH_UPSTREAMS__{other.upper()}"] = several + ",".join(addresses)
    return env


def http_environment(host: str) -> dict[str, str]:
    """Where the gateway listens, and the names that it answers to: those of this machine if all can reach it."""
    names = {"127.0.0.1", "localhost", "[::1]", host}
    if host in ("0.0.0.0", "::"):  # noqa: S104 - a user has asked for it
        names |= {socket.gethostname(), socket.getfqdn()}
        addresses = [address.address for each in psutil.net_if_addrs().values() for address in each]
        names.update(address for address in addresses if "." in address)
    return {"KINEMESH_HTTP__HOST": host, "KINEMESH_HTTP__ALLOWED_HOSTS": json.dumps(sorted(map(str.lower, names)))}


def models_environment(python: Path, layout: Layout) -> dict[str, str]:
    """What brings models in while the mesh runs: the model project's interpreter, and where it writes to."""
    # Not resolved: the interpreter of a virtual environment is a link, and is another one without it.
    return {"KINEMESH_MODELS__PYTHON": str(python.absolute()), "KINEMESH_MODELS__REPOSITORY": str(layout.models)}
