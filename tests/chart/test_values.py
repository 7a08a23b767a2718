"""Values that do not fit end an install with a sentence, not a mesh that does not run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import chart
import pytest
import yaml

SCHEMA: dict[str, Any] = json.loads((chart.CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((chart.CHART / "values.yaml").read_text())
EXTERNAL = "objectStorage.endpoint=s3.example.com"

REFUSED = [
    (["replicaCount=3"], "Additional property replicaCount is not allowed"),
    (["services.pose.replica=3"], "services.pose: Additional property replica is not allowed"),
    (["services.pose.replicas=lots"], "services.pose.replicas: Invalid type. Expected: integer, given: string"),
    (["services.pose.replicas=-1"], "services.pose.replicas: Must be greater than or equal to 0"),
    (["services.pose.uses={nats,mongodb}"], "services.pose.uses.1: services.pose.uses.1 must be one of"),
    (["services.pose.calls={billing}"], "services.pose.calls: there is no service billing"),
    (["services.pose.resources.requests.memory=lots"], "services.pose.resources.requests.memory: Does not match"),
    (["services.pose.env.log_level=DEBUG"], 'Property name of "log_level" does not match'),
    (["services.Pose-2.replicas=1"], 'Property name of "Pose-2" does not match'),
    (["services.caption.replicas=1"], "services.caption: calls is required"),
    (["services.pose.autoscaling.minReplicas=9"], "services.pose.autoscaling: minReplicas is more than maxReplicas"),
    (["services.pose.podDisruptionBudget.maxUnavailable=0"], "maxUnavailable: Must be greater than or equal to 1"),
    (["defaults.drainSeconds=3000"], "defaults.drainSeconds: Must be less than or equal to 300"),
    (["defaults.scratchSize=20"], "defaults.scratchSize: Invalid type. Expected: string, given: integer"),
    (["services.matcher.enabled=false"], "services.gateway.calls: there is no service matcher, or it is not enabled"),
    (["image.tag=latest"], "image.tag: latest does not say what runs"),
    (["postgres.image=postgres"], "postgres.image: Does not match pattern"),
    (["triton.image=example.com/triton:latest"], "triton.image: latest does not say what runs"),
    (["logLevel=LOUD"], "logLevel: logLevel must be one of the following"),
    (["autoscaling.mode=magic"], "autoscaling.mode: autoscaling.mode must be one of"),
    (["nats.replicas=2"], "nats.replicas: nats.replicas must be one of the following: 1, 3, 5"),
    (["nats.streamReplicas=3"], "nats.streamReplicas: more copies than nats.replicas has servers"),
    (["nats.bundled=false"], "nats.url: needed when nats.bundled is false"),
    (["nats.bundled=false", "nats.url=nats://me:secret@host:4222"], "nats.url: Does not match pattern"),
    (
        ["nats.bundled=false", "nats.url=nats://host:4222", "nats.credentialsFile=true"],
        "nats.existingSecret: needed when nats.credentialsFile is true",
    ),
    (
        ["nats.bundled=false", "nats.url=nats://host:4222", "autoscaling.mode=keda"],
        "nats.monitoringEndpoint: needed when autoscaling.mode is keda",
    ),
    (["objectStorage.bundled=false"], "objectStorage.endpoint: needed when objectStorage.bundled is false"),
    (["objectStorage.bundled=false", EXTERNAL], "objectStorage.existingSecret: needed"),
    (["objectStorage.endpoint=https://s3.example.com/"], "objectStorage.endpoint: Does not match pattern"),
    (["objectStorage.bucket=My_Bucket"], "objectStorage.bucket: Does not match pattern"),
    (["objectStorage.service.nodePort=80"], "objectStorage.service.nodePort: Must be greater than or equal to 30000"),
    (["postgres.bundled=false"], "postgres.existingSecret: needed when postgres.bundled is false"),
    (["triton.bundled=false"], "triton.endpoint: needed when triton.bundled is false"),
    (["triton.accelerator=tpu"], "triton.accelerator: triton.accelerator must be one of"),
    (["triton.autoscaling.enabled=true"], "triton.autoscaling.enabled: needs autoscaling.mode keda"),
    (["triton.autoscaling.enabled=true", "autoscaling.mode=keda"], "triton.autoscaling.prometheus: needed"),
    (["tls.enabled=true"], "tls.existingSecret: needed when tls.enabled is true"),
    (["ingress.enabled=true"], "ingress.hosts: needed when ingress.enabled is true"),
    (["ingress.enabled=true", "ingress.hosts={a.example.com}"], "networkPolicy.ingressFrom: needed"),
    (["storageIngress.enabled=true", "objectStorage.bundled=false", EXTERNAL, "objectStorage.iam=true"], "is off"),
    (["networkPolicy.enabled=yes"], "networkPolicy.enabled: Invalid type. Expected: boolean, given: string"),
    (["metrics.serviceMonitor.interval=often"], "metrics.serviceMonitor.interval: Does not match pattern"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=[",".join(values) for values, _ in REFUSED])
def test_what_does_not_fit_is_refused_by_name(values: list[str], sentence: str) -> None:
    with pytest.raises(chart.ChartError) as refused:
        chart.render(*(part for value in values for part in ("--set", value)))
    assert sentence in str(refused.value)


def _paths(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, set[str], set[str]]]:
    """Objects of the schema that take no other names: their path, the names they take, and those that values has."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if schema.get("additionalProperties") is False:
        yield path, set(schema["properties"]), set(values)
        for name, inner in schema["properties"].items():
            if isinstance(values.get(name), dict):
                yield from _paths(values[name], inner, f"{path}.{name}".strip("."))


def test_the_schema_and_the_values_know_the_same_names() -> None:
    seen = list(_paths(VALUES, SCHEMA))
    assert len(seen) > 30
    for path, known, given in seen:
        # What other charts hand down, and what only some rows or some clusters need, has no default here.
        unset = {"global"} if not path else {"requests", "limits"} if path.endswith("esources") else set()
        assert known - given <= unset, path
        assert given <= known, path


def test_every_object_refuses_names_that_it_does_not_know() -> None:
    def open_objects(schema: Any, path: str) -> Iterator[str]:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("additionalProperties") is not False:
                yield path
            for name, inner in schema.items():
                yield from open_objects(inner, f"{path}/{name}")

    assert list(open_objects(SCHEMA, "")) == []


def test_values_tell_what_they_are_for() -> None:
    """A group begins with a sentence, so that who reads the file need not look elsewhere."""
    lines = (chart.CHART / "values.yaml").read_text().splitlines()
    silent = {
        line.partition(":")[0]
        for above, line in itertools.pairwise(lines)
        if line.endswith(":") and not line.startswith((" ", "#")) and not above.startswith("#")
    }
    assert silent <= {"tracing", "jobs", "gateway", "metrics", "autoscaling"}
