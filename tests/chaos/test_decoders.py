"""Decoders that end while a job needs them: the job fails for its file's sake, or does not notice."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil

from kinemesh.embedded.mesh import Mesh
from kinemesh.testing.decoding import confined_processes
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until


def end_decoders(mesh: Mesh, service: str, number: signal.Signals) -> int:
    """Send a signal to the confined processes of a service; answers to how many."""
    sent = 0
    with suppress(psutil.NoSuchProcess):
        for decoder in confined_processes(mesh.process(service).pid):
            decoder.send_signal(number)
            sent += 1
    return sent


async def test_a_file_that_crashes_its_decoders_fails_its_job(mesh: Mesh, rest: Rest, person_clip: bytes) -> None:
    asset_id = await rest.upload(person_clip)
    job_id = await rest.start(asset_id)

    async def has_ended() -> bool:
        end_decoders(mesh, "pose", signal.SIGSEGV)
        return (await rest.job(job_id))["state"] not in ("QUEUED", "RUNNING")

    await until(has_ended, 120)
    job = await rest.job(job_id)
    assert (job["state"], job["failure"]["reason"]) == ("FAILED", "DECODER_CRASHED")
    again = await rest.ended(await rest.start(asset_id))
    assert again["state"] == "SUCCEEDED", again["failure"]


async def test_a_decoder_that_the_system_kills_is_started_again(mesh: Mesh, rest: Rest, person_clip: bytes) -> None:
    job_id = await rest.start(await rest.upload(person_clip))

    async def killed() -> bool:
        return end_decoders(mesh, "pose", signal.SIGKILL) > 0

    await until(killed, 120)
    job = await rest.ended(job_id)
    assert job["state"] == "SUCCEEDED", job["failure"]
