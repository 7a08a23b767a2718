"""A row of values says what the service's own code says, and a further row is a further service."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import chart
import pytest
import yaml

from kinemesh.bus.topology import TASKS, stage_consumer
from kinemesh.embedded.environment import ASKS, SERVICES
from kinemesh.memory import ALLOCATION
from kinemesh.settings import ServiceSettings
from kinemesh_ingest.domain.pipelines import PIPELINES

VALUES: dict[str, Any] = yaml.safe_load((chart.CHART / "values.yaml").read_text())
ROWS: dict[str, dict[str, Any]] = VALUES["services"]
STAND_INS = {"KINEMESH_DATABASE__URL": "postgresql+psycopg://kinemesh:p@host:5432/kinemesh"}


def settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"kinemesh_{service}.settings")
    kinds = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, ServiceSettings))
    return next(kind for kind in kinds if kind is not ServiceSettings)


def known_variables(service: str) -> set[str]:
    names = set()
    for field, info in settings_of(service).model_fields.items():
        groups = getattr(info.annotation, "model_fields", None)
        names |= {f"{field}__{inner}" for inner in groups} if groups else {field}
    return {f"KINEMESH_{name.upper()}" for name in names}


def told(documents: tuple[chart.Document, ...] | list[chart.Document], name: str) -> dict[str, str]:
    """The environment of a workload's container; what comes from a Secret is some text."""
    container = next(pod["spec"]["containers"][0] for found, pod in chart.pods(documents) if found == name)
    return {
        entry["name"]: entry["value"] if "valueFrom" not in entry else STAND_INS.get(entry["name"], "s" * 40)
        for entry in container["env"]
    }


def test_there_is_a_row_for_every_service() -> None:
    assert sorted(ROWS) == sorted(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_row_says_what_the_code_says(service: str) -> None:
    row = ROWS[service]
    assert sorted(row["calls"]) == sorted(ASKS.get(service, ()))
    fields = settings_of(service).model_fields
    assert set(row["uses"]) == {name for name in ("nats", "s3", "triton", "database") if name in fields}
    stages = {stage.name for pipeline in PIPELINES.values() for stage in pipeline.stages if stage.service == service}
    assert set(row["stages"]) == stages
    app = Path(importlib.import_module(f"kinemesh_{service}.app").__file__ or "").read_text()
    served = set(re.findall(r"add_(\w+?)Servicer_to_server", app))
    protos = (chart.ROOT / "protos/kinemesh").glob("*/v1/*.proto")
    packages = {
        name: path.parents[1].name for path in protos for name in re.findall(r"^service (\w+)", path.read_text(), re.M)
    }
    assert set(row["exposes"]) == {f"kinemesh.{packages[name]}.v1.{name}" for name in served}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_what_it_is_told(
    service: str, documents: tuple[chart.Document, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = told(documents, f"Deployment kinemesh-{service.replace('_', '-')}")
    ours = {name for name in environment if name.startswith("KINEMESH_")}
    assert ours - known_variables(service) == set()
    assert ALLOCATION.items() <= environment.items()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = settings_of(service)()
    assert (settings.grpc.host, settings.grpc.port, settings.metrics.port) == ("0.0.0.0", 50051, 9464)
    assert settings.auth.secret.get_secret_value() == "s" * 40
    assert settings.nats.url.endswith(":4222")


@pytest.mark.parametrize("job", ["migrate", "topology"])
def test_a_job_runs_a_program_that_there_is_and_takes_what_it_is_told(
    job: str, documents: tuple[chart.Document, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = next(pod["spec"] for name, pod in chart.pods(documents) if name == f"Job kinemesh-{job}")
    command = spec["containers"][0]["command"]
    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(command[2]) is not None
    environment = told(documents, f"Job kinemesh-{job}")
    assert {name for name in environment if name.startswith("KINEMESH_")} <= known_variables("ingest")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings_of("ingest")().start_s == 120


def test_jobs_come_after_the_servers_that_the_chart_brings_and_before_all_else() -> None:
    def hooks(example: str) -> dict[str, str]:
        return {
            document["metadata"]["name"]: document["metadata"]["annotations"]["helm.sh/hook"]
            for document in chart.example(example)
            if document["kind"] == "Job"
        }

    before, after = "pre-install,pre-upgrade", "post-install,pre-upgrade"
    assert hooks("laptop") == {"kinemesh-migrate": after, "kinemesh-topology": after}
    assert hooks("aws") == {"kinemesh-migrate": before, "kinemesh-topology": after}
    assert hooks("gpu-cluster") == {"kinemesh-migrate": before, "kinemesh-topology": before}


def test_workers_are_as_many_as_the_service_with_most_slots_may_have() -> None:
    workers = {
        name: told(chart.example(name), "Deployment kinemesh-ingest")["KINEMESH_CONDUCTOR__WORKERS"]
        for name in chart.examples()
    }
    # Two slots a pod; as many pods as autoscaling may start.
    assert workers == {"laptop": "2", "small-cluster": "16", "gpu-cluster": "32", "aws": "16"}


def test_streams_are_kept_on_as_many_servers_as_there_are() -> None:
    copies = {
        name: told(chart.example(name), "Job kinemesh-topology")["KINEMESH_NATS__REPLICAS"] for name in chart.examples()
    }
    assert copies == {"laptop": "1", "small-cluster": "3", "gpu-cluster": "3", "aws": "3"}


def test_scaling_follows_the_consumers_that_there_are() -> None:
    seen = set()
    for document in chart.example("small-cluster"):
        if document["kind"] == "ScaledObject":
            for trigger in document["spec"]["triggers"]:
                if trigger["type"] == "nats-jetstream":
                    seen.add(trigger["name"])
                    assert trigger["metadata"]["stream"] == TASKS
                    assert trigger["metadata"]["consumer"] == stage_consumer(trigger["name"]).durable
    assert seen == {stage.name for pipeline in PIPELINES.values() for stage in pipeline.stages}


def test_scaled_workloads_leave_their_number_to_the_scaler(documents: tuple[chart.Document, ...]) -> None:
    scalers = {
        document["spec"]["scaleTargetRef"]["name"]: document["spec"]
        for document in documents
        if document["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")
    }
    for document in documents:
        if document["kind"] == "Deployment":
            name = document["metadata"]["name"]
            assert ("replicas" in document["spec"]) == (name not in scalers), name


def test_a_budget_is_for_pods_that_there_are_and_never_blocks(documents: tuple[chart.Document, ...]) -> None:
    labels = [pod["metadata"]["labels"] for name, pod in chart.pods(documents) if not name.startswith("Job")]
    budgets = [document["spec"] for document in documents if document["kind"] == "PodDisruptionBudget"]
    for budget in budgets:
        assert budget["maxUnavailable"] == 1
        assert "minAvailable" not in budget
        chosen = [found for found in labels if budget["selector"]["matchLabels"].items() <= found.items()]
        assert len(chosen) == 1
    assert len(budgets) == len(labels)


def test_what_services_and_monitors_select_is_there(documents: tuple[chart.Document, ...]) -> None:
    running = [
        (
            pod["metadata"]["labels"],
            {port["name"] for box in pod["spec"]["containers"] for port in box.get("ports", ())},
        )
        for _, pod in chart.pods(documents)
    ]
    services = [document for document in documents if document["kind"] == "Service"]
    for service in services:
        chosen = [ports for labels, ports in running if service["spec"]["selector"].items() <= labels.items()]
        assert len(chosen) == 1, service["metadata"]["name"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= chosen[0]
    for monitor in (document for document in documents if document["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        ports = {port["name"] for found in services if wanted <= found["metadata"]["labels"].items()
                 for port in found["spec"]["ports"]}  # fmt: skip
        assert monitor["spec"]["endpoints"][0]["port"] in ports


def test_ingresses_lead_to_ports_that_services_have(documents: tuple[chart.Document, ...]) -> None:
    ports = {
        (document["metadata"]["name"], port["name"])
        for document in documents
        if document["kind"] == "Service"
        for port in document["spec"]["ports"]
    }
    for ingress in (document for document in documents if document["kind"] == "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                assert (backend["name"], backend["port"]["name"]) in ports


def test_a_seventh_service_is_one_row(tmp_path: Path) -> None:
    values = tmp_path / "seventh.yaml"
    row = {
        "calls": ["ingest"],
        "uses": ["nats", "s3"],
        "stages": ["caption"],
        "exposes": ["kinemesh.caption.v1.CaptionService"],
    }
    values.write_text(yaml.safe_dump({"services": {"caption_scenes": row}, "autoscaling": {"mode": "keda"}}))
    documents = chart.render("--values", str(values))
    mine = [
        document
        for document in documents
        if document["metadata"]["labels"]["app.kubernetes.io/component"] == "caption-scenes"
    ]
    kinds = {document["kind"] for document in mine}
    assert kinds == {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject", "Service", "ServiceAccount"}
    deployment = next(document for document in mine if document["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "kinemesh-caption-scenes:0.1.0"
    reached = {
        peer["podSelector"]["matchExpressions"][0]["values"][0]
        for document in mine if document["kind"] == "NetworkPolicy"
        for rule in document["spec"]["egress"] for peer in rule["to"] if "podSelector" in peer
    }  # fmt: skip
    assert reached == {"ingest", "nats", "storage"}


def test_a_service_that_is_off_leaves_nothing() -> None:
    documents = chart.render("--set", "services.matcher.enabled=false", "--set", "services.gateway.calls={ingest}")
    assert "matcher" not in {document["metadata"]["labels"]["app.kubernetes.io/component"] for document in documents}


def test_a_row_wins_over_the_defaults_even_with_nothing() -> None:
    documents = chart.render(
        "--set", "services.pose.podDisruptionBudget.enabled=false", "--set", "services.pose.replicas=0"
    )
    mine = {
        document["kind"]: document
        for document in documents
        if document["metadata"]["labels"]["app.kubernetes.io/component"] == "pose"
    }
    assert "PodDisruptionBudget" not in mine
    assert mine["Deployment"]["spec"]["replicas"] == 0


def test_helm_is_the_version_that_the_makefile_names() -> None:
    version = re.search(r"HELM_VERSION := ([\d.]+)", (chart.ROOT / "Makefile").read_text())
    assert version is not None
    said = subprocess.run([str(chart.helm()), "version"], check=True, capture_output=True, text=True, timeout=60)
    assert f"v{version[1]}" in said.stdout
