"""The object store: writing, reading and deleting, and the URLs that clients get."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from kinemesh.errors import KinemeshError
from kinemesh.storage import ObjectStore, S3Settings
from kinemesh_client.doctor.findings import Finding, ok, problem
from kinemesh_client.doctor.machine import judge_clock

_STORAGE: Final = "storage"
_ASK_S: Final = 5.0
_WHY: Final = "Media and results lie there; no job can run without it."
_ACTIONS: Final = {
    "STORAGE_UNAVAILABLE": "Start it; see KINEMESH_S3__ENDPOINT and __SECURE, and what is between here and there.",
    "STORAGE_ACCESS_DENIED": "Set KINEMESH_S3__ACCESS_KEY and __SECRET_KEY; they must allow put, get, list, delete.",
    "BUCKET_NOT_FOUND": "Start ingest, which makes it, or set KINEMESH_S3__BUCKET.",
}


async def look_at_storage(settings: S3Settings, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Put, get and delete a small object, and get it by the URL that a client would get.

    :param clock: seconds since 1970.
    """
    quick = settings.model_copy(update={"retries": 0, "connect_timeout_s": _ASK_S, "read_timeout_s": _ASK_S})
    key = f".doctor/{secrets.token_hex(8)}"
    async with ObjectStore(quick) as store:
        try:
            started = time.perf_counter()
            await store.put_bytes(key, b"kinemesh")
            written = await store.get_bytes(key, limit=100)
            took = time.perf_counter() - started
            findings = [
                judge_object(written == b"kinemesh", took),
                *await _look_from_outside(store.presign_get(key), clock),
            ]
            await store.delete([key])
        except KinemeshError as error:
            return [judge_failure(settings.endpoint, error)]
    return findings


def judge_object(same: bool, seconds: float) -> Finding:
    """Whether an object came back as it was written."""
    if same:
        return ok(_STORAGE, f"An object was written and read in {seconds * 1000:.0f} ms.")
    return problem(
        _STORAGE, "An object came back with other bytes.", "Results cannot be trusted.", "Look at its disks."
    )


def judge_failure(endpoint: str, error: KinemeshError) -> Finding:
    """Why an object could not be written or read."""
    action = _ACTIONS.get(error.reason, "See the log of the object store.")
    return problem(_STORAGE, f"{endpoint}: {error.message} ({error.reason})", _WHY, action)


async def _look_from_outside(url: str, clock: Callable[[], float]) -> list[Finding]:
    try:
        async with httpx.AsyncClient(timeout=_ASK_S) as http:
            asked = clock()
            answer = await http.get(url)
            now = (asked + clock()) / 2
    except httpx.HTTPError as error:
        return [judge_url(httpx.URL(url).netloc.decode(), type(error).__name__)]
    findings = [judge_url(httpx.URL(url).netloc.decode(), "" if answer.status_code == 200 else str(answer.status_code))]
    skew_s = skew(answer.headers.get("date", ""), now)
    return findings if skew_s is None else [*findings, judge_clock("the object store", skew_s)]


def judge_url(address: str, failure: str) -> Finding:
    """Whether a signed URL works; ``failure`` is empty if it does."""
    if not failure:
        return ok(_STORAGE, f"Signed URLs work, at {address}.")
    why = "Clients upload and download by such URLs."
    action = "Set KINEMESH_S3__PUBLIC_ENDPOINT and __PUBLIC_SECURE to how clients reach it. 403: see the clocks."
    return problem(_STORAGE, f"A signed URL at {address} does not work from here: {failure}.", why, action)


def skew(date: str, now_s: float) -> float | None:
    """By how many seconds the clock that wrote a Date header is ahead of ours; None if it wrote none."""
    try:
        return parsedate_to_datetime(date).timestamp() - now_s
    except ValueError:
        return None
