"""What ingest measures beside what all services do.

What is said of the whole mesh, every replica of ingest says: take the greatest, not the sum.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from kinemesh.telemetry.metrics import SECONDS

_EVERY = " (the same from every replica of ingest: take the max)"

QUEUE_TASKS = Gauge("kinemesh_queue_tasks", f"Tasks that wait for a worker, or are in hand{_EVERY}", ["stage", "state"])
QUEUE_OLDEST_SECONDS = Gauge(
    "kinemesh_queue_oldest_seconds",
    f"Age of the oldest task since it was queued, 0 if there is none{_EVERY}",
    ["stage", "state"],
)
OUTCOMES = Gauge("kinemesh_outcomes", f"Outcomes of tasks that ingest has not settled{_EVERY}")
OUTCOMES_OLDEST_SECONDS = Gauge(
    "kinemesh_outcomes_oldest_seconds", f"Age of the oldest of these, 0 if there is none{_EVERY}"
)
DEAD_LETTERS = Gauge("kinemesh_dead_letters", f"Tasks among the dead letters{_EVERY}", ["stage"])
STREAM_BYTES = Gauge("kinemesh_stream_bytes", f"Size of the broker's streams{_EVERY}", ["stream"])
STREAM_LIMIT_BYTES = Gauge(
    "kinemesh_stream_limit_bytes", f"Most that the broker's streams may hold{_EVERY}", ["stream"]
)

JOBS = Gauge("kinemesh_jobs", f"Jobs that have not ended{_EVERY}", ["pipeline", "state"])
JOBS_OLDEST_SECONDS = Gauge(
    "kinemesh_jobs_oldest_seconds", f"Age of the oldest of these, 0 if there is none{_EVERY}", ["pipeline", "state"]
)
OUTBOX_MESSAGES = Gauge("kinemesh_outbox_messages", f"Messages that wait to be published{_EVERY}")
OUTBOX_STUCK_SECONDS = Gauge("kinemesh_outbox_stuck_seconds", f"Since when the same message is the next one{_EVERY}")
SWEEPS_DUE = Gauge("kinemesh_sweeps_due", f"Deletions in storage that are due{_EVERY}")
SWEEPS_OLDEST_SECONDS = Gauge("kinemesh_sweeps_oldest_seconds", f"Since when the oldest of these is due{_EVERY}")
FORGETTINGS_OPEN = Gauge("kinemesh_forgettings_open", f"Results that people are still to be taken out of{_EVERY}")
UPLOADS_PENDING = Gauge("kinemesh_uploads_pending", f"Uploads that were announced and not confirmed{_EVERY}")
MODELS = Gauge("kinemesh_models", f"Models that were brought in{_EVERY}", ["state"])

GATHERED_TIME = Gauge(
    "kinemesh_gathered_timestamp_seconds", "When this process last learnt what is said of the whole mesh", ["source"]
)

JOB_SECONDS = Histogram(
    "kinemesh_job_seconds",
    "From the making of jobs to their end",
    ["pipeline", "state"],
    buckets=(1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 12 * 3600),
)
UPLOADS_SETTLED = Counter("kinemesh_uploads_settled_total", "Uploads that were confirmed", ["kind", "state"])
UPLOADS_SETTLED_BYTES = Counter("kinemesh_uploads_settled_bytes_total", "Bytes of these", ["kind", "state"])
MODEL_IMPORT_SECONDS = Histogram(
    "kinemesh_model_import_seconds",
    "Time of attempts to bring a model in",
    ["outcome"],
    buckets=(1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600),
)

DATABASE_SECONDS = Histogram(
    "kinemesh_database_seconds", "Time of statements", ["operation", "outcome"], buckets=SECONDS
)
DATABASE_CONNECTIONS = Gauge("kinemesh_database_connections", "Connections of this process", ["state"])
DATABASE_CONNECTIONS_LIMIT = Gauge("kinemesh_database_connections_limit", "Most that this process may have")
