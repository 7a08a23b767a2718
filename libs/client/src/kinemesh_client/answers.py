"""HTTP answers → values or errors with a reason."""

from __future__ import annotations

from typing import Any

import httpx

from kinemesh import errors
from kinemesh.errors import DeadlineExceeded, InvalidArgument, KinemeshError, Unavailable

_KINDS: dict[tuple[str, int], type[KinemeshError]] = {
    (kind.code, kind.http_status): kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, KinemeshError)
}
_BY_STATUS = {status: kind for (_, status), kind in _KINDS.items()}


def answer(response: httpx.Response) -> Any:
    """The JSON of an answer that has been read; None for an empty one.

    :raises KinemeshError: of the class and with the reason, sentence and metadata that the API gave.
    """
    if response.is_success:
        return response.json() if response.content else None
    raise failure(response)


def failure(response: httpx.Response) -> KinemeshError:
    """The error that an answer holds."""
    try:
        body = response.json()
        facts, sentence = body["error"], str(body["detail"])
        kind = _KINDS.get((facts["status"], response.status_code)) or _kind(response.status_code)
        metadata = {
            str(key): str(value) for key, value in facts["metadata"].items() if key not in ("reason", "message")
        }
        return kind(str(facts["reason"]), sentence, **metadata)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Something between us and the gateway answered, or storage, which speaks XML.
        host = response.request.url.host
        sentence = f"{host} answered {response.status_code} {response.reason_phrase}."
        return _kind(response.status_code)("UNEXPECTED_ANSWER", sentence, http_status=response.status_code)


def unreachable(error: httpx.TransportError, url: str) -> KinemeshError:
    """The error for a request that got no answer."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return InvalidArgument("URL_INVALID", f"{url} is not the URL of a mesh, such as http://127.0.0.1:8080.")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DeadlineExceeded("NO_ANSWER_IN_TIME", f"{url} did not answer in time.")
    return Unavailable("MESH_UNREACHABLE", f"Nothing answers at {url}: start a mesh with `kinemesh up`.", url=url)


def _kind(status: int) -> type[KinemeshError]:
    if status == 422:
        return InvalidArgument
    return _BY_STATUS.get(status) or (InvalidArgument if 400 <= status < 500 else Unavailable)
