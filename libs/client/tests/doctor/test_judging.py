"""What the doctor says of figures: each limit from both sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kinemesh.bus.topology import STAGES, stage_consumer, streams
from kinemesh_client.doctor import broker, database, exposure, folder, gateway, machine, models, programs, storage
from kinemesh_client.doctor.findings import Finding, Level

GIB, MIB = 2**30, 2**20
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALL_STREAMS = {str(config.name): (0, config.max_bytes or -1) for config in streams(1)}
BUILT = dict.fromkeys(models._NEEDED, ("aa", "aa"))
OK, WARNING, PROBLEM = Level

CASES: list[Any] = [
    (machine.judge_system("Linux", "x86_64"), OK, "Linux"),
    (machine.judge_system("Linux", "aarch64"), PROBLEM, "aarch64"),
    (machine.judge_system("Darwin", "x86_64"), PROBLEM, "Darwin"),
    (machine.judge_glibc("glibc", "2.35"), OK, "2.35"),
    (machine.judge_glibc("glibc", "2.31"), PROBLEM, "2.31"),
    (machine.judge_glibc("glibc", "2.100"), OK, "2.100"),
    (machine.judge_glibc("", ""), PROBLEM, "unknown"),
    (machine.judge_cores(2), OK, "2"),
    (machine.judge_cores(1), WARNING, "1 core"),
    (machine.judge_memory(8 * GIB, 4 * GIB), OK, "8.0 GiB"),
    (machine.judge_memory(8 * GIB, GIB // 2), WARNING, "0.5 GiB available"),
    (machine.judge_memory(2 * GIB, GIB), PROBLEM, "2.0 GiB"),
    (machine.judge_shared_memory(GIB, GIB), OK, "1024 MiB"),
    (machine.judge_shared_memory(256 * MIB, 200 * MIB), WARNING, "256 MiB"),
    (machine.judge_shared_memory(64 * MIB, 64 * MIB), PROBLEM, "64 MiB"),
    (machine.judge_shared_memory(0, 0), PROBLEM, "no /dev/shm"),
    (machine.judge_open_files(-1), OK, "any number"),
    (machine.judge_open_files(4096), OK, "4096"),
    (machine.judge_open_files(1024), WARNING, "1024"),
    (machine.judge_open_files(256), PROBLEM, "256"),
    (machine.judge_disk(20 * 10**9, 10**11, 10), OK, "20.0 GB"),
    (machine.judge_disk(9 * 10**9, 10**11, 10), WARNING, "9.0 GB"),
    (machine.judge_disk(10**9, 10**11, 10), PROBLEM, "1.0 GB"),
    (machine.judge_inodes(0, 0), OK, "no limit"),
    (machine.judge_inodes(10**6, 10**7), OK, "1000000"),
    (machine.judge_inodes(10**5, 10**7), PROBLEM, "100000 of"),
    (machine.judge_clock("x", 1.4), OK, "agrees"),
    (machine.judge_clock("x", -7), WARNING, "7 s behind"),
    (machine.judge_clock("x", 3600), PROBLEM, "3600 s ahead"),
    (programs.judge_python("3.11.9"), OK, "3.11.9"),
    (programs.judge_python("3.12.1"), PROBLEM, "3.12.1"),
    (*programs.judge_packages(["kinemesh"]), OK, "requirements"),
    (*programs.judge_packages(["kinemesh-coffee"]), PROBLEM, "kinemesh-coffee is not installed"),
    (*programs.judge_programs(["nats-server"]), OK, "installed"),
    (*programs.judge_programs(["nats-server", "coffee"]), PROBLEM, "coffee"),
    (*programs.judge_gpus("NVIDIA L4, 550.54, 23034, 22000\n"), OK, "driver 550.54"),
    (*programs.judge_gpus("NVIDIA L4, 550.54, 23034, 100\n"), PROBLEM, "100 of 23034"),
    (*programs.judge_gpus(""), PROBLEM, "No card"),
    (folder.judge_secrets(0o100600), OK, "Only its owner"),
    (folder.judge_secrets(0o100644), PROBLEM, "Others can read"),
    (folder.judge_description(False), OK, "No mesh"),
    (folder.judge_description(True), WARNING, "does not run"),
    (folder.judge_servers({"nats": True}), OK, "1 processes"),
    (folder.judge_servers({"nats": True, "pose": False}), PROBLEM, "Ended: pose"),
    (folder.judge_processes([]), OK, "No processes"),
    (folder.judge_processes([7, 8]), PROBLEM, "7 8"),
    (folder.judge_regions([]), OK, "No shared memory"),
    (folder.judge_regions(["kinemesh_7_1_x"]), WARNING, "1 regions"),
    (*exposure.judge_authentication({"H": "127.0.0.1", "G": "localhost"}, False), OK, "this machine only"),
    (*exposure.judge_authentication({"H": "0.0.0.0"}, True), OK, "token"),
    (*exposure.judge_authentication({"H": "0.0.0.0", "G": "::1"}, False), PROBLEM, "H=0.0.0.0,"),
    (*exposure.judge_authentication({"H": "kinemesh.example"}, False), PROBLEM, "H=kinemesh.example"),
    (exposure.judge_certificate("C", NOW - timedelta(9), NOW + timedelta(99), NOW), OK, "99 days"),
    (exposure.judge_certificate("C", NOW - timedelta(9), NOW + timedelta(9), NOW), WARNING, "in 9 days"),
    (exposure.judge_certificate("C", NOW - timedelta(9), NOW - timedelta(3), NOW), PROBLEM, "expired 3 days ago"),
    (exposure.judge_certificate("C", NOW + timedelta(1), NOW + timedelta(99), NOW), PROBLEM, "not valid before"),
    (broker.judge_storage(5 * MIB, -1), OK, "5 MiB."),
    (broker.judge_storage(900 * MIB, 1000 * MIB), PROBLEM, "of 1000 MiB"),
    (*broker.judge_streams(ALL_STREAMS), OK, "All 5 streams"),
    (*broker.judge_streams({**ALL_STREAMS, "KINEMESH_TASKS": (80, 100)}), WARNING, "KINEMESH_TASKS holds 80%"),
    (*broker.judge_streams({**ALL_STREAMS, "KINEMESH_EVENTS": (99, 100)}), OK, "have room"),
    (*broker.judge_streams({n: s for n, s in ALL_STREAMS.items() if n != "KINEMESH_TASKS"}), PROBLEM, "KINEMESH_TASKS"),
    (broker.judge_consumers({stage_consumer(stage).durable for stage in STAGES}), OK, "16 stages"),
    (broker.judge_consumers({stage_consumer(stage).durable for stage in STAGES[1:]}), PROBLEM, STAGES[0]),
    (broker.judge_lag({"pose": (0, 0, 0)}), OK, "No task waits"),
    (broker.judge_lag({"pose": (5, 0, 2)}), OK, "pose 5"),
    (broker.judge_lag({"pose": (5, 2, 0)}), OK, "pose 5"),
    (broker.judge_lag({"pose": (5, 0, 0), "track": (0, 0, 0)}), PROBLEM, "nobody takes them: pose"),
    (broker.judge_outcomes(3), OK, "3 outcomes"),
    (broker.judge_outcomes(300), WARNING, "300 outcomes"),
    (broker.judge_dead_letters({}), OK, "no dead letters"),
    (broker.judge_dead_letters({"kinemesh.dead.pose": 2}), WARNING, "2 dead letters: pose 2"),
    (broker.judge_failure("u", Exception("nats: 'Authorization Violation'")), PROBLEM, "refuses our credentials"),
    (broker.judge_failure("u", Exception("nats: no responders available")), PROBLEM, "no JetStream"),
    (broker.judge_failure("u", TimeoutError()), PROBLEM, "does not answer (TimeoutError)"),
    (storage.judge_object(True, 0.02), OK, "20 ms"),
    (storage.judge_object(False, 0.02), PROBLEM, "other bytes"),
    (storage.judge_url("h:1", ""), OK, "h:1"),
    (storage.judge_url("h:1", "403"), PROBLEM, "403"),
    (database.judge_revision("0004", "0004"), OK, "0004"),
    (database.judge_revision("0003", "0004"), WARNING, "0003"),
    (database.judge_revision("0009", "0004"), PROBLEM, "0009"),
    (database.judge_revision("", "0004"), WARNING, "no schema"),
    (database.judge_revision("0004", ""), OK, "0004"),
    (database.judge_connections(20, 100), OK, "20 of 100"),
    (database.judge_connections(97, 100), PROBLEM, "97 of 100"),
    (database.judge_failure("FATAL: sorry, too many clients already"), PROBLEM, "too many clients"),
    (models.judge_built(BUILT, {"aa"}), OK, "5 models"),
    (models.judge_built({}, set()), PROBLEM, "Not built"),
    (models.judge_built({**BUILT, "pose_detector": ("aa", "missing")}, {"aa"}), PROBLEM, "Other weights"),
    (models.judge_built(BUILT, {"bb"}), WARNING, "Older"),
    (*models.judge_served(dict.fromkeys(BUILT, True)), OK, "5 models"),
    (*models.judge_served({**dict.fromkeys(BUILT, True), "mine": False}), WARNING, "mine"),
    (*models.judge_served({**dict.fromkeys(BUILT, True), "pose_detector": False}), PROBLEM, "pose_detector"),
    (*gateway.judge_health({"ingest": {"status": "ok", "needed": True}}), OK, "1 parts"),
    (*gateway.judge_health({"ingest": {"status": "down", "needed": True}}), PROBLEM, "ingest is down"),
    (*gateway.judge_health({"pose": {"status": "down", "needed": False}}), WARNING, "pose is down"),
]


@pytest.mark.parametrize(("finding", "level", "words"), CASES, ids=[f"{c[0].check}-{c[2]}" for c in CASES])
def test_findings(finding: Finding, level: Level, words: str) -> None:
    assert (finding.level, words in finding.found) == (level, True), finding
    assert bool(finding.why and finding.action) == (level is not OK), "a finding says what to do, unless all is well"


def test_processes_of_a_dead_mesh_are_told_from_those_of_a_live_one() -> None:
    processes = [
        (1, ["python", "-I", "-S", "/x/kinemesh/embedded/guard.py", "live"], ""),
        (2, ["nats-server"], "live"),
        (3, ["weed", "server"], "dead"),
        (4, ["bash"], ""),
    ]
    assert folder.orphans(processes) == [3]


def test_shared_memory_of_dead_processes() -> None:
    names = ["kinemesh_7_123_00aa00aa", "kinemesh_8_123_00aa00aa", "kinemesh_triton_7", "else"]
    assert folder.dead_regions(names, {8}) == ["kinemesh_7_123_00aa00aa"]


def test_the_difference_of_clocks() -> None:
    assert storage.skew("Sun, 01 Mar 2026 00:00:30 GMT", NOW.timestamp()) == 30
    assert storage.skew("", NOW.timestamp()) is None
    assert storage.skew("soon", NOW.timestamp()) is None


def certificate(days: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kinemesh")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(99)).not_valid_after(NOW + timedelta(days))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_files_of_certificates(tmp_path: Path) -> None:
    (tmp_path / "both").write_bytes(certificate(5) + certificate(500))
    (tmp_path / "none").write_text("hello")
    levels = [finding.level for finding in exposure.look_at_file("X", tmp_path / "both", NOW)]
    assert levels == [WARNING, OK]
    [no_pem] = exposure.look_at_file("KINEMESH_TLS__CERT_FILE", tmp_path / "none", NOW)
    [missing] = exposure.look_at_file("KINEMESH_TLS__CERT_FILE", tmp_path / "nothing", NOW)
    assert (no_pem.level, missing.level) == (PROBLEM, PROBLEM)
    assert "KINEMESH_TLS__CERT_FILE" in missing.found
    given = {"KINEMESH_NATS__CA_FILE": str(tmp_path / "none"), "OTHER__CA_FILE": "x", "KINEMESH_TLS__KEY_FILE": "x"}
    assert len(exposure.look_at_certificates(given)) == 1


def test_built_models_are_compared_with_the_manifest(tmp_path: Path) -> None:
    assert models.look_at_built(tmp_path)[0].level is PROBLEM
    (tmp_path / "src" / "kinemesh_models").mkdir(parents=True)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (tmp_path / "src" / "kinemesh_models" / "models.toml").write_text(f'[weights.a]\nsha256 = "{empty}"\n')
    for name in models._NEEDED:
        version = tmp_path / "build" / "default" / name / "1"
        version.mkdir(parents=True)
        (version / "w.onnx").write_bytes(b"")
        text = "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in (("weights", "w.onnx"), ("sha256", empty))
        )
        (version.parent / "config.pbtxt").write_text(text)
    assert models.look_at_built(tmp_path)[0].level is OK
    (tmp_path / "build" / "default" / "pose_detector" / "1" / "w.onnx").write_bytes(b"x")
    assert "pose_detector" in models.look_at_built(tmp_path)[0].found
