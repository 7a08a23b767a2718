"""Prometheus metrics that all services share, and the endpoint that serves them.

No label holds what a user chose: each has a value from a list that the code knows. `docs/operations.md` names them all.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from kinemesh.settings import MetricsSettings

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

RPC_SECONDS = Histogram("kinemesh_rpc_seconds", "Time of gRPC calls", ["method", "code"], buckets=SECONDS)
FAILURES = Counter("kinemesh_failures_total", "Errors of calls and tasks by reason", ["reason"])
DEPENDENCY_UP = Gauge("kinemesh_dependency_up", "Whether a dependency answers", ["dependency"])

TASK_SECONDS = Histogram("kinemesh_task_seconds", "Time of tasks", ["stage", "ending"], buckets=SECONDS)
TASK_FRAMES = Counter("kinemesh_task_frames_total", "Frames of tasks that are done", ["stage"])
TASKS_IN_HAND = Gauge("kinemesh_tasks_in_hand", "Tasks that this process works on", ["stage"])
TASK_FAILURES = Counter("kinemesh_task_failures_total", "Deliveries of tasks that failed", ["stage", "reason"])
TASK_REDELIVERIES = Counter("kinemesh_task_redeliveries_total", "Deliveries of tasks after their first", ["stage"])

INFERENCE_SECONDS = Histogram(
    "kinemesh_inference_seconds",
    "Time of requests to the model server as this process saw it; imported models are one",
    ["model", "outcome"],
    buckets=SECONDS,
)
INFERENCE_WAIT_SECONDS = Histogram(
    "kinemesh_inference_wait_seconds",
    "Time that requests waited in this process before they were sent",
    ["model"],
    buckets=SECONDS,
)

STORAGE_SECONDS = Histogram(
    "kinemesh_storage_seconds",
    "Time of S3 requests until their answer began, with retries; status is that of HTTP, or error",
    ["operation", "status"],
    buckets=SECONDS,
)

BROKER_RECONNECTS = Counter("kinemesh_broker_reconnects_total", "Times that the connection to the broker came back")
BROKER_UNCONFIRMED = Counter(
    "kinemesh_broker_unconfirmed_total", "Messages that the broker did not confirm in time; each attempt counts"
)


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
