"""Uploads that go on: what has arrived is asked of the mesh, so nothing about them is kept here."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kinemesh.errors import FailedPrecondition, InvalidArgument, KinemeshError, NotFound, PermissionDenied
from kinemesh_client import transfer
from kinemesh_client.environments import Call
from kinemesh_client.paths import path_id
from kinemesh_client.resources import Asset
from kinemesh_client.transfer import Progress

_PATH: Final = "/api/v1/assets"
_CONFIRM_S: Final = 130.0
_PAGE: Final = 100
_MOST_PAGES: Final = 20


async def upload(
    call: Call,
    path: Path,
    *,
    kind: str,
    content_type: str,
    keep_refused: bool,
    resume: bool,
    checksum: bool,
    progress: Progress,
) -> Asset:
    """See :meth:`kinemesh_client.KinemeshClient.upload`."""
    size = transfer.size_of(path)
    sha256 = await transfer.sha256_of(path) if checksum else ""
    announced = {
        "filename": path.name,
        "content_type": content_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "size_bytes": size,
        **({"sha256": sha256} if sha256 else {}),
        **({"kind": kind} if kind != "VIDEO" else {}),
    }
    asset_id = await _unfinished(call, path.name, size, sha256, kind) if resume else ""
    if asset_id:
        state = await call("GET", f"{_PATH}/{path_id(asset_id)}/upload")
    else:
        state = await call("POST", _PATH, json=announced)
        asset_id = state["asset"]["asset_id"]
    sent = await _send(call, path, size, asset_id, state, progress)
    try:
        done = await call("POST", f"{_PATH}/{path_id(asset_id)}/confirm", json={"parts": sent}, timeout=_CONFIRM_S)
    except InvalidArgument:
        if not keep_refused:
            with suppress(KinemeshError):
                await call("DELETE", f"{_PATH}/{path_id(asset_id)}")
        raise
    return Asset.of(done)


async def _unfinished(call: Call, filename: str, size: int, sha256: str, kind: str) -> str:
    """The newest upload of the same file that was not confirmed; empty if there is none."""
    token = ""
    for _ in range(_MOST_PAGES):
        params = {"state": "PENDING", "limit": _PAGE, **({"page_token": token} if token else {})}
        page = await call("GET", _PATH, params=params)
        for asset in page["assets"]:
            same = (asset["filename"], asset["size_bytes"], asset["sha256"], asset["kind"])
            if same == (filename, size, sha256, kind):
                return str(asset["asset_id"])
        token = page["next_page_token"] or ""
        if not token:
            break
    return ""


async def _send(
    call: Call, path: Path, size: int, asset_id: str, state: Mapping[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """Send what is missing; answers with the parts to confirm, none for a file in one piece.

    URLs that expire meanwhile are asked for again, as long as something arrives between.
    """
    had = -1
    progress(int(state.get("uploaded_bytes") or 0))
    while True:
        where = state["upload"]
        if where is None:  # somebody else has confirmed it, or it was refused
            return []
        done = {part["part_number"]: part["etag"] for part in state.get("uploaded") or ()}
        try:
            done |= await transfer.send(path, where, size, progress)
        except (PermissionDenied, NotFound) as error:  # what storage answers to URLs that have expired, or are of old
            state = await call("GET", f"{_PATH}/{path_id(asset_id)}/upload")
            if state["uploaded_bytes"] <= had:
                raise FailedPrecondition(
                    "UPLOAD_REFUSED", "Storage takes none of the bytes; is the clock right?", asset_id=asset_id
                ) from error
            had = state["uploaded_bytes"]
            continue
        in_parts = where["parts"] or len(done) > 1
        return [{"part_number": number, "etag": done[number]} for number in sorted(done)] if in_parts else []
