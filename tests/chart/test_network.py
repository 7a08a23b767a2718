"""Who may speak to whom in the cluster is what the services' own code says, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import chart
import pytest

from kinemesh.embedded.environment import ASKS, SERVICES
from kinemesh.settings import ServiceSettings

Edge = tuple[str, str, int]
PORTS = {"nats": 4222, "s3": 8333, "triton": 8001, "database": 5432}
KEEPERS = {"nats": "nats", "s3": "storage", "triton": "triton", "database": "postgres"}


def _expected() -> set[Edge]:
    """Edges by component and port, from what services read and whom they call."""
    edges: set[Edge] = {(_kebab(service), _kebab(other), 50051) for service, others in ASKS.items() for other in others}
    for service in SERVICES:
        module = importlib.import_module(f"kinemesh_{service}.settings")
        kinds = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, ServiceSettings))
        settings = next(kind for kind in kinds if kind is not ServiceSettings)
        for field in ("nats", "s3", "triton", "database"):
            if field in settings.model_fields:
                edges.add((_kebab(service), KEEPERS[field], PORTS[field]))
    return edges | {("migrate", "postgres", 5432), ("topology", "nats", 4222)}


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _policies(documents: tuple[chart.Document, ...] | list[chart.Document]) -> dict[str, chart.Document]:
    return {
        document["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component", ""): document["spec"]
        for document in documents
        if document["kind"] == "NetworkPolicy"
    }


def _components(peer: dict[str, Any]) -> Iterator[str]:
    selector = peer.get("podSelector")
    if selector is not None:
        assert selector["matchLabels"]["app.kubernetes.io/instance"] == "kinemesh"
        assert "namespaceSelector" not in peer
        yield from selector["matchExpressions"][0]["values"]


def _edges(policies: dict[str, chart.Document], direction: str) -> set[Edge]:
    """Edges within the release that policies of one direction allow."""
    found: set[Edge] = set()
    for component, spec in policies.items():
        for rule in spec.get(direction, ()):
            for peer in rule.get("from" if direction == "ingress" else "to", ()):
                for other in _components(peer):
                    for port in rule["ports"]:
                        edge = (other, component) if direction == "ingress" else (component, other)
                        found.add((*edge, port["port"]))
    return found


def test_edges_are_those_of_the_code() -> None:
    policies = _policies(chart.example("laptop"))
    assert _edges(policies, "egress") == _expected()
    assert _edges(policies, "ingress") == _expected()


def test_both_ends_agree_in_every_example(documents: tuple[chart.Document, ...]) -> None:
    policies = _policies(documents)
    assert _edges(policies, "egress") == _edges(policies, "ingress")
    beside = {("nats", "nats", 6222)}
    assert _edges(policies, "egress") - beside <= _expected()


def test_all_pods_are_denied_everything_first(documents: tuple[chart.Document, ...]) -> None:
    policies = _policies(documents)
    assert policies[""]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(policies[""])
    everyone = policies[""]["podSelector"]["matchLabels"]
    for name, pod in chart.pods(documents):
        labels = pod["metadata"]["labels"]
        assert everyone.items() <= labels.items(), name
        assert labels["app.kubernetes.io/component"] in policies, name


def test_an_open_rule_is_one_that_was_asked_for() -> None:
    """Nothing is open to or from anywhere unless values say so; DNS and downloads are."""
    policies = _policies(chart.render("--set", "networkPolicy.downloads=false"))
    for component, spec in policies.items():
        for rule in spec.get("ingress", ()):
            assert rule["from"], component
            assert all("podSelector" in peer for peer in rule["from"]), component
        for rule in spec.get("egress", ()):
            if {port["port"] for port in rule["ports"]} != {53}:
                assert all("podSelector" in peer for peer in rule["to"]), component


def test_downloads_leave_private_networks_alone() -> None:
    policies = _policies(chart.example("laptop"))
    reaching = {}
    for component, spec in policies.items():
        for rule in spec.get("egress", ()):
            for peer in rule.get("to", ()):
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    reaching[component] = (peer["ipBlock"]["except"], rule["ports"])
    assert set(reaching) == {"ingest", "triton"}
    for exceptions, ports in reaching.values():
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(exceptions)
        assert ports == [{"port": 443}]


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ("laptop", {("gateway", 8080), ("storage", 8333)}),
        (
            "small-cluster",
            {("gateway", 8080), ("storage", 8333)}
            | {(name, 50051) for name in ("detect-track", "ingest", "matcher", "pose", "render")},
        ),
        ("gpu-cluster", {("gateway", 8080)}),
    ],
)
def test_what_outsiders_reach(example: str, expected: set[tuple[str, int]]) -> None:
    monitoring = {9464, 8222, 8002}
    reached = {
        (component, port["port"])
        for component, spec in _policies(chart.example(example)).items()
        for rule in spec.get("ingress", ())
        for peer in rule["from"]
        for port in rule["ports"]
        if "podSelector" not in peer and port["port"] not in monitoring
    }
    assert reached == expected


def test_external_parts_are_reached_at_their_own_ports() -> None:
    egress = _policies(chart.example("gpu-cluster"))["ingest"]["egress"]
    outside = {
        port["port"] for rule in egress for peer in rule["to"] for port in rule["ports"]
        if peer.get("ipBlock", {}).get("cidr") == "10.20.0.0/16"
    }  # fmt: skip
    assert outside == {4222, 443, 5432, 4317}
    egress = _policies(chart.example("gpu-cluster"))["triton"]["egress"]
    assert {"port": 4318} in [port for rule in egress for port in rule["ports"]]


def test_policies_can_be_left_to_others() -> None:
    documents = chart.render("--set", "networkPolicy.enabled=false")
    assert not _policies(documents)
