"""compose.yaml: valid, contained, and in words that the services know."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinemesh.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
NAMES = sorted(DOCUMENT["services"])
OURS = ("detect_track", "gateway", "ingest", "matcher", "pose", "render")
PROFILES = {"cpu", "nvidia", "amd", "mac", "tunnel", "observability", "tools"}
PUBLISHED = {"gateway": 8080, "s3": 8333, "prometheus": 9090, "grafana": 3000, "jaeger": 16686}


def test_it_follows_the_schema_of_compose() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    run = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout


def test_it_has_the_profiles_that_are_promised(compose: dict[str, Any]) -> None:
    assert {profile for row in compose["services"].values() for profile in row.get("profiles", ())} == PROFILES
    for accelerator in ("cpu", "nvidia", "amd", "mac"):
        models = [name for name, row in compose["services"].items() if accelerator in row.get("profiles", ())]
        assert len(models) == 1
        assert compose["services"][models[0]]["networks"]["mesh"]["aliases"] == ["triton"]


@pytest.mark.parametrize("name", NAMES)
def test_containers_can_do_little(compose: dict[str, Any], name: str) -> None:
    row = compose["services"][name]
    uid = str(row["user"]).split(":")[0]
    assert uid.isdigit()
    assert int(uid) > 0
    assert row["read_only"] is True
    assert row["cap_drop"] == ["ALL"]
    assert row["security_opt"] == ["no-new-privileges:true"]
    assert row["init"] is True
    assert row["pids_limit"]
    assert row["mem_limit"]
    assert row["logging"]["options"]["max-size"]
    assert row["restart"]
    assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & set(row)
    assert all("docker.sock" not in str(volume) for volume in row.get("volumes", ()))
    assert all(":size=" in mount for mount in row.get("tmpfs", ()))


@pytest.mark.parametrize("name", NAMES)
def test_health_is_asked_of_what_stays(compose: dict[str, Any], name: str) -> None:
    check = compose["services"][name]["healthcheck"]
    if name in ("migrate", "tools"):
        assert check == {"disable": True}
    else:
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "start_period", "retries"} <= set(check)


@pytest.mark.parametrize("name", NAMES)
def test_images_have_exact_versions(compose: dict[str, Any], name: str) -> None:
    image = compose["services"][name]["image"]
    assert re.search(r":v?\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image), image
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert not image.startswith("kinemesh-") or image.endswith(f":{version}")


def test_what_is_built_are_targets_of_the_dockerfile(compose: dict[str, Any], dockerfile: list[Any]) -> None:
    built = {row["image"]: row["build"] for row in compose["services"].values() if "build" in row}
    ours = {row["image"] for row in compose["services"].values() if row["image"].startswith("kinemesh-")}
    assert set(built) == ours
    arguments = {step.rest.partition("=")[0] for step in dockerfile if step.word == "ARG"}
    for build in built.values():
        assert build["target"] in {step.stage for step in dockerfile}
        assert set(build.get("args", ())) <= arguments
    assert {build["args"]["SERVICE"] for build in built.values() if "SERVICE" in build.get("args", ())} == set(OURS)


def test_nothing_is_published_but_by_name_and_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: row["ports"] for name, row in compose["services"].items() if row.get("ports")}
    assert set(published) == set(PUBLISHED)
    for name, ports in published.items():
        (port,) = ports
        host, _, inner = port.rsplit(":", 2)
        assert (host, int(inner)) == ("127.0.0.1", PUBLISHED[name])
    assert compose["networks"]["mesh"] == {"internal": True}
    inside = {name for name, row in compose["services"].items() if list(row.get("networks", ())) == ["mesh"]}
    assert inside >= {"nats", "postgres", "pose", "matcher", "render", "detect_track", "triton-cpu"}


def test_secrets_are_files_that_are_made_and_never_text(compose: dict[str, Any], tmp_path: Path) -> None:
    run = subprocess.run(
        [ROOT / "deploy/compose/make-secrets.sh", tmp_path], capture_output=True, text=True, timeout=60, check=True
    )
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    folder = {Path(row["file"]).parent for row in compose["secrets"].values()}
    assert folder == {Path("deploy/compose/secrets")}
    assert set(made) == {Path(row["file"]).name for row in compose["secrets"].values()} - {"tunnel_token"}
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", *(path / "any" for path in folder)], cwd=ROOT, timeout=60, check=False
    )
    assert ignored.returncode == 0
    assert not any(text in run.stdout for text in made.values())
    for name in (name for row in compose["services"].values() for name in row.get("secrets", ())):
        assert name in compose["secrets"]
    wordy = [
        variable
        for row in compose["services"].values()
        for variable in row.get("environment", {})
        if re.search(r"SECRET$|PASSWORD$|SECRET_KEY$|ACCESS_KEY$|TOKEN$", variable)
    ]
    assert wordy == []
    # Servers are told the same as their clients, and a second run changes nothing.
    assert made["KINEMESH_NATS__PASSWORD"] in made["nats.conf"]
    assert made["postgres_password"] in made["KINEMESH_DATABASE__URL"]
    (identity,) = json.loads(made["s3.json"])["identities"]
    keys = {"accessKey": made["KINEMESH_S3__ACCESS_KEY"], "secretKey": made["KINEMESH_S3__SECRET_KEY"]}
    assert identity["credentials"] == [keys]
    assert len(made["KINEMESH_AUTH__SECRET"]) == 64
    assert len({*made.values()}) == len(made)
    subprocess.run([ROOT / "deploy/compose/make-secrets.sh", tmp_path], timeout=60, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made
    assert tmp_path.stat().st_mode & 0o077 == 0


@pytest.fixture
def told(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> set[str]:
    """The names of the variables and secrets of a service, all set."""
    row = compose["services"][request.param]
    subprocess.run([ROOT / "deploy/compose/make-secrets.sh", tmp_path], timeout=60, check=True, capture_output=True)
    secrets = tmp_path / "mounted"
    secrets.mkdir()
    for name in row["secrets"]:
        (secrets / name).write_text((tmp_path / name).read_text())
    variables = {**row["environment"], "KINEMESH_SECRETS_DIR": str(secrets)}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value).lower() if isinstance(value, bool) else str(value))
    return {*variables, *row["secrets"]} - {"KINEMESH_SECRETS_DIR", "TMPDIR"}


def known(kind: Any, prefix: str = "KINEMESH_") -> set[str]:
    """The variables that a settings class has."""
    names: set[str] = set()
    for name, field in kind.model_fields.items():
        inner = field.annotation
        is_group = isinstance(inner, type) and hasattr(inner, "model_fields")
        names |= known(inner, f"{prefix}{name.upper()}__") if is_group else {f"{prefix}{name.upper()}"}
    return names


@pytest.mark.parametrize(("told", "service"), [(name, name) for name in OURS], indirect=["told"])
def test_services_understand_what_they_are_told(told: set[str], service: str) -> None:
    module = importlib.import_module(f"kinemesh_{service}.settings")
    (kind,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value is not ServiceSettings
    )
    assert told - known(kind) == set()
    settings: Any = kind()
    assert settings.grpc.port == 50051
    assert settings.nats.password.get_secret_value()
    assert settings.s3.secret_key.get_secret_value()
    assert settings.auth.secret.get_secret_value()


def test_env_example_names_what_compose_asks_for() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):-", text))
    assert re.findall(r"\$\{?\w+[^:\w]", re.sub(r"\$\{\w+:-[^}]*\}", "", text)) == []
    offered = set(re.findall(r"^(KINEMESH_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert offered <= asked
    documented = (ROOT / "docs/deployment.md").read_text()
    assert [name for name in asked - offered if name not in documented] == []


def test_models_are_made_on_the_volume_that_triton_reads(compose: dict[str, Any], dockerfile: list[Any]) -> None:
    """They are made beside the repository and moved in, so that the folder above it must be of the same volume."""
    told = [step.rest for step in dockerfile if step.stage == "ingest" and step.word == "ENV"]
    (repository,) = re.findall(r"KINEMESH_MODELS__REPOSITORY=(\S+)", " ".join(told))
    served = [row for name, row in compose["services"].items() if name.startswith("triton-")]
    assert len(served) == 3
    for row in (*served, compose["services"]["ingest"]):
        assert f"models:{Path(repository).parent}" in row["volumes"]
    commands = [row["command"] for row in served]
    commands += [json.loads(step.rest) for step in dockerfile if step.stage.startswith("triton") and step.word == "CMD"]
    assert all(f"--repository={repository}" in command for command in commands)


@pytest.mark.parametrize("name", NAMES)
def test_modules_that_are_run_exist(compose: dict[str, Any], name: str) -> None:
    row = compose["services"][name]
    for command in (row.get("entrypoint", []), row.get("command", []), row["healthcheck"].get("test", [])):
        for option, module in pairwise(command):
            if option == "-m" and module != "kinemesh_models":  # which has an environment of its own
                assert importlib.util.find_spec(module)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_mounted_are_there_and_stay_as_they_are(compose: dict[str, Any], name: str) -> None:
    for volume in compose["services"][name].get("volumes", ()):
        source, _, mounted = volume.rpartition(":") if volume.endswith(":ro") else (volume, "", "")
        if volume.startswith("."):
            assert mounted == "ro"
            assert (ROOT / source.split(":")[0]).exists()
        elif ":" in volume:
            assert volume.split(":")[0] in compose["volumes"]


def test_prometheus_asks_every_service_and_grafana_finds_its_dashboards(compose: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / "deploy/compose/prometheus.yaml").read_text())["scrape_configs"]
    asked = {job["dns_sd_configs"][0]["names"][0]: job for job in jobs}
    assert set(asked) == {*OURS, "triton"}
    assert {job["job_name"] for job in jobs} == {f"kinemesh-{name.replace('_', '-')}" for name in asked}
    (provider,) = yaml.safe_load((ROOT / "deploy/compose/grafana/dashboards/kinemesh.yaml").read_text())["providers"]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in compose["services"]["grafana"]["volumes"]}
    assert list((ROOT / mounts[provider["options"]["path"]]).glob("*.json"))
