"""The whole mesh on one machine: servers and services, started together and stopped together.

::

    async with mesh(MeshConfig(models=TritonModels(python, repository))) as running:
        print(running.http_url)

A command that shows what happens meanwhile uses :class:`Mesh` itself: enter it, read :meth:`Mesh.changes` and await
:meth:`Mesh.start`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import psutil
from pydantic import SecretStr

from kinemesh.access.tls import Tls, read_tls
from kinemesh.embedded.checks import http_ok
from kinemesh.embedded.credentials import NATS_USER, MeshSecrets, load_secrets, write_private
from kinemesh.embedded.environment import (
    GATEWAY,
    INGEST,
    SERVICES,
    Ports,
    choose_ports,
    http_environment,
    instances,
    models_environment,
    service_environment,
    service_of,
)
from kinemesh.embedded.grpc_checks import grpc_answers, grpc_serving
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.nats import nats_spec
from kinemesh.embedded.postgres import postgres_spec
from kinemesh.embedded.process import Process, ServerSpec
from kinemesh.embedded.running import running_mesh, take_lock
from kinemesh.embedded.seaweedfs import seaweedfs_spec
from kinemesh.embedded.service import service_spec
from kinemesh.embedded.supervisor import Status, Supervisor
from kinemesh.embedded.triton import TritonModels, triton_spec
from kinemesh.errors import FailedPrecondition
from kinemesh.settings import NatsSettings, TlsSettings

_LOCK_S = 15.0
_AUTH_SECRET = "KINEMESH_AUTH__SECRET"  # noqa: S105 - its name
_HEALTH = "/api/v1/health"
_OTLP_URL = "KINEMESH_TRITON_OTLP_URL"
"""Triton's spans go by OTLP over HTTP, those of the services by OTLP over gRPC: two addresses of one collector."""
_GATEWAY_NICENESS = 10
"""Hundreds of watchers must not take the processor from the job that they watch."""
_EVERYWHERE = ("0.0.0.0", "::", "localhost")  # noqa: S104 - what a user may ask for


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What to run.

    :param data_dir: all that the mesh keeps, and its logs; made if missing.
    :param models: the model server; None runs none.
    :param http_port: that of the gateway on 127.0.0.1; 0 takes a free one.
    :param http_host: the address that the gateway listens on; others than loopback need ``auth``.
    :param auth: whether callers have to show who they are.
    :param services: those of our services to run.
    :param replicas: how many processes of a service to run; its twins are called ``<service>-2`` and so on.
    :param restarts: how often within a minute a crashed server is started again.
    :param env: further environment variables of all services; they win.
    """

    data_dir: Path = Path(".kinemesh")
    models: TritonModels | None = None
    http_port: int = 8080
    http_host: str = "127.0.0.1"
    auth: bool = False
    services: tuple[str, ...] = SERVICES
    replicas: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 5
    log_level: str = "INFO"
    durable: bool = True
    env: Mapping[str, str] = field(default_factory=dict)


class Mesh:
    """A mesh, from taking hold of its data folder to letting go of it."""

    def __init__(self, config: MeshConfig) -> None:
        self.config = config
        self.layout = Layout(config.data_dir.resolve())
        self._instances = instances(config.services, config.replicas)
        self._lock: IO[bytes] | None = None
        self._supervisor: Supervisor | None = None
        self._ports: Ports | None = None
        self._secrets: MeshSecrets | None = None

    async def __aenter__(self) -> Mesh:
        """Take hold of the data folder.

        :raises FailedPrecondition: ``MESH_RUNNING``, ``PORT_IN_USE``, ``MODELS_MISSING``.
        """
        models = self.config.models
        if models is not None and not (models.repository.is_dir() and models.python.exists()):
            raise FailedPrecondition("MODELS_MISSING", "The model repository has not been built: run `make models`.")
        if (other := running_mesh(self.layout.root)) is not None and psutil.pid_exists(int(other["pid"])):
            raise FailedPrecondition("MESH_RUNNING", "A mesh runs in this folder already.", pid=other["pid"])
        self._lock = await take_lock(self.layout, _LOCK_S)
        try:
            self._ports = choose_ports(self._instances, self.config.http_port)
            self._secrets = load_secrets(self.layout.secrets)
            # The guard holds the lock too: nobody starts in this folder before it has cleared up after us.
            self._supervisor = await Supervisor(keep_open=[self._lock.fileno()]).__aenter__()
        except BaseException:
            self._lock.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.layout.state.unlink(missing_ok=True)
        try:
            await self.supervisor.stop()
        finally:
            if self._lock is not None:
                self._lock.close()

    async def start(self) -> None:
        """Start everything and wait until it is ready.

        :raises Unavailable: ``SERVER_START_FAILED``; what has been started is stopped.
        """
        await self.supervisor.start(self.specs())
        write_private(self.layout.state, json.dumps(self._describe(), indent=1))

    def specs(self) -> tuple[ServerSpec, ...]:
        """Every server of the mesh. Services come after the servers that they keep work in."""
        config, layout, ports = self.config, self.layout, self.ports
        secrets = self.secrets
        servers = [
            nats_spec(
                layout.data("nats"),
                layout.log("nats"),
                ports.nats,
                ports.nats_monitor,
                password=secrets.nats_password,
                restarts=config.restarts,
            ),
            seaweedfs_spec(layout.data("s3"), layout.log("s3"), ports.s3, secrets.s3, restarts=config.restarts),
        ]
        if INGEST in config.services:
            folder = layout.data("postgres")
            servers.append(
                postgres_spec(folder, layout.log("postgres"), durable=config.durable, restarts=config.restarts)
            )
        after = tuple(server.name for server in servers)
        if config.models is not None:
            servers.append(
                triton_spec(
                    replace(config.models, own=layout.models),
                    layout.data("triton"),
                    layout.log("triton"),
                    ports.triton,
                    restarts=config.restarts,
                    otlp_url=config.env.get(_OTLP_URL) or os.environ.get(_OTLP_URL, ""),
                    alive=grpc_answers(f"127.0.0.1:{ports.triton[0]}"),
                )
            )
            # Whoever works with models is stopped before they are unloaded.
            after = (*after, servers[-1].name)
        return (*servers, *(self._service(name, after) for name in self._instances))

    def _service(self, name: str, after: tuple[str, ...]) -> ServerSpec:
        address = f"127.0.0.1:{self.ports.grpc[name]}"
        ready = grpc_serving(address, tls=self._tls(name))
        if name == GATEWAY:
            address = self.http_url
            ready = http_ok(self._http_host, self.ports.http, _HEALTH)
            # It answers for all of the others, so it is ready when they are.
        return service_spec(
            name,
            self.environment(name),
            self.layout.log(name),
            self.layout.scratch(name),
            ready,
            service=service_of(name),
            address=address,
            after=after,
            restarts=self.config.restarts,
            niceness=_GATEWAY_NICENESS if name == GATEWAY else 0,
        )

    def environment(self, name: str) -> dict[str, str]:
        """The environment variables that a process of a service gets: credentials among them, so do not print it."""
        own = service_environment(name, self.ports, self.layout, self.secrets, self.config.log_level)
        if name == GATEWAY:
            own |= http_environment(self.config.http_host)
        if self.config.auth and _AUTH_SECRET not in os.environ:
            own[_AUTH_SECRET] = self.secrets.auth_secret
        if service_of(name) == INGEST and self.config.models is not None:
            own |= models_environment(self.config.models.python, self.layout)
        return {**own, **self.config.env}

    def _tls(self, name: str) -> Tls | None:
        """What the health of a service is asked with, if the services are told to use TLS."""
        told = {**os.environ, **self.environment(name)}
        files = {field: told.get(f"KINEMESH_TLS__{field.upper()}", "") for field in TlsSettings.model_fields}
        return read_tls(TlsSettings(**files))

    @property
    def secrets(self) -> MeshSecrets:
        """The credentials of this mesh; do not print them."""
        if self._secrets is None:
            raise RuntimeError("the mesh has not been entered")
        return self._secrets

    @property
    def nats(self) -> NatsSettings:
        """How to reach the broker."""
        password = SecretStr(self.secrets.nats_password)
        return NatsSettings(url=f"nats://127.0.0.1:{self.ports.nats}", user=NATS_USER, password=password)

    @property
    def supervisor(self) -> Supervisor:
        """Runs the processes."""
        if self._supervisor is None:
            raise RuntimeError("the mesh has not been entered")
        return self._supervisor

    @property
    def ports(self) -> Ports:
        """Which port is whose."""
        if self._ports is None:
            raise RuntimeError("the mesh has not been entered")
        return self._ports

    @property
    def http_url(self) -> str:
        """The gateway."""
        return f"http://{self._http_host}:{self.ports.http}"

    @property
    def _http_host(self) -> str:
        """Where this machine reaches the gateway."""
        return "127.0.0.1" if self.config.http_host in _EVERYWHERE else self.config.http_host

    def process(self, name: str) -> Process:
        """One server, for whoever wants to kill or restart it."""
        return self.supervisor.processes[name]

    def status(self) -> tuple[Status, ...]:
        """A row per server: name, state, address, pid, restarts, seconds until ready, log."""
        return self.supervisor.status()

    def changes(self) -> AsyncIterator[Status]:
        """A row whenever a server changes its state, from the first ``anext`` on."""
        return self.supervisor.changes()

    def _describe(self) -> dict[str, Any]:
        ports = {**self.ports.metrics, **({"triton": self.ports.triton[2]} if self.config.models else {})}
        rows: dict[str, dict[str, Any]] = {
            row.name: {"address": row.address, "pid": row.pid, "log": str(row.log)} for row in self.status()
        }
        for name in rows.keys() & ports.keys():
            rows[name]["metrics"] = f"http://127.0.0.1:{ports[name]}/metrics"
        return {
            "pid": os.getpid(),
            "auth": self.config.auth,
            "data_dir": str(self.layout.root),
            "http": self.http_url,
            "servers": rows,
        }


@asynccontextmanager
async def mesh(config: MeshConfig) -> AsyncIterator[Mesh]:
    """A mesh that is ready; it is stopped at the end of the block."""
    async with Mesh(config) as running:
        await running.start()
        yield running
