"""Reference images on the mesh: pictures of walls, on which attempts are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kinemesh_client import transfer
from kinemesh_client.environments import Call
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import ReferenceImage
from kinemesh_client.routes import PATH, WORK_S
from kinemesh_client.transfer import Fetch, Progress

_PATH: Final = f"{PATH}/references"


class References:
    """``client.references``."""

    def __init__(self, call: Call, fetch: Fetch) -> None:
        self._call = call
        self._fetch = fetch

    async def list(
        self, limit: int = 20, page_token: str = "", *, source: str = "", route_id: str = ""
    ) -> Page[ReferenceImage]:
        """A page of the pictures that you may use, built-in ones first.

        :param source: only ``BUILT_IN`` or ``UPLOADED`` ones.
        :param route_id: only those of this route.
        """
        params = {
            **page_params(limit, page_token),
            **({"source": source} if source else {}),
            **({"route_id": route_id} if route_id else {}),
        }
        found = await self._call("GET", _PATH, params=params)
        rows = [ReferenceImage.of(row) for row in found["references"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def get(self, reference_id: str) -> ReferenceImage:
        """One picture."""
        return ReferenceImage.of(await self._call("GET", _of(reference_id)))

    async def create(self, asset_id: str, *, name: str = "", route_id: str = "") -> ReferenceImage:
        """Make a reference image of an uploaded picture (JPEG, PNG or WebP).

        :param name: the file's when empty.
        :param route_id: the route that it shows, which uses it from then on.
        """
        body = {"asset_id": asset_id, "display_name": name, "route_id": route_id}
        given = {key: value for key, value in body.items() if value}
        return ReferenceImage.of(await self._call("POST", _PATH, json=given, timeout=WORK_S))

    async def delete(self, reference_id: str) -> None:
        """Delete an uploaded picture; refused while a route or a job that is not over uses it."""
        await self._call("DELETE", _of(reference_id))

    async def download(self, reference_id: str, target: Path, *, progress: Progress = transfer.nothing) -> Path:
        """Write the picture to a file, whole or not at all, and return its absolute path."""
        return await self._fetch(f"{_of(reference_id)}/image", target, progress)


def _of(reference_id: str) -> str:
    return f"{_PATH}/{path_id(reference_id)}"
