"""Every document is what Kubernetes, or the operator that reads it, takes; a name it does not know is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chart
import jsonschema
import kubernetes_validate
import pytest

OLDEST, NEWEST = "1.27", "1.33"


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 1}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = _object(("name", "labels"), name={"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}, labels=_LABELS)
_SCALED = _object(
    ("scaleTargetRef", "minReplicaCount", "maxReplicaCount", "triggers"),
    scaleTargetRef=_object(("name",), name=_TEXT),
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    pollingInterval=_COUNT,
    cooldownPeriod={"type": "integer", "minimum": 0},
    fallback=_object(("failureThreshold", "replicas"), failureThreshold=_COUNT, replicas=_COUNT),
    triggers={
        "type": "array",
        "minItems": 1,
        "items": {
            "oneOf": [
                _object(
                    ("type", "name", "metadata"),
                    type={"const": "nats-jetstream"},
                    name=_TEXT,
                    # KEDA takes texts only, whatever they say.
                    metadata=_object(
                        ("natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold"),
                        natsServerMonitoringEndpoint={"type": "string", "pattern": r"^[^/\s]+:\d+$"},
                        account=_TEXT,
                        stream=_TEXT,
                        consumer=_TEXT,
                        lagThreshold={"type": "string", "pattern": r"^\d+$"},
                        activationLagThreshold={"type": "string", "pattern": r"^\d+$"},
                    ),
                ),
                _object(
                    ("type", "name", "metadata"),
                    type={"const": "prometheus"},
                    name=_TEXT,
                    metadata=_object(
                        ("serverAddress", "query", "threshold"),
                        serverAddress={"type": "string", "pattern": "^https?://"},
                        query=_TEXT,
                        threshold={"type": "string", "pattern": r"^\d+$"},
                    ),
                ),
            ]
        },
    },
)
_MONITOR = _object(
    ("selector", "endpoints"),
    selector=_object(("matchLabels",), matchLabels=_LABELS),
    endpoints={
        "type": "array",
        "minItems": 1,
        "items": _object(
            ("port",),
            port=_TEXT,
            interval={"type": "string", "pattern": r"^\d+(s|m)$"},
            relabelings={"type": "array", "items": _object(("targetLabel",), targetLabel=_TEXT, replacement=_TEXT)},
        ),
    },
)
_RULE = _object(
    ("expr", "labels", "annotations"),
    alert=_TEXT,
    record=_TEXT,
    expr={"type": ["string", "integer"]},
    **{"for": {"type": "string", "pattern": r"^\d+(s|m|h)$"}},
    labels=_LABELS,
    annotations=_LABELS,
)
_RULES = _object(
    ("groups",),
    groups={
        "type": "array",
        "minItems": 1,
        "items": _object(
            ("name", "rules"),
            name=_TEXT,
            interval=_TEXT,
            rules={"type": "array", "minItems": 1, "items": _RULE},
        ),
    },
)
_CERTIFICATE = _object(
    ("secretName", "dnsNames", "issuerRef", "usages"),
    secretName=_TEXT,
    duration=_TEXT,
    renewBefore=_TEXT,
    usages={"type": "array", "items": _TEXT},
    dnsNames={"type": "array", "minItems": 1, "items": _TEXT},
    issuerRef=_object(("name", "kind", "group"), name=_TEXT, kind=_TEXT, group=_TEXT),
)
OPERATORS = {
    ("keda.sh/v1alpha1", "ScaledObject"): _SCALED,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _RULES,
    ("cert-manager.io/v1", "Certificate"): _CERTIFICATE,
}
"""What is no part of Kubernetes: as much of its operator's schema as the chart uses."""


def _check(document: chart.Document, version: str) -> None:
    spec = OPERATORS.get((document["apiVersion"], document["kind"]))
    if spec is None:
        kubernetes_validate.validate(document, version, strict=True)
        return
    whole = _object(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion=_TEXT, kind=_TEXT, metadata=_METADATA, spec=spec
    )
    jsonschema.validate(document, whole)


def _wrong(documents: Sequence[chart.Document], version: str) -> list[str]:
    wrong = []
    for document in documents:
        try:
            _check(document, version)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            wrong.append(f"{document['kind']} {document['metadata']['name']}: {error.message}")
    return wrong


def test_every_document_is_valid(documents: tuple[chart.Document, ...]) -> None:
    assert _wrong(documents, NEWEST) == []


def test_the_oldest_version_takes_the_largest_example() -> None:
    one_of_each = {document["kind"]: document for document in chart.example("small-cluster")}
    assert _wrong(list(one_of_each.values()), OLDEST) == []


def test_a_wrong_document_is_seen() -> None:
    deployment = next(doc for doc in chart.example("laptop") if doc["kind"] == "Deployment")
    for wrong in ({"replica": 1}, {"replicas": "one"}):
        with pytest.raises(kubernetes_validate.ValidationError):
            _check({**deployment, "spec": {**deployment["spec"], **wrong}}, OLDEST)
    scaled = next(doc for doc in chart.example("aws") if doc["kind"] == "ScaledObject")
    with pytest.raises(jsonschema.ValidationError):
        _check({**scaled, "spec": {**scaled["spec"], "minReplicas": 1}}, OLDEST)


def test_names_are_unique_and_no_document_is_of_an_operator_that_no_schema_covers(
    documents: tuple[chart.Document, ...],
) -> None:
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in documents]
    assert len(names) == len(set(names))
    builtin = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"}
    known = builtin | {version for version, _ in OPERATORS}
    assert {doc["apiVersion"] for doc in documents} <= known


def test_the_oldest_version_is_the_one_that_the_chart_asks_for() -> None:
    assert f'kubeVersion: ">={OLDEST}.0-0"' in (chart.CHART / "Chart.yaml").read_text()
