"""Dashboards, alerts, runbooks and documents speak of metrics that the services have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

import kinemesh.telemetry.metrics  # noqa: F401 - registers its metrics, as those below do
import kinemesh_gateway.metrics  # noqa: F401
import kinemesh_ingest.metrics  # noqa: F401

from .promql import Measured, labels_of

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "k8s" / "kinemesh" / "dashboards").glob("*.json"))
ALERTS = sorted((ROOT / "k8s" / "kinemesh" / "alerts").glob("*.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks.md"

BOUNDED = frozenset(
    {
        # of code and protos
        *("stage", "ending", "reason", "state", "source", "outcome", "operation", "kind", "dependency"),
        *("pipeline", "stream", "method", "route", "code"),
        "status",  # of HTTP
        "model",  # of the manifest, or "imported"
    }
)
TRITON = {
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_request_failure": {"model", "version", "reason"},
    "nv_inference_count": {"model", "version"},
    "nv_inference_exec_count": {"model", "version"},
    "nv_inference_queue_duration_us": {"model", "version"},
    "nv_inference_compute_infer_duration_us": {"model", "version"},
    "nv_inference_pending_request_count": {"model", "version"},
    "nv_cpu_utilization": set[str](),
}
"""What Triton's metrics are called; `tests/e2e/test_observed.py` holds that it has them."""
PROCESS = (
    *("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"),
    "process_start_time_seconds",
)

Rules = list[dict[str, Any]]


def ours() -> dict[str, Any]:
    """The metrics of all services, by name."""
    found = {collector._name: collector for collector in REGISTRY._collector_to_names if hasattr(collector, "_name")}
    return {name: collector for name, collector in found.items() if name.startswith("kinemesh_")}


def known() -> dict[str, Measured]:
    """All series that Prometheus may find."""
    found = {"up": Measured(frozenset())}
    found |= {name: Measured(frozenset()) for name in PROCESS}
    found |= {name: Measured(frozenset(labels)) for name, labels in TRITON.items()}
    for name, collector in ours().items():
        measured = Measured(frozenset(collector._labelnames), "every replica" in collector._documentation)
        if isinstance(collector, Histogram):
            found[f"{name}_bucket"] = Measured(measured.labels | {"le"})
            found[f"{name}_count"] = found[f"{name}_sum"] = measured
        else:
            found[f"{name}_total" if isinstance(collector, Counter) else name] = measured
    return found


def rules() -> Rules:
    groups = [group for path in ALERTS for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def test_metrics_are_made_in_three_places_only() -> None:
    sources = [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    made = re.compile(r"^from prometheus_client import .*(Counter|Gauge|Histogram|Summary|Info|Enum)", re.MULTILINE)
    places = {path for path in sources if made.search(path.read_text()) and path.name != "gathering.py"}
    assert {path.as_posix().split("/src/")[1] for path in places} == {
        *("kinemesh/telemetry/metrics.py", "kinemesh_gateway/metrics.py", "kinemesh_ingest/metrics.py")
    }


def test_no_label_can_be_chosen_by_a_user() -> None:
    for name, collector in ours().items():
        assert set(collector._labelnames) <= BOUNDED, name
        assert isinstance(collector, Counter | Gauge | Histogram), name


def test_names_follow_the_conventions() -> None:
    for name, collector in ours().items():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name)
        assert isinstance(collector, Histogram) <= name.endswith("_seconds"), name
        assert not re.search(r"_(ms|us|mb|kb|minutes|percent)(_|$)", name), name
        assert not collector._documentation.endswith("."), name


def test_the_document_lists_all_metrics_with_their_labels() -> None:
    text = (ROOT / "docs" / "observing.md").read_text()
    listed = {
        name: (labels, "†" in what)
        for name, labels, what in re.findall(r"^\| `(kinemesh_\w+)` \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    }
    assert listed == {
        f"{name}_total" if isinstance(collector, Counter) else name: (
            ", ".join(collector._labelnames) or "–",
            "every replica" in collector._documentation,
        )
        for name, collector in ours().items()
    }


def test_dashboards_are_as_their_source_says() -> None:
    command = [sys.executable, "tools/dashboards.py", "check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0
    assert {path.stem for path in DASHBOARDS} == {"overview", "stages", "models", "keepers", "gateway"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_show_metrics_that_there_are(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"kinemesh-{path.stem}"
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        for target in panel["targets"]:
            labels = labels_of(target["expr"], known())
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert shown <= labels, f"{panel['title']}: {sorted(shown)} of {sorted(labels)}"


def test_all_metrics_are_shown_or_alerted_on() -> None:
    texts = "".join(path.read_text() for path in (*DASHBOARDS, *ALERTS))
    unseen = [name for name in ours() if name not in texts]
    assert unseen == ["kinemesh_uploads_settled_bytes"], "a figure for accounting, not for watching"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_speak_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    labels = labels_of(rule["expr"], known())
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels
    assert rule["annotations"]["summary"].endswith(".")
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "0m"))
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"


def test_every_alert_has_one_runbook_and_every_runbook_an_alert() -> None:
    sections = re.findall(r"^## (.+)$", RUNBOOKS.read_text(), flags=re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]


def test_runbooks_say_what_it_means_and_what_to_do() -> None:
    for section in re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]:
        heads = re.findall(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)
        assert heads == ["Meaning.", "Impact.", "Look here.", "Do this."], section.splitlines()[0]
        assert "`" in section.split("**Look here.**")[1].split("**Do this.**")[0], section.splitlines()[0]
        for expression in re.findall(r"^```promql\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            for line in expression.strip().splitlines():
                labels_of(line, known())


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("sum(no_such_metric)", "no metric"),
        ('kinemesh_dependency_up{stage="x"}', "no label stage"),
        ("sum by (reason) (kinemesh_dependency_up)", "no label reason"),
        ("sum(kinemesh_outcomes)", "take the max"),
        ("histogram_quantile(0.5, sum(rate(kinemesh_task_seconds_bucket[5m])))", "no label le"),
        ("sum by (stage) (kinemesh_tasks_in_hand) / sum(kinemesh_tasks_in_hand)", "never match"),
        ("sum(", "unclosed"),
    ],
)
def test_expressions_that_make_no_sense_are_found(expression: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        labels_of(expression, known())
