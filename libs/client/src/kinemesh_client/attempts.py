"""Attempts at routes, on the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kinemesh_client import transfer
from kinemesh_client.environments import Call
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import Attempt, Comparison, RecentAttempt
from kinemesh_client.routes import PATH, WORK_S, route_path
from kinemesh_client.transfer import Fetch, Progress

_PATH: Final = f"{PATH}/attempts"


class Attempts:
    """``client.attempts``; fields are those of the API."""

    def __init__(self, call: Call, fetch: Fetch) -> None:
        self._call = call
        self._fetch = fetch

    async def list(self, route_id: str, limit: int = 20, page_token: str = "") -> Page[Attempt]:
        """A page of the attempts at a route, last climbed first."""
        found = await self._call("GET", f"{route_path(route_id)}/attempts", params=page_params(limit, page_token))
        return Page([Attempt.of(row) for row in found["attempts"]], found["total"], found["next_page_token"] or "")

    async def recent(self, limit: int = 20, page_token: str = "") -> Page[RecentAttempt]:
        """A page of the attempts that were added last, newest first."""
        found = await self._call("GET", f"{_PATH}/recent", params=page_params(limit, page_token))
        rows = [RecentAttempt.of(row) for row in found["attempts"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def get(self, attempt_id: str) -> Attempt:
        """One attempt."""
        return Attempt.of(await self._call("GET", _of(attempt_id)))

    async def create(
        self,
        route_id: str,
        asset_id: str,
        *,
        name: str = "",
        notes: str = "",
        attempt_time: str = "",
        topped: bool = False,
    ) -> Attempt:
        """Add an uploaded video to a route.

        :param attempt_time: when it was climbed, RFC 3339; now when empty.
        """
        body: dict[str, Any] = {"asset_id": asset_id, "display_name": name, "notes": notes, "topped": topped}
        climbed = {"attempt_time": attempt_time} if attempt_time else {}
        return Attempt.of(await self._call("POST", f"{route_path(route_id)}/attempts", json={**body, **climbed}))

    async def update(self, attempt_id: str, changes: Mapping[str, Any]) -> Attempt:
        """Change the fields that are given: ``display_name``, ``notes``, ``attempt_time``, ``topped``."""
        return Attempt.of(await self._call("PATCH", _of(attempt_id), json=dict(changes)))

    async def delete(self, attempt_id: str) -> None:
        """Delete an attempt with its video, poses, features and jobs."""
        await self._call("DELETE", _of(attempt_id), timeout=WORK_S)

    async def compare(self, route_id: str, attempt_ids: Sequence[str]) -> Comparison:
        """The figures of two to eight attempts at one route, side by side."""
        params = {"attempt_id": list(attempt_ids)}
        return Comparison.of(await self._call("GET", f"{route_path(route_id)}/compare", params=params))

    async def download(
        self, attempt_id: str, data: str, target: Path, *, progress: Progress = transfer.nothing
    ) -> Path:
        """Write what is kept with an attempt to a file, whole or not at all, and return its absolute path.

        :param data: ``video``, ``poses`` or ``features``; the latter two are Parquet.
        """
        return await self._fetch(f"{_of(attempt_id)}/{path_id(data)}", target, progress)


def _of(attempt_id: str) -> str:
    return f"{_PATH}/{path_id(attempt_id)}"
