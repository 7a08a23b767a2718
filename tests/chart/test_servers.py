"""What the bundled servers are told is what their programs take."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import chart
import pytest

from kinemesh.embedded.programs import program


def _expanded(container: chart.Document, secrets: dict[str, str]) -> dict[str, str]:
    """A container's environment as the kubelet makes it: ``$(NAME)`` is what came before."""
    environment: dict[str, str] = {}
    for entry in container["env"]:
        if "secretKeyRef" in entry.get("valueFrom", {}):
            environment[entry["name"]] = secrets[entry["valueFrom"]["secretKeyRef"]["key"]]
        elif "fieldRef" in entry.get("valueFrom", {}):
            environment[entry["name"]] = "kinemesh-nats-0"
        else:
            environment[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], entry["value"])
    return environment


@pytest.mark.parametrize("example", ["laptop", "small-cluster"])
@pytest.mark.parametrize("password", ["plain", "12e4", "0x12", "true"])
def test_the_broker_takes_its_configuration_whatever_the_password(tmp_path: Path, example: str, password: str) -> None:
    documents = chart.example(example)
    told = next(
        document["data"]["nats.conf"]
        for document in documents
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] == "kinemesh-nats"
    )
    container = next(
        pod["spec"]["containers"][0] for name, pod in chart.pods(documents) if name == "StatefulSet kinemesh-nats"
    )
    assert container["args"] == ["--config", "/etc/nats/nats.conf"]
    config = tmp_path / "nats.conf"
    config.write_text(told.replace("/data", str(tmp_path / "data")))
    environment = _expanded(container, {"user": "kinemesh", "password": password})
    done = subprocess.run(
        [program("nats-server"), "--config", str(config), "-t"],
        check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "is valid" in done.stderr + done.stdout


def test_three_brokers_know_one_another_by_name_and_password() -> None:
    pod = dict(chart.pods(chart.example("small-cluster")))["StatefulSet kinemesh-nats"]
    environment = _expanded(pod["spec"]["containers"][0], {"user": "me", "password": "pw"})
    routes = [value for name, value in environment.items() if name.startswith("NATS_ROUTE_")]
    assert routes == [f'"nats://me:pw@kinemesh-nats-{number}.kinemesh-nats-peers:6222"' for number in range(3)]


def test_storage_takes_its_options_and_opens_nothing_but_s3() -> None:
    pod = dict(chart.pods(chart.example("laptop")))["StatefulSet kinemesh-storage"]
    arguments = pod["spec"]["containers"][0]["args"]
    said = subprocess.run([program("weed"), "server", "-h"], check=False, capture_output=True, text=True, timeout=60)
    known = set(re.findall(r"^  -([\w.]+)", said.stdout + said.stderr, re.MULTILINE))
    ours = {argument.lstrip("-").partition("=")[0] for argument in arguments[arguments.index("server") + 1 :]}
    assert ours <= known
    assert {"-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(arguments)


@pytest.mark.parametrize("example", ["laptop", "gpu-cluster"])
def test_triton_takes_its_arguments(example: str) -> None:
    from kinemesh.testing.fixtures import triton_python

    pod = dict(chart.pods(chart.example(example)))["Deployment kinemesh-triton"]
    for container in chart.containers(pod["spec"]):
        assert container["command"] == ["python", "-m", "kinemesh_models"]
        # The parser alone: a program that would then begin to work is not wanted here.
        check = "import sys; from kinemesh_models.__main__ import _parser; _parser().parse_args(sys.argv[1:])"
        done = subprocess.run(
            [str(triton_python()), "-c", check, *container["args"]],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
