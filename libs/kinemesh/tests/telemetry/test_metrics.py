"""What Prometheus reads."""

from __future__ import annotations

from urllib.error import URLError
from urllib.request import urlopen

import pytest

from kinemesh.embedded.ports import free_ports
from kinemesh.settings import MetricsSettings
from kinemesh.telemetry.metrics import FAILURES, TASK_SECONDS, serve_metrics


def test_metrics_are_served_until_stopped() -> None:
    (port,) = free_ports(1)
    FAILURES.labels("A_REASON_OF_THIS_TEST").inc(3)
    TASK_SECONDS.labels("pose", "done").observe(0.2)
    stop = serve_metrics(MetricsSettings(port=port))
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        stop()
    assert 'kinemesh_failures_total{reason="A_REASON_OF_THIS_TEST"} 3.0' in text
    assert 'kinemesh_task_seconds_bucket{ending="done",le="0.3",stage="pose"}' in text
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)


def test_port_0_serves_nothing() -> None:
    serve_metrics(MetricsSettings(port=0))()
