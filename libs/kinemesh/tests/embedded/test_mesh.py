"""The servers of a mesh, without our services: those have tests of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import psutil
import psycopg
import pytest

from kinemesh.embedded.credentials import load_secrets
from kinemesh.embedded.environment import SERVICES, Ports, choose_ports, instances, service_environment
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.mesh import Mesh, MeshConfig, mesh
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.postgres import postgres_spec, postgres_url
from kinemesh.embedded.process import State
from kinemesh.embedded.running import running_mesh, stop_running
from kinemesh.embedded.seaweedfs import s3_settings
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.embedded.triton import TritonModels
from kinemesh.errors import FailedPrecondition
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.storage import ObjectStore
from kinemesh.testing.fixtures import NatsServer, build_models


@pytest.fixture
def config(tmp_path: Path) -> MeshConfig:
    return MeshConfig(data_dir=tmp_path / "mesh", services=(), http_port=0, durable=False)


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fails if the test leaves a process that works in its folder behind."""
    yield
    found = {p.pid: p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.pid != os.getpid()}
    assert [line for line in found.values() if str(tmp_path) in " ".join(line or ())] == []


def sockets(ports: Ports) -> list[Path]:
    return [path for port in ports.s3 for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


async def test_objects_and_streams_outlast_a_restart(config: MeshConfig, nothing_left: None) -> None:
    async with mesh(config) as running:
        assert {row.name: row.state for row in running.status()} == {"nats": State.READY, "s3": State.READY}
        async with store_of(running) as store:
            await store.put_bytes("kept/x", b"kept")
        client = await broker(running)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", b"message")
        await client.close()
        assert stat.S_IMODE(running.layout.secrets.stat().st_mode) == 0o600
        first = running.ports
        assert sockets(first) != [], "else the next assertion says nothing"
    assert sockets(first) == []
    async with mesh(config) as running:  # on other ports
        assert not set(first.s3) & set(running.ports.s3)
        async with store_of(running) as store:
            assert await store.get_bytes("kept/x") == b"kept"
            await store.put_bytes("kept/y", b"new")
            assert [entry.key for entry in await store.list_objects("kept/")] == ["kept/x", "kept/y"]
        client = await broker(running)
        assert (await client.jetstream().get_last_msg("KEPT", "kept")).data == b"message"
        await client.close()


async def broker(running: Mesh) -> Any:
    settings = running.nats
    return await nats.connect(settings.url, user=settings.user, password=settings.password.get_secret_value())


def store_of(running: Mesh) -> ObjectStore:
    return ObjectStore(s3_settings(running.ports.s3, load_secrets(running.layout.secrets).s3))


async def test_one_mesh_per_folder_and_stopping_from_outside(config: MeshConfig, nothing_left: None) -> None:
    assert running_mesh(config.data_dir) is None
    assert not await stop_running(config.data_dir)
    script = (
        "import asyncio, pathlib, signal\n"
        "from kinemesh.embedded.mesh import MeshConfig, mesh\n"
        "async def main():\n"
        "    stop = asyncio.Event()\n"
        "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)\n"
        f"    config = MeshConfig(data_dir=pathlib.Path({str(config.data_dir)!r}), services=(), http_port=0)\n"
        "    async with mesh(config):\n"
        "        print('ready', flush=True)\n"
        "        await stop.wait()\n"
        "asyncio.run(main())\n"
    )

    async def start() -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        return child

    other = await start()
    described = running_mesh(config.data_dir)
    assert described is not None
    assert described["pid"] == other.pid
    assert set(described["servers"]) == {"nats", "s3"}
    with pytest.raises(FailedPrecondition) as caught:
        await Mesh(config).__aenter__()
    assert caught.value.reason == "MESH_RUNNING"
    assert await stop_running(config.data_dir)
    assert await other.wait() == 0
    assert running_mesh(config.data_dir) is None

    # After kill -9 the next one waits for the guard, and finds everything in order.
    other = await start()
    other.send_signal(signal.SIGKILL)
    await other.wait()
    async with mesh(config):
        pass


async def test_a_killed_server_comes_back(config: MeshConfig, nothing_left: None) -> None:
    async with Mesh(config) as running:
        await running.start()
        changes = running.changes()
        change = asyncio.ensure_future(anext(changes))
        await running.process("nats").kill()
        states = [(await change).state]
        while states[-1] is not State.READY:
            states.append((await anext(changes)).state)
        assert states == [State.RESTARTING, State.READY]
        client = await broker(running)
        await client.close()


async def test_models_of_users_are_served_beside_the_built_ones(
    config: MeshConfig, tmp_path: Path, nothing_left: None
) -> None:
    models = TritonModels(*build_models(tmp_path / "mock", "mock"))
    config = replace(config, models=models, services=("ingest", "pose"))
    running = Mesh(config)
    own = running.layout.models
    shutil.copytree(tmp_path / "mock" / "person_detector", own / "visitor")
    text = (own / "visitor" / "config.pbtxt").read_text()
    (own / "visitor" / "config.pbtxt").write_text(text.replace('name: "person_detector"', 'name: "visitor"'))
    shutil.copytree(own / "visitor", own / "broken")
    (own / "broken" / "config.pbtxt").write_text("no configuration at all")
    async with running:
        told = running.environment("ingest")
        assert told["KINEMESH_MODELS__PYTHON"] == str(models.python)
        assert told["KINEMESH_MODELS__REPOSITORY"] == str(own)
        assert "KINEMESH_MODELS__PYTHON" not in running.environment("pose")
        await running.supervisor.start([spec for spec in running.specs() if spec.name == "triton"])
        async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{running.ports.triton[0]}")) as client:
            loaded = await client.loaded()
        assert {name for name, ready in loaded.items() if ready} >= {"person_detector", "pose_detector", "visitor"}
        assert not loaded.get("broken", False)


async def test_what_is_missing_is_said_before_anything_starts(config: MeshConfig, tmp_path: Path) -> None:
    unbuilt = MeshConfig(data_dir=config.data_dir, models=TritonModels(Path(sys.executable), tmp_path / "none"))
    with pytest.raises(FailedPrecondition) as caught:
        await Mesh(unbuilt).__aenter__()
    assert caught.value.reason == "MODELS_MISSING"
    assert not config.data_dir.exists()

    (port,) = free_ports(1)
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    async with listening:
        with pytest.raises(FailedPrecondition) as caught:
            await Mesh(MeshConfig(data_dir=config.data_dir, http_port=port)).__aenter__()
    assert caught.value.reason == "PORT_IN_USE"


def test_each_service_is_told_what_it_needs(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ports = choose_ports(SERVICES, 0)
    keys = load_secrets(layout.secrets)
    assert load_secrets(layout.secrets) == keys
    env = {service: service_environment(service, ports, layout, keys, "INFO") for service in SERVICES}
    assert [service for service in SERVICES if "KINEMESH_DATABASE__URL" in env[service]] == ["ingest"]
    assert env["gateway"]["KINEMESH_UPSTREAMS__DETECT_TRACK"] == f"127.0.0.1:{ports.grpc['detect_track']}"
    assert env["pose"]["KINEMESH_S3__SECRET_KEY"] == keys.s3.secret_key
    listening = [ports.nats, ports.nats_monitor, *ports.s3, *ports.triton, ports.http]
    listening += [*ports.grpc.values(), *ports.metrics.values()]
    assert len(set(listening)) == len(listening)


def test_twins_have_ports_of_their_own_and_are_all_called(tmp_path: Path) -> None:
    names = instances(("ingest", "render", "gateway"), {"ingest": 2})
    assert names == ("ingest", "ingest-2", "render", "gateway")
    ports = choose_ports(names, 0)
    keys = load_secrets(tmp_path / "secrets.json")
    env = {name: service_environment(name, ports, Layout(tmp_path), keys, "INFO") for name in names}
    one, other = (env[name]["KINEMESH_GRPC__PORT"] for name in names[:2])
    assert one != other
    assert env["ingest"]["KINEMESH_DATABASE__URL"] == env["ingest-2"]["KINEMESH_DATABASE__URL"]
    assert env["gateway"]["KINEMESH_UPSTREAMS__INGEST"] == f"ipv4:127.0.0.1:{one},127.0.0.1:{other}"
    for replicas in ({"pose": 2}, {"ingest": 0}, {"gateway": 2}):
        with pytest.raises(ValueError, match="cannot run"):
            instances(("ingest", "gateway"), replicas)


async def test_the_servers_keep_to_themselves(nats_server: NatsServer, config: MeshConfig) -> None:
    async with mesh(config) as running:
        own = [running.process(name).pid for name in ("nats", "s3")]
        own.append(nats_server.process.pid)
        for pid in own:
            assert pid is not None
            addresses = {c.laddr.ip for c in psutil.Process(pid).net_connections("tcp") if c.status == "LISTEN"}
            assert addresses == {"127.0.0.1"}
            command = " ".join(psutil.Process(pid).cmdline())
            keys = json.loads(running.layout.secrets.read_text())
            assert not any(secret in command for secret in keys.values())


async def test_postgres(postgres_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_url.replace("+psycopg", "")) as connection:
        await connection.execute("CREATE TABLE numbers (n int)")
        await connection.execute("INSERT INTO numbers SELECT generate_series(1, 10)")
        cursor = await connection.execute("SELECT sum(n), current_setting('listen_addresses') FROM numbers")
        assert await cursor.fetchone() == (55, "")
        await connection.rollback()


async def test_postgres_keeps_its_data_in_a_deep_folder(open_folder: Path, nothing_left: None) -> None:
    folder = open_folder.joinpath(*["deep" * 5] * 5) / "postgres"  # too long for the address of a socket
    spec = postgres_spec(folder, open_folder / "log", restarts=2)
    url = postgres_url(folder).replace("+psycopg", "")
    assert not Path(spec.address).is_relative_to(folder)
    async with Supervisor() as supervisor:
        await supervisor.start([spec])
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("CREATE TABLE kept (n int)")
            await connection.execute("INSERT INTO kept VALUES (7)")
        process = supervisor.processes["postgres"]
        await process.kill()
        async with asyncio.timeout(60):
            async for change in supervisor.changes():
                if change.state is State.READY:
                    break
        async with await psycopg.AsyncConnection.connect(url) as connection:
            assert await (await connection.execute("SELECT n FROM kept")).fetchone() == (7,)
    assert not await asyncio.to_thread(Path(spec.address).exists)
