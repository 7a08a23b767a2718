"""Fixtures that start the real servers once per test session, on free ports, each when a test first asks for it.

They leave nothing behind: a guard process clears up even if the test run is killed.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from kinemesh.embedded import nats, postgres, seaweedfs, triton
from kinemesh.embedded.credentials import S3Secrets
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.process import Process, ServerSpec
from kinemesh.embedded.supervisor import Supervisor
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
    keys = S3Secrets.random()
    process = await _start(supervisor, seaweedfs.seaweedfs_spec(folder, folder / "log", ports, keys))
    return S3Server(seaweedfs.s3_settings(ports, keys), process)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3_store(s3_server: S3Server) -> AsyncIterator[ObjectStore]:
    """A client of :func:`s3_server`; tests choose keys of their own."""
    async with ObjectStore(s3_server.settings) as store:
        yield store


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach: every session of pytest closes its own folders to others anew."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(supervisor: Supervisor) -> str:
    """The SQLAlchemy URL of an empty database."""
    # Not below pytest's own folder, which each run closes to all but root: PostgreSQL runs as another user then.
    folder = Path(tempfile.mkdtemp(prefix="kinemesh-postgres-"))
    spec = postgres.postgres_spec(folder / "data", folder / "log", durable=False)
    await _start(supervisor, replace(spec, leftovers=(*spec.leftovers, str(folder))))
    return postgres.postgres_url(folder / "data")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def triton_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A model server with the ``mock`` set, which needs no weights."""
    return await start_triton(supervisor, tmp_path_factory.mktemp("triton"), "mock")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def default_triton_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> TritonServer:
    """A model server with the ``default`` set: real models, whose weights are fetched once and kept."""
    return await start_triton(supervisor, tmp_path_factory.mktemp("triton"), "default")


async def start_triton(supervisor: Supervisor, folder: Path, model_set: str) -> TritonServer:
    """Build ``model_set`` in ``folder`` and serve it."""
    python, repository = build_models(folder / "models", model_set)
    ports = free_ports(triton.PORTS)
    models = triton.TritonModels(python, repository)
    name = f"triton-{model_set}"
    spec = triton.triton_spec(models, folder / "server", folder / "log", ports, name=name)
    process = await _start(supervisor, spec)
    return TritonServer(TritonSettings(endpoint=f"127.0.0.1:{ports[0]}"), ports[1], process)


def build_models(repository: Path, model_set: str) -> tuple[Path, Path]:
    """Build a model repository; answers with the interpreter that serves it, and the repository."""
    python = triton_python()
    command = [str(python), "-m", "kinemesh_models", "build", "--set", model_set, "--out", str(repository)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)  # noqa: S603 - our own program
    return python, repository


def triton_python() -> Path:
    """The interpreter of the model project: ``KINEMESH_TRITON_PYTHON``, or that of this checkout."""
    configured = os.environ.get("KINEMESH_TRITON_PYTHON")
    folder = next((parent for parent in Path(__file__).parents if (parent / "triton_models").is_dir()), Path())
    python = Path(configured) if configured else folder / "triton_models" / ".venv" / "bin" / "python"
    if not python.is_file():
        pytest.fail("the model server's environment is not set up: run `make setup`")
    return python


async def _start(supervisor: Supervisor, spec: ServerSpec) -> Process:
    await supervisor.start([spec])
    return supervisor.processes[spec.name]
