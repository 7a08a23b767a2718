"""Streams and consumers of the mesh, as data. Applied by every process at start; applying twice changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

DAY_S: Final = 24 * 3600.0

TASKS: Final = "KINEMESH_TASKS"
OUTCOMES: Final = "KINEMESH_OUTCOMES"
EVENTS: Final = "KINEMESH_EVENTS"
DEAD_LETTERS: Final = "KINEMESH_DEAD_LETTERS"
EXHAUSTED: Final = "KINEMESH_EXHAUSTED"

STAGES: Final = (
    "split",
    "recall",
    "detect",
    "track",
    "refine",
    "associate",
    "resolve",
    "remember",
    "pose",
    "stitch",
    "movement",
    "match",
    "retarget",
    "render",
    "mosaic",
    "finalize",
)


def task_subject(stage: str) -> str:
    return f"kinemesh.task.{stage}"


def outcome_subject(job_id: str) -> str:
    return f"kinemesh.outcome.{job_id}"


def event_subject(job_id: str, kind: str) -> str:
    return f"kinemesh.event.{job_id}.{kind}"


def progress_subject(job_id: str) -> str:
    """Plain NATS, not kept by any stream: a lost report of progress is made good by the next."""
    return f"kinemesh.progress.{job_id}"


def dead_letter_subject(stage: str) -> str:
    return f"kinemesh.dead.{stage}"


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable pull consumer.

    :ivar ack_wait_s: a message neither acked nor reported in progress for so long is delivered again, so
        this is how long the work of a killed process waits.
    :ivar backoff_s: delays before the deliveries after a failure that may pass.
    :ivar patience_s: how long a task waits in one worker's hands, without another delivery, for a server that is away.
    """

    stream: str
    durable: str
    subject: str
    ack_wait_s: float = 6.0
    max_deliver: int = 5
    backoff_s: tuple[float, ...] = (0.5, 2.0, 8.0, 20.0)
    patience_s: float = 60.0

    def config(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.durable,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_s,
            max_deliver=self.max_deliver,
            max_ack_pending=1024,
        )


def stage_consumer(stage: str) -> Consumer:
    return Consumer(TASKS, f"stage-{stage}", task_subject(stage))


CONDUCTOR: Final = Consumer(OUTCOMES, "conductor", outcome_subject("*"), max_deliver=-1)
UNDERTAKER: Final = Consumer(
    EXHAUSTED, "undertaker", f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{TASKS}.*", max_deliver=-1
)

CONSUMERS: Final = (*(stage_consumer(stage) for stage in STAGES), CONDUCTOR, UNDERTAKER)


def streams(replicas: int) -> tuple[StreamConfig, ...]:
    """Work queues hold what is to be done, each message until it is done; the others keep history for a while."""

    def stream(name: str, subject: str, retention: RetentionPolicy, max_age_s: float, max_bytes: int) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=[subject],
            retention=retention,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD if retention is RetentionPolicy.LIMITS else DiscardPolicy.NEW,
            max_age=max_age_s,
            max_bytes=max_bytes,
            num_replicas=replicas,
            duplicate_window=min(max_age_s or 3600.0, 3600.0),
            allow_direct=True,
        )

    mib = 1024**2
    queue, limits = RetentionPolicy.WORK_QUEUE, RetentionPolicy.LIMITS
    return (
        stream(TASKS, task_subject("*"), queue, 0, 256 * mib),
        stream(OUTCOMES, outcome_subject("*"), queue, 0, 256 * mib),
        stream(EVENTS, "kinemesh.event.*.*", limits, 7 * DAY_S, 2048 * mib),
        stream(DEAD_LETTERS, dead_letter_subject("*"), limits, 30 * DAY_S, 256 * mib),
        stream(EXHAUSTED, UNDERTAKER.subject, queue, 0, 256 * mib),
    )
