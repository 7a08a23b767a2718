"""The doctor on real servers, each in some trouble."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from kinemesh.bus.connection import connect
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.inference import TritonSettings
from kinemesh.settings import NatsSettings
from kinemesh.testing.fixtures import S3Server
from kinemesh_client.doctor import broker, database, folder, gateway, machine, models, programs, storage
from kinemesh_client.doctor.findings import Check, Finding, Level, blocking, exit_code, look_at, ok, warning
from kinemesh_client.testing import Cli, environment, one_object

NOBODY = "127.0.0.1:9"


def worst(findings: Sequence[Finding]) -> Finding:
    return max(findings, key=lambda finding: list(Level).index(finding.level))


async def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    async def hangs() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    def breaks() -> Sequence[Finding]:
        raise RuntimeError("so")

    held = threading.Event()

    def blocks() -> Sequence[Finding]:
        held.wait()
        return []

    checks = [Check("slow", hangs), blocking("broken", breaks), blocking("fine", lambda: [ok("fine", "Fine.")])]
    slow, broken, fine, stuck = await look_at([*checks, blocking("stuck", blocks)], deadline_s=0.5)
    held.set()
    levels = (slow.level, broken.level, fine.level, stuck.level)
    assert levels == (Level.PROBLEM, Level.PROBLEM, Level.OK, Level.PROBLEM)
    assert "No answer" in slow.found
    assert "RuntimeError: so" in broken.found


def test_the_exit_code_is_that_of_the_worst() -> None:
    fine, bad = ok("a", "A."), warning("b", "B.", "why", "do")
    assert [exit_code(found) for found in ([], [fine], [fine, bad], [replace(bad, level=Level.PROBLEM)])] == [
        0,
        0,
        1,
        2,
    ]


@pytest_asyncio.fixture(loop_scope="session")
async def locked_broker(tmp_path: Path) -> AsyncIterator[NatsSettings]:
    """A broker that wants a password."""
    port, monitor = free_ports(2)
    spec = nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)
    async with Supervisor() as supervisor:
        await supervisor.start([replace(spec, argv=(*spec.argv, "--user", "mesh", "--pass", "right"))])
        yield NatsSettings(url=f"nats://127.0.0.1:{port}", user="mesh", password=SecretStr("right"))


async def test_the_broker_from_nothing_to_well(locked_broker: NatsSettings) -> None:
    wrong = locked_broker.model_copy(update={"password": SecretStr("wrong")})
    assert "refuses our credentials" in worst(await broker.look_at_broker(wrong)).found
    assert "Streams are missing" in worst(await broker.look_at_broker(locked_broker)).found
    async with connect(locked_broker, "test") as bus:
        assert worst(await broker.look_at_broker(locked_broker)).level is Level.OK
        await bus.jetstream.publish("kinemesh.dead.pose", b"x")
        await bus.jetstream.publish("kinemesh.task.pose", b"x")
        found = {finding.found: finding.level for finding in await broker.look_at_broker(locked_broker)}
        assert found["1 dead letters: pose 1."] is Level.WARNING
        assert found["Tasks wait and nobody takes them: pose."] is Level.PROBLEM
        await bus.jetstream.delete_consumer("KINEMESH_TASKS", "stage-track")
        assert "Consumers are missing: track." in {one.found for one in await broker.look_at_broker(locked_broker)}
    lost = locked_broker.model_copy(update={"user": "", "credentials_file": "/no/such/file"})
    assert "cannot be used" in worst(await broker.look_at_broker(lost)).found
    gone = locked_broker.model_copy(update={"url": f"nats://{NOBODY}"})
    assert "does not answer" in worst(await broker.look_at_broker(gone)).found


async def test_storage_with_wrong_keys_address_and_clock(s3_server: S3Server) -> None:
    right = s3_server.settings
    assert {finding.level for finding in await storage.look_at_storage(right)} == {Level.OK}
    wrong = right.model_copy(update={"secret_key": SecretStr("wrong")})
    assert "STORAGE_ACCESS_DENIED" in worst(await storage.look_at_storage(wrong)).found
    away = right.model_copy(update={"endpoint": NOBODY})
    assert "STORAGE_UNAVAILABLE" in worst(await storage.look_at_storage(away)).found
    unreachable = right.model_copy(update={"public_endpoint": NOBODY})
    assert f"A signed URL at {NOBODY} does not work" in worst(await storage.look_at_storage(unreachable)).found
    clock = worst(await storage.look_at_storage(right, clock=lambda: 1_000_000_000.0))
    assert (clock.check, clock.level) == ("clock", Level.PROBLEM)


def test_the_database_with_wrong_names_and_an_old_schema(postgres_url: str) -> None:
    found = database.look_at_database(postgres_url)
    assert found[0].level is Level.OK
    assert found[1].check == "database"
    [missing] = database.look_at_database(postgres_url.replace("/postgres?", "/nothing?"))
    assert "createdb" in missing.action
    [stranger] = database.look_at_database(postgres_url.replace("kinemesh@", "stranger@"))
    assert "KINEMESH_DATABASE__URL" in stranger.action
    [away] = database.look_at_database(f"postgresql+psycopg://{NOBODY}/kinemesh")
    assert "Start it" in away.action
    assert database.installed_revision() >= "0004"


async def test_a_gateway_and_a_model_server_that_are_away() -> None:
    assert (await gateway.look_at_gateway(f"http://{NOBODY}"))[0].level is Level.PROBLEM
    assert (await gateway.look_at_gateway("nonsense"))[0].level is Level.PROBLEM
    assert (await models.look_at_served(TritonSettings(endpoint=NOBODY)))[0].level is Level.PROBLEM


def test_a_full_disk_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert worst(machine.look_at_disk(tmp_path / "a" / "b", 0)).level is Level.OK
    assert worst(machine.look_at_disk(tmp_path, 10**9)).level is Level.PROBLEM


def test_a_folder_whose_mesh_was_killed(tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_text("{}")
    (tmp_path / "secrets.json").write_text("{}")
    os.chmod(tmp_path / "secrets.json", 0o644)  # noqa: PTH101
    levels = [finding.level for finding in folder.look_at_folder(tmp_path, None)]
    assert levels == [Level.PROBLEM, Level.WARNING]
    described = {"servers": {"nats": {"pid": 2**22 + 1}}}
    assert "Ended: nats" in folder.look_at_folder(tmp_path, described)[-1].found


def test_a_card_that_is_claimed_and_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.look_at_gpu("nvidia")[0].level is Level.PROBLEM
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'driver mismatch' >&2\nexit 9\n")
    tool.chmod(0o755)
    assert "driver mismatch" in programs.look_at_gpu("nvidia")[0].found
    tool.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54, 23034, 22000'\n")
    assert programs.look_at_gpu("nvidia")[0].level is Level.OK


def test_the_weights_of_a_network_in_two_files(tmp_path: Path) -> None:
    """OpenVINO keeps them beside the graph; it is they that the catalogue's hash is of."""
    sha256 = hashlib.sha256(b"weights").hexdigest()
    manifest = tmp_path / "src" / "kinemesh_models" / "models.toml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(f'[weights.two]\nsha256 = "of the graph"\n[weights.two.beside]\nsha256 = "{sha256}"\n')
    for name in models._NEEDED:
        built = tmp_path / "build" / "default" / name / "1"
        built.mkdir(parents=True)
        facts = {"weights": "two.xml", "sha256": sha256}
        (built.parent / "config.pbtxt").write_text(
            "\n".join(
                f'parameters {{ key: "{key}" value {{ string_value: "{fact}" }} }}' for key, fact in facts.items()
            )
        )
        (built / "two.xml").write_text("a graph")
        (built / "two.bin").write_bytes(b"weights")
    assert worst(models.look_at_built(tmp_path)).level is Level.OK
    (built / "two.bin").write_bytes(b"other")
    assert f"Other weights than they should have: {name}" in worst(models.look_at_built(tmp_path)).found
    (built / "two.bin").unlink()
    assert worst(models.look_at_built(tmp_path)).level is Level.PROBLEM


def test_a_mesh_that_runs_is_looked_at_as_a_whole(cli: Cli) -> None:
    done = cli("doctor", "--json", "--least-disk-gb=0")
    said = one_object(done.stdout)
    checks = {finding["check"] for finding in said["findings"]}
    assert checks >= {
        *("machine", "packages", "disk", "leftovers", "gpu", "certificates", "authentication", "data folder", "ports"),
        *("broker", "storage", "database", "models", "gateway", "clock"),
    }
    bad = [finding for finding in said["findings"] if finding["level"] == "problem"]
    # Other meshes may be under way on this machine, or be clearing up.
    assert [finding for finding in bad if finding["check"] != "leftovers"] == []
    assert done.returncode == {"ok": 0, "warnings": 1, "problems": 2}[said["status"]]
    shown = cli("doctor", "--verbose", "--least-disk-gb=1000000000")
    assert shown.returncode == 2
    assert "→ Delete jobs and assets" in shown.stdout


def test_without_a_mesh_and_from_afar(bare_cli: Cli, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = bare_cli(
        "doctor",
        "--json",
        "--least-disk-gb=0",
        f"--port={port}",
        env=environment(KINEMESH_DATA_DIR=str(tmp_path / "none")),
    )
    said = json.loads(done.stdout)
    assert "none runs in" in said["target"]
    assert {"gateway", "broker", "storage"}.isdisjoint({finding["check"] for finding in said["findings"]})
    far = bare_cli("doctor", f"--url=http://{NOBODY}")
    assert far.returncode == 2
    assert "does not answer" in far.stdout


def test_settings_of_services_name_a_mesh(bare_cli: Cli) -> None:
    variables = {"KINEMESH_NATS__URL": "nats://user:pw@x:1", "KINEMESH_S3__ENDPOINT": NOBODY}
    refused = bare_cli("doctor", "--json", "--least-disk-gb=0", env=environment(**variables))
    assert refused.returncode == 2
    assert "KINEMESH_NATS__URL" in refused.stdout
    assert "pw" not in refused.stdout + refused.stderr
    variables["KINEMESH_NATS__URL"] = f"nats://{NOBODY}"
    variables["KINEMESH_DATABASE__URL"] = f"postgresql+psycopg://ada:secret-word@{NOBODY}/x"
    done = bare_cli("doctor", "--json", "--least-disk-gb=0", env=environment(**variables))
    by_check = {finding["check"]: finding["level"] for finding in one_object(done.stdout)["findings"]}
    assert [by_check[name] for name in ("broker", "storage", "database")] == ["problem"] * 3
    assert "secret-word" not in done.stdout + done.stderr
