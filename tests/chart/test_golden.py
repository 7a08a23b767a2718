"""What the examples are rendered to changes only when it is meant to."""

from __future__ import annotations

import difflib
import json

import chart
import yaml


def test_an_example_renders_to_what_is_recorded(example: str, documents: tuple[chart.Document, ...]) -> None:
    recorded = chart.GOLDEN / f"{example}.yaml"
    assert recorded.is_file(), f"{recorded} is missing: run `make chart-golden`"
    was, now = recorded.read_text(), chart.golden_text(documents)
    changes = "".join(difflib.unified_diff(was.splitlines(True), now.splitlines(True), "recorded", "rendered now", n=2))
    assert was == now, f"{changes}\nIf this is meant, run `make chart-golden` and commit tests/chart/golden."


def test_nothing_is_recorded_that_no_example_renders() -> None:
    assert sorted(path.stem for path in chart.GOLDEN.glob("*.yaml")) == list(chart.examples())
    assert set(chart.examples()) == {"aws", "gpu-cluster", "laptop", "small-cluster"}


def test_rendering_again_gives_the_same() -> None:
    again = chart.render("--values", str(chart.EXAMPLES / "small-cluster.yaml"))
    assert chart.golden_text(again) == chart.golden_text(chart.example("small-cluster"))


def test_secrets_are_made_only_where_none_is_named_and_are_never_recorded() -> None:
    made = {name: _secrets(name) for name in chart.examples()}
    assert {name: sorted(found) for name, found in made.items()} == {
        "aws": ["kinemesh-nats"],
        "gpu-cluster": [],
        "laptop": ["kinemesh-auth", "kinemesh-nats", "kinemesh-postgres", "kinemesh-storage"],
        "small-cluster": ["kinemesh-nats", "kinemesh-postgres", "kinemesh-storage"],
    }
    for name, secrets in made.items():
        recorded = (chart.GOLDEN / f"{name}.yaml").read_text()
        for secret in secrets.values():
            assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
            assert all(len(value) >= 16 and value not in recorded for value in secret["data"].values())


def _secrets(name: str) -> dict[str, chart.Document]:
    return {doc["metadata"]["name"]: doc for doc in chart.example(name) if doc["kind"] == "Secret"}


def test_dashboards_and_alerts_are_the_files() -> None:
    documents = chart.example("small-cluster")
    boards = {
        file: json.loads(text)
        for document in documents
        if document["kind"] == "ConfigMap" and document["metadata"]["labels"].get("grafana_dashboard") == "1"
        for file, text in document["data"].items()
    }
    files = {path.name: json.loads(path.read_text()) for path in (chart.CHART / "dashboards").glob("*.json")}
    assert boards == files
    assert len(files) >= 5
    rules = [document["spec"] for document in documents if document["kind"] == "PrometheusRule"]
    assert rules == [yaml.safe_load(path.read_text()) for path in sorted((chart.CHART / "alerts").glob("*.yaml"))]
    assert rules[0]["groups"]
