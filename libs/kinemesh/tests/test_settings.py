"""Settings are read once, cannot change, and never show a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from kinemesh.settings import GrpcSettings, NatsSettings, ServiceSettings, load

SECRET = "hunter2-s3cret"
SERVICES = ("gateway", "ingest", "detect_track", "pose", "matcher", "render")


def environment(**variables: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("KINEMESH_")}
    return {**clean, **variables}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("KINEMESH_"):
            monkeypatch.delenv(name)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    written = capsys.readouterr()
    assert written.out == ""
    return written.err


def test_nothing_set_gives_the_defaults() -> None:
    assert load(ServiceSettings) == ServiceSettings()


def test_variables_reach_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMESH_GRPC__PORT", "50051")
    monkeypatch.setenv("KINEMESH_DRAIN_S", "7.5")
    settings = load(ServiceSettings)
    assert (settings.grpc.port, settings.grpc.host, settings.drain_s) == (50051, "127.0.0.1", 7.5)


def test_settings_are_frozen() -> None:
    settings = ServiceSettings()
    for target, name in ((settings, "drain_s"), (settings.grpc, "port")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, name, 1)


def test_groups_refuse_names_that_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        GrpcSettings.model_validate({"prot": 1})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KINEMESH_GRPC__PORT", SECRET),
        ("KINEMESH_GRPC__PORT", "70000"),
        ("KINEMESH_GRPC__PROT", SECRET),
        ("KINEMESH_LOG__LEVEL", SECRET),
        ("KINEMESH_DRAIN_S", "-1"),
        ("KINEMESH_NATS__URL", f"nats://ada:{SECRET}@broker:4222"),
        ("KINEMESH_NATS__REPLICAS", SECRET),
        ("KINEMESH_NATS", SECRET),
        ("KINEMESH_NATS", '{"url": 3}'),
        ("KINEMESH_GRPC__HOST", "0.0.0.0"),
        ("KINEMESH_GRPC__HOST", "service.example"),
        ("KINEMESH_AUTH__SECRET", "too-short-a-secret"),
        ("KINEMESH_AUTH__PREVIOUS_SECRET", "0123456789abcdef0123456789abcdef"),
        ("KINEMESH_TLS__KEY_FILE", "/somewhere"),
        ("KINEMESH_NATS__CERT_FILE", "/somewhere"),
        ("KINEMESH_SECRETS_DIR", "/nowhere-at-all"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    said = complaint(capsys)
    assert said.startswith(variable.partition("__")[0] if "FILE" in variable else variable)
    assert len(said.splitlines()) == 1
    assert value not in said


def test_a_listener_that_others_reach_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMESH_GRPC__HOST", "0.0.0.0")
    monkeypatch.setenv("KINEMESH_AUTH__SECRET", "0123456789abcdef0123456789abcdef")
    assert load(ServiceSettings).grpc.host == "0.0.0.0"


def test_secrets_come_from_files_too_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # As Kubernetes mounts them: links to a hidden folder that is replaced as a whole.
    hidden = tmp_path / "..2026"
    hidden.mkdir()
    (tmp_path / "..data").symlink_to(hidden)
    for name, value in {
        "KINEMESH_NATS__PASSWORD": SECRET,
        "KINEMESH_GRPC__PORT": "7",
        "KINEMESH_S3__BUCKET": "x",
    }.items():
        (hidden / name).write_text(value + "\n")
        (tmp_path / name).symlink_to(Path("..data") / name)
    monkeypatch.setenv("KINEMESH_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("KINEMESH_GRPC__PORT", "8")
    settings = load(ServiceSettings)
    assert (settings.nats.password.get_secret_value(), settings.grpc.port) == (SECRET, 8)


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KINEMESH_GRPC__PORT", "x")
    monkeypatch.setenv("KINEMESH_DRAIN_S", "y")
    assert {line.partition(":")[0] for line in complaint(capsys).splitlines()} == {
        "KINEMESH_GRPC__PORT",
        "KINEMESH_DRAIN_S",
    }


def test_a_secret_shows_nowhere() -> None:
    settings = NatsSettings(password=SecretStr(SECRET))
    whole: BaseModel = ServiceSettings(nats=settings)
    for shown in (repr(settings), str(whole), repr(whole), whole.model_dump_json(), str(whole.model_dump())):
        assert SECRET not in shown
    assert settings.password.get_secret_value() == SECRET
    with pytest.raises(ValidationError) as refused:
        ServiceSettings.model_validate({"nats": {"password": SECRET, "replicas": SECRET}})
    assert SECRET not in str(refused.value)


def test_every_service_prints_its_settings() -> None:
    secrets = {
        "KINEMESH_NATS__PASSWORD": SECRET,
        "KINEMESH_S3__SECRET_KEY": SECRET,
        "KINEMESH_DATABASE__URL": f"postgresql+psycopg://ada:{SECRET}@db/kinemesh",
    }
    # All at once, because starting Python is what takes the time. Groups that a service lacks are not its business.
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"kinemesh_{name}", "--check-config"],
            env=environment(**secrets, KINEMESH_GRPC__PORT="50051"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in SERVICES
    }
    for name, process in processes.items():
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, ""), name
        assert json.loads(out)["grpc"]["port"] == 50051, name
        assert SECRET not in out, name


def test_a_service_with_a_bad_setting_ends_with_status_2() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "kinemesh_matcher"],
        env=environment(KINEMESH_NATS__TIMEOUT_S=SECRET),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("KINEMESH_NATS__TIMEOUT_S: ")
    assert SECRET not in ended.stderr
