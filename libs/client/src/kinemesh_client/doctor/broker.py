"""The broker: reachable, with streams that have room and consumers that somebody works for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from kinemesh.bus.connection import identity_of
from kinemesh.bus.topology import CONDUCTOR, DEAD_LETTERS, STAGES, TASKS, dead_letter_subject, stage_consumer, streams
from kinemesh.errors import FailedPrecondition
from kinemesh.settings import NatsSettings
from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_BROKER: Final = "broker"
_CONNECT_S: Final = 5
_MIB: Final = 2**20
_START: Final = "Start any service: each makes what is missing."


async def look_at_broker(settings: NatsSettings) -> list[Finding]:
    """Connect and ask for streams, consumers and dead letters."""
    try:
        async with _connected(settings) as jetstream:
            return await _look(jetstream)
    except FailedPrecondition as error:
        why = "Services do not start with it."
        return [
            problem(
                _BROKER, error.message, why, "See KINEMESH_NATS__CREDENTIALS_FILE, __CA_FILE, __CERT_FILE, __KEY_FILE."
            )
        ]
    except (NatsError, OSError, TimeoutError) as error:
        return [judge_failure(settings.url, error)]


@asynccontextmanager
async def _connected(settings: NatsSettings) -> AsyncIterator[JetStreamContext]:
    async def quiet(_: Exception) -> None:
        """What goes wrong is told by what is asked."""

    identity = identity_of(settings)
    client = Client()
    try:
        await client.connect(
            settings.url,
            name="kinemesh-doctor",
            **identity,
            connect_timeout=_CONNECT_S,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=quiet,
        )
        yield client.jetstream(timeout=_CONNECT_S)
    finally:
        with suppress(NatsError, OSError):
            await client.close()


def judge_failure(url: str, error: Exception) -> Finding:
    """Why the broker could not be asked."""
    why = "No job moves on without it."
    if "authorization" in str(error).lower():
        action = "Set KINEMESH_NATS__USER and __PASSWORD, or __CREDENTIALS_FILE, to what the broker knows."
        return problem(_BROKER, f"{url} refuses our credentials.", why, action)
    if type(error).__name__ == "ServiceUnavailableError" or "no responders" in str(error).lower():
        return problem(_BROKER, f"{url} has no JetStream.", why, "Start nats-server with --jetstream and a folder.")
    action = "Start it; see KINEMESH_NATS__URL, its log, and what is between here and there."
    return problem(_BROKER, f"{url} does not answer ({type(error).__name__}).", why, action)


async def _look(jetstream: JetStreamContext) -> list[Finding]:
    account = await jetstream.account_info()
    findings = [judge_storage(account.storage, account.limits.max_storage)]
    infos = {info.config.name: info for info in await jetstream.streams_info()}
    sizes = {str(name): (info.state.bytes, info.config.max_bytes or -1) for name, info in infos.items()}
    findings += judge_streams(sizes)
    if TASKS not in infos:
        return findings
    consumers = {info.name: info for info in await jetstream.consumers_info(TASKS)}
    findings.append(judge_consumers(set(consumers)))
    lag = {
        stage: (info.num_pending or 0, info.num_ack_pending or 0, info.num_waiting or 0)
        for stage in STAGES
        if (info := consumers.get(stage_consumer(stage).durable)) is not None
    }
    findings.append(judge_lag(lag))
    with suppress(NotFoundError):
        conductor = await jetstream.consumer_info(CONDUCTOR.stream, CONDUCTOR.durable)
        findings.append(judge_outcomes(conductor.num_pending or 0))
    if DEAD_LETTERS in infos:
        dead = await jetstream.stream_info(DEAD_LETTERS, subjects_filter=dead_letter_subject("*"))
        findings.append(judge_dead_letters(dead.state.subjects or {}))
    return findings


def judge_storage(used: int, limit: int) -> Finding:
    """What all streams of the account hold, in bytes; a limit below 0 is none."""
    found = f"JetStream holds {used / _MIB:.0f} MiB" + (f" of {limit / _MIB:.0f} MiB." if limit > 0 else ".")
    if limit > 0 and used > 0.8 * limit:
        why = "At the limit the broker takes no more messages."
        return problem(_BROKER, found, why, "Raise max_storage of the account, or free space.")
    return ok(_BROKER, found)


def judge_streams(sizes: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Size and limit in bytes of each stream that there is."""
    configured = {str(config.name): config for config in streams(replicas=1)}
    missing = sorted(configured.keys() - sizes.keys())
    findings = []
    if missing:
        why = "Tasks, outcomes or events have no place to go."
        findings.append(problem(_BROKER, f"Streams are missing: {', '.join(missing)}.", why, _START))
    for name in configured.keys() & sizes.keys():
        size, limit = sizes[name]
        # Those that drop what is oldest may well be full.
        if configured[name].max_age == 0 and limit > 0 and size > 0.7 * limit:
            why = "Full, it refuses messages: workers cannot hand in what they have done."
            said = f"{name} holds {size / limit:.0%} of what it may."
            findings.append(warning(_BROKER, said, why, "See docs/runbooks.md, KinemeshStreamNearlyFull."))
    return findings or [ok(_BROKER, f"All {len(configured)} streams are there and have room.")]


def judge_consumers(names: set[str]) -> Finding:
    """Durable consumers that there are."""
    missing = [stage for stage in STAGES if stage_consumer(stage).durable not in names]
    if missing:
        why = "Tasks of these stages are taken by nobody."
        return problem(_BROKER, f"Consumers are missing: {', '.join(missing)}.", why, _START)
    return ok(_BROKER, f"All {len(STAGES)} stages have a consumer.")


def judge_lag(lag: Mapping[str, tuple[int, int, int]]) -> Finding:
    """Tasks that wait, tasks in hand, and workers that ask for one, by stage."""
    abandoned = [stage for stage, (waiting, in_hand, asking) in lag.items() if waiting and not in_hand and not asking]
    if abandoned:
        why = "Jobs with these stages stand still."
        said = f"Tasks wait and nobody takes them: {', '.join(abandoned)}."
        return problem(_BROKER, said, why, "Start the services of these stages: kinemesh pipelines, kinemesh status.")
    waiting = {stage: count for stage, (count, _, _) in lag.items() if count}
    if not waiting:
        return ok(_BROKER, "No task waits.")
    return ok(_BROKER, "Waiting: " + ", ".join(f"{stage} {count}" for stage, count in waiting.items()) + ".")


def judge_outcomes(waiting: int) -> Finding:
    """Outcomes that ingest has not taken."""
    if waiting < 100:
        return ok(_BROKER, f"{waiting} outcomes wait for ingest.")
    why = "Jobs do not move on."
    return warning(_BROKER, f"{waiting} outcomes wait for ingest.", why, "See that ingest runs: kinemesh logs ingest.")


def judge_dead_letters(counts: Mapping[str, int]) -> Finding:
    """Dead letters by subject."""
    total = sum(counts.values())
    if not total:
        return ok(_BROKER, "There are no dead letters.")
    said = ", ".join(f"{subject.rpartition('.')[2]} {count}" for subject, count in sorted(counts.items()))
    why = "Each is a task that could not be done, and failed its job. They are kept for 30 days."
    action = "kinemesh jobs list --state FAILED says why; docs/runbooks.md, KinemeshDeadLetters, what to do."
    return warning(_BROKER, f"{total} dead letters: {said}.", why, action)
