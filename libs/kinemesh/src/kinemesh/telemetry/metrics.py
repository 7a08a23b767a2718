"""Prometheus metrics that all services share, and the endpoint that serves them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from kinemesh.settings import MetricsSettings

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

RPC_SECONDS = Histogram("kinemesh_rpc_seconds", "Time of gRPC calls", ["method", "code"], buckets=_SECONDS)
TASK_SECONDS = Histogram("kinemesh_task_seconds", "Time of tasks", ["stage", "ending"], buckets=_SECONDS)
TASK_FRAMES = Counter("kinemesh_task_frames_total", "Frames of tasks that are done", ["stage"])
TASKS_IN_HAND = Gauge("kinemesh_tasks_in_hand", "Tasks that this process works on", ["stage"])
FAILURES = Counter("kinemesh_failures_total", "Errors by reason", ["reason"])
DEPENDENCY_UP = Gauge("kinemesh_dependency_up", "Whether a dependency answers", ["dependency"])


def serve_metrics(settings: MetricsSettings) -> Callable[[], None]:
    """Serve /metrics on the port that the settings name; returns what stops it."""
    if settings.port == 0:
        return lambda: None
    server, thread = start_http_server(settings.port, settings.host)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return stop
