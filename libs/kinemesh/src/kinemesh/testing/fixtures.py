"""Fixtures that start the real servers once per test session, on free ports, each when a test first asks for it.

They leave nothing behind: a guard process clears up even if the test run is killed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from kinemesh.embedded import Process, ServerSpec, Supervisor, free_ports, nats, postgres, seaweedfs, triton
from kinemesh.inference import TritonSettings
from kinemesh.storage import ObjectStore, S3Settings


@dataclass(frozen=True, slots=True)
class NatsServer:
    """A broker of the test session; ``process`` can kill and restart it."""

    url: str
    monitor_port: int
    process: Process


@dataclass(frozen=True, slots=True)
class S3Server:
    """An object store of the test session; ``settings.bucket`` exists."""

    settings: S3Settings
    process: Process


@dataclass(frozen=True, slots=True)
class TritonServer:
    """A model server of the test session."""

    settings: TritonSettings
    http_port: int
    process: Process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def supervisor() -> AsyncIterator[Supervisor]:
    """Runs the servers of the session. Tests may start their own with it, or better with one of their own."""
    async with Supervisor() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> NatsServer:
    """A broker with JetStream."""
    folder = tmp_path_factory.mktemp("nats")
    port, monitor_port = free_ports(2)
    process = await _start(supervisor, nats.nats_spec(folder / "data", folder / "log", port, monitor_port))
    return NatsServer(f"nats://127.0.0.1:{port}", monitor_port, process)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> S3Server:
    """An S3 server with an empty bucket."""
    folder = tmp_path_factory.mktemp("s3")
    ports = free_ports(seaweedfs.PORTS)
    keys = seaweedfs.S3Secrets.random()
    process = await _start(supervisor, seaweedfs.seaweedfs_spec(folder, folder / "log", ports, keys))
    return S3Server(seaweedfs.s3_settings(ports, keys), process)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3_store(s3_server: S3Server) -> AsyncIterator[ObjectStore]:
    """A client of :func:`s3_server`; tests choose keys of their own."""
    async with ObjectStore(s3_server.settings) as store:
        yield store


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SQLAlchemy URL of an empty database."""
    folder = tmp_path_factory.mktemp("pg")
    await _start(supervisor, postgres.postgres_spec(folder / "data", folder / "log", durable=False))
    return postgres.postgres_url(folder / "data")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def triton_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A model server with the ``mock`` set, which needs no weights."""
    return await start_triton(supervisor, tmp_path_factory.mktemp("triton"), "mock")


async def start_triton(supervisor: Supervisor, folder: Path, model_set: str) -> TritonServer:
    """Build ``model_set`` in ``folder`` and serve it; skips the test where the model project is not set up."""
    repository = folder / "models"
    python = triton_python()
    command = [str(python), "-m", "kinemesh_models", "build", "--set", model_set, "--out", str(repository)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)  # noqa: ASYNC221, S603 - nothing else runs
    ports = free_ports(triton.PORTS)
    models = triton.TritonModels(python, repository)
    process = await _start(supervisor, triton.triton_spec(models, folder / "server", folder / "log", ports))
    return TritonServer(TritonSettings(endpoint=f"127.0.0.1:{ports[0]}"), ports[1], process)


def triton_python() -> Path:
    """The interpreter of the model project: ``KINEMESH_TRITON_PYTHON``, or that of this checkout."""
    configured = os.environ.get("KINEMESH_TRITON_PYTHON")
    folder = next((parent for parent in Path(__file__).parents if (parent / "triton_models").is_dir()), Path())
    python = Path(configured) if configured else folder / "triton_models" / ".venv" / "bin" / "python"
    if not python.is_file():
        pytest.skip("the model server's environment is not set up")
    return python


async def _start(supervisor: Supervisor, spec: ServerSpec) -> Process:
    await supervisor.start([spec])
    return supervisor.processes[spec.name]
