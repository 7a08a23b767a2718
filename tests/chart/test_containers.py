"""What runs, runs with no right that it does not need, within bounds, and under watch."""

from __future__ import annotations

import re
from typing import Any

import chart
import pytest

Named = tuple[str, chart.Document, chart.Document]


@pytest.fixture(scope="session")
def running(documents: tuple[chart.Document, ...]) -> list[Named]:
    """Every container with the name of what it belongs to, and its pod's spec."""
    found = [
        (f"{name}/{container['name']}", container, pod["spec"])
        for name, pod in chart.pods(documents)
        for container in chart.containers(pod["spec"])
    ]
    assert len(found) >= 8
    return found


def test_nobody_is_root_and_nothing_is_written_to_the_image(running: list[Named]) -> None:
    for name, container, pod in running:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert min(security["runAsUser"], security["runAsGroup"], security["fsGroup"]) > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name


def test_pods_are_of_the_restricted_kind(documents: tuple[chart.Document, ...]) -> None:
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    for name, pod in chart.pods(documents):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for volume in spec.get("volumes", ()):
            assert len(set(volume) - {"name"} & allowed) == 1, (name, volume)
        for container in chart.containers(spec):
            assert all("hostPort" not in port for port in container.get("ports", ())), name


def test_what_is_mounted_is_there_and_there_is_a_place_for_temporary_files(running: list[Named]) -> None:
    claims = {"data"}  # those of StatefulSets
    for name, container, pod in running:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        mounts = container["volumeMounts"]
        assert {mount["name"] for mount in mounts} <= set(volumes) | claims, name
        paths = [mount["mountPath"] for mount in mounts]
        assert len(paths) == len(set(paths)), name
        writable = {mount["mountPath"] for mount in mounts if "emptyDir" in volumes.get(mount["name"], {})}
        told = {entry["name"]: entry.get("value") for entry in container.get("env", ())}
        if "nats" not in name:
            assert told.get("TMPDIR", "/tmp") in writable, name
        for volume in volumes.values():
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], (name, "without an end")


def test_everything_has_requests_and_a_limit_of_memory(running: list[Named]) -> None:
    for name, container, _ in running:
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), name
        assert _bytes(resources["requests"]["memory"]) <= _bytes(resources["limits"]["memory"]), name


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def test_everything_that_stays_is_probed(documents: tuple[chart.Document, ...]) -> None:
    for name, pod in chart.pods(documents):
        if name.startswith("Job"):
            assert pod["spec"]["restartPolicy"] == "Never"
            continue
        for container in pod["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name
            ports = {port["name"] for port in container["ports"]}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe: dict[str, Any] = container[kind]
                how = next(iter({"httpGet", "tcpSocket", "grpc", "exec"} & set(probe)))
                assert how in ("grpc", "exec") or probe[how]["port"] in ports, (name, kind)
            # What a service needs being away is no reason to kill it.
            assert not {"grpc", "exec"} & set(container["livenessProbe"]), name


def test_the_kubelet_asks_for_health_with_a_certificate_only_where_it_needs_one() -> None:
    def asked(example: str, part: str) -> set[str]:
        return next(
            set(pod["spec"]["containers"][0]["readinessProbe"])
            for name, pod in chart.pods(chart.example(example))
            if name == f"Deployment kinemesh-{part}"
        )

    assert "grpc" in asked("laptop", "pose")
    assert "exec" in asked("gpu-cluster", "pose")
    assert "httpGet" in asked("laptop", "gateway")


def test_a_pod_has_longer_to_end_than_its_work_in_hand(documents: tuple[chart.Document, ...]) -> None:
    seen = 0
    for name, pod in chart.pods(documents):
        told = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0].get("env", ())}
        if "KINEMESH_DRAIN_S" in told:
            seen += 1
            waits = re.search(r"sleep\((\d+)\)", str(pod["spec"]["containers"][0]["lifecycle"]))
            assert waits is not None
            # The service cancels what is left 3 s after its grace, and writes its last spans.
            least = int(told["KINEMESH_DRAIN_S"]) + int(waits[1]) + 10
            assert pod["spec"]["terminationGracePeriodSeconds"] >= least, name
    assert seen == 6


def test_images_say_what_runs(running: list[Named]) -> None:
    for name, container, _ in running:
        image = container["image"]
        assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", image), (name, image)
        assert not image.endswith(":latest"), name


def test_the_chart_names_no_registry_for_our_images() -> None:
    ours = {
        container["image"]
        for _, pod in chart.pods(chart.render())
        for container in chart.containers(pod["spec"])
        if "postgres" not in container["image"]
    }
    assert all(re.fullmatch(r"kinemesh-[a-z-]+:0\.1\.0", image) for image in ours), ours


def test_secrets_reach_pods_by_reference_only(running: list[Named]) -> None:
    secret = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|DATABASE__URL")
    for name, container, _ in running:
        for entry in container.get("env", ()):
            if secret.search(entry["name"]):
                told = entry.get("value", "$(by reference)")
                assert "$(" in told, (name, entry["name"])


def test_database_urls_come_whole_or_with_a_password_by_reference() -> None:
    told = [
        entry.get("value", "")
        for _, pod in chart.pods(chart.example("laptop"))
        for container in chart.containers(pod["spec"])
        for entry in container.get("env", ())
        if entry["name"] == "KINEMESH_DATABASE__URL"
    ]
    address = "kinemesh-postgres.kinemesh.svc.cluster.local:5432/kinemesh"
    assert told == [f"postgresql+psycopg://kinemesh:$(POSTGRES_PASSWORD)@{address}"] * 2
