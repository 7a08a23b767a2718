"""The route catalogue on the mesh: areas, routes, and ways through them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

from kinemesh_client.answers import answer
from kinemesh_client.environments import Call
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import Area, Cleared, Route, SearchHit, Tree, TreeArea

Send = Callable[..., Awaitable[httpx.Response]]
"""Method, path and what httpx takes → the answer, whatever its status."""

PATH: Final = "/api/v1/routes"
WORK_S: Final = 130.0
"""Seconds that work on many files, or on a whole picture, may take."""


class Areas:
    """``client.areas``: crags and halls; fields are those of the API."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(self, limit: int = 20, page_token: str = "") -> Page[Area]:
        """A page of your areas, by name."""
        found = await self._call("GET", f"{PATH}/areas", params=page_params(limit, page_token))
        return Page([Area.of(row) for row in found["areas"]], found["total"], found["next_page_token"] or "")

    async def get(self, area_id: str) -> Area:
        """One area."""
        return Area.of(await self._call("GET", _area(area_id)))

    async def create(self, name: str, description: str = "") -> Area:
        """Add an area; its name is unique among yours."""
        body = {"display_name": name, "description": description}
        return Area.of(await self._call("POST", f"{PATH}/areas", json=body))

    async def update(self, area_id: str, changes: Mapping[str, Any]) -> Area:
        """Change the fields that are given: ``display_name``, ``description``."""
        return Area.of(await self._call("PATCH", _area(area_id), json=dict(changes)))

    async def delete(self, area_id: str) -> None:
        """Delete an area with its routes and their attempts."""
        await self._call("DELETE", _area(area_id), timeout=WORK_S)


class Routes:
    """``client.routes``: routes, the tree over all, and search; fields are those of the API."""

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send

    async def list(self, area_id: str = "", limit: int = 20, page_token: str = "") -> Page[Route]:
        """A page of your routes by name; only those of one area, if it is given."""
        params = {**page_params(limit, page_token), **({"area_id": area_id} if area_id else {})}
        found = await self._call("GET", PATH, params=params)
        return Page([Route.of(row) for row in found["routes"]], found["total"], found["next_page_token"] or "")

    async def get(self, route_id: str) -> Route:
        """One route."""
        return Route.of(await self._call("GET", route_path(route_id)))

    async def create(
        self, area_id: str, name: str, *, grade: str = "", description: str = "", reference_id: str = ""
    ) -> Route:
        """Add a route to an area; its name is unique there."""
        body = {"area_id": area_id, "display_name": name, "grade": grade, "description": description}
        chosen = {"reference_id": reference_id} if reference_id else {}
        return Route.of(await self._call("POST", PATH, json={**body, **chosen}))

    async def update(self, route_id: str, changes: Mapping[str, Any]) -> Route:
        """Change the fields that are given: ``display_name``, ``description``, ``grade``, ``reference_id``."""
        return Route.of(await self._call("PATCH", route_path(route_id), json=dict(changes)))

    async def delete(self, route_id: str) -> None:
        """Delete a route with its attempts."""
        await self._call("DELETE", route_path(route_id), timeout=WORK_S)

    async def tree(self, known: Tree | None = None) -> Tree:
        """All areas and routes; ``known`` itself if it has not changed, which costs next to nothing."""
        headers = {} if known is None else {"If-None-Match": known.etag}
        response = await self._send("GET", f"{PATH}/tree", headers=headers)
        if known is not None and response.status_code == httpx.codes.NOT_MODIFIED:
            return known
        json = answer(response)
        return Tree(tuple(TreeArea.of(row) for row in json["areas"]), response.headers.get("ETag", ""), json)

    async def search(self, query: str, limit: int = 20, page_token: str = "") -> Page[SearchHit]:
        """A page of the areas, routes and attempts in which all the words occur, best first."""
        params = {**page_params(limit, page_token), "q": query}
        found = await self._call("GET", f"{PATH}/search", params=params)
        return Page([SearchHit.of(row) for row in found["hits"]], found["total"], found["next_page_token"] or "")

    async def clear_temporary(self, *, older_than_sec: float | None = None, dry_run: bool = False) -> Cleared:
        """Delete your temporary files of matching: all that no running job needs, or only older ones.

        :param dry_run: only counts.
        """
        params = {
            **({} if older_than_sec is None else {"older_than_sec": older_than_sec}),
            **({"dry_run": "true"} if dry_run else {}),
        }
        return Cleared.of(await self._call("DELETE", f"{PATH}/temporary", params=params, timeout=WORK_S))


def route_path(route_id: str) -> str:
    """Where a route lies.

    :raises InvalidArgument: ``INVALID_ID``.
    """
    return f"{PATH}/{path_id(route_id)}"


def _area(area_id: str) -> str:
    return f"{PATH}/areas/{path_id(area_id)}"
