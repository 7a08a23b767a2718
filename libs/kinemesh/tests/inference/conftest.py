from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from kinemesh.embedded import triton
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.inference.shared_memory import PREFIX
from kinemesh.testing.fixtures import TritonServer, triton_python

CONFIG = """
name: "echo"
backend: "python"
max_batch_size: 0
input [ { name: "DATA" data_type: TYPE_UINT8 dims: [ -1, -1 ] }, { name: "WAIT_MS" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "ECHO" data_type: TYPE_UINT8 dims: [ -1, -1 ] }, { name: "FACTS" data_type: TYPE_INT64 dims: [ 3 ] } ]
instance_group [ { kind: KIND_CPU count: 2 } ]
"""


Regions = Callable[[], set[str]]


@pytest.fixture
def regions() -> Regions:
    """What this process has taken of shared memory since the test began; clients that outlast tests have theirs."""

    def all_of_them() -> set[str]:
        return {path.name for path in Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*")}

    before = all_of_them()
    return lambda: all_of_them() - before


@pytest.fixture(scope="session")
def echo_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("echo-models")
    (repository / "echo" / "1").mkdir(parents=True)
    (repository / "echo" / "config.pbtxt").write_text(CONFIG)
    shutil.copy(Path(__file__).with_name("echo_model.py"), repository / "echo" / "1" / "model.py")
    return repository


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def echo_server(
    supervisor: Supervisor, echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> TritonServer:
    folder = tmp_path_factory.mktemp("echo")
    models = triton.TritonModels(triton_python(), echo_repository)
    ports = free_ports(triton.PORTS)
    await supervisor.start([triton.triton_spec(models, folder / "run", folder / "log", ports, name="triton-echo")])
    settings = TritonSettings(endpoint=f"127.0.0.1:{ports[0]}")
    return TritonServer(settings, ports[1], supervisor.processes["triton-echo"])


@pytest_asyncio.fixture(loop_scope="session", params=["on", "off"])
async def client(echo_server: TritonServer, request: pytest.FixtureRequest) -> AsyncIterator[TritonClient]:
    settings = echo_server.settings.model_copy(update={"shared_memory": request.param})
    async with TritonClient(settings) as opened:
        yield opened
