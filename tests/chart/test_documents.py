"""The guide speaks of values, files and commands that there are."""

from __future__ import annotations

import re
from typing import Any

import chart
import yaml

GUIDE = (chart.ROOT / "docs/deployment-kubernetes.md").read_text()
VALUES: dict[str, Any] = yaml.safe_load((chart.CHART / "values.yaml").read_text())


def test_every_group_of_values_is_in_the_table() -> None:
    table = GUIDE.split("| group | what |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`(?=[^|]*\|)", table)) - {"latest"} == set(VALUES)


def test_every_value_that_the_guide_names_exists() -> None:
    groups = "|".join(VALUES)
    named = set(re.findall(rf"`((?:{groups})\.[A-Za-z.]+)", GUIDE))
    named -= {"nats.creds", "tls.crt", "tls.key"}  # files
    assert len(named) > 20
    for path in sorted(named):
        found: Any = VALUES
        for part in path.split("."):
            assert isinstance(found, dict), path
            assert part in found, path
            found = found[part]


def test_values_in_the_guide_are_taken() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    file = chart.EXAMPLES / "laptop.yaml"
    arguments = ["--values", str(file)]
    for service, row in yaml.safe_load(block)["services"].items():
        for variable, value in {**row.get("env", {}), **row.get("slots", {})}.items():
            group = "env" if variable in row.get("env", {}) else "slots"
            arguments += ["--set", f"services.{service}.{group}.{variable}={value}"]
    told = {
        entry["name"]: entry.get("value")
        for _, pod in chart.pods(chart.render(*arguments))
        for entry in pod["spec"]["containers"][0].get("env", ())
    }
    assert told["KINEMESH_UPLOAD__MAX_SIZE_MB"] == "20480"
    assert told["KINEMESH_SLOTS__POSE"] == "4"
    assert told["KINEMESH_CONDUCTOR__WORKERS"] == "4"


def test_every_example_is_listed_and_says_how_it_is_installed() -> None:
    for name in chart.examples():
        assert f"[{name}.yaml](../k8s/examples/{name}.yaml)" in GUIDE
        text = (chart.EXAMPLES / f"{name}.yaml").read_text()
        assert "helm install kinemesh k8s/kinemesh --namespace kinemesh" in text
        assert f"--values k8s/examples/{name}.yaml" in text


def test_keys_of_secrets_are_those_that_pods_ask_for() -> None:
    table = GUIDE.split("| value | keys | if none is named |")[1].split("\n\n")[0]
    documents = [document for name in chart.examples() for document in chart.example(name)]
    asked = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for _, pod in chart.pods(documents)
        for container in chart.containers(pod["spec"])
        for entry in container.get("env", ())
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    assert asked == {"secret", "user", "password", "access_key", "secret_key", "url"}
    assert all(f"`{key}`" in table for key in asked)
