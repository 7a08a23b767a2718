"""The reference images that come with the product, written to storage and catalogue at start."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.media.picture import encode_picture
from kinemesh.pipelining import in_thread
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import references
from kinemesh_ingest.domain.walls import HEIGHT, WALLS, WIDTH, Wall, paint_wall

_QUALITY: Final = 92
_CONTENT_TYPE: Final = "image/jpeg"


def asset_of(wall: Wall) -> str:
    """The id of the asset that a wall's picture is."""
    return f"built-in-{wall.wall}"


async def ensure_built_in(engine: AsyncEngine, store: ObjectStore) -> None:
    """Write what is missing; several replicas may do so at once, as all write the same."""
    async with engine.connect() as connection:
        known = await references.built_in(connection)
    for wall in WALLS:
        size = await _size(store, wall)
        if size is None:
            data = await in_thread(_encoded, wall)
            await store.put_bytes(keys.asset_source(asset_of(wall)), data, _CONTENT_TYPE)
            size = len(data)
        if wall.wall not in known:
            await _note(engine, wall, size)


async def _size(store: ObjectStore, wall: Wall) -> int | None:
    try:
        return (await store.stat(keys.asset_source(asset_of(wall)))).size
    except errors.NotFound:
        return None


def _encoded(wall: Wall) -> bytes:
    return encode_picture(paint_wall(wall), ".jpg", _QUALITY)


async def _note(engine: AsyncEngine, wall: Wall, size: int) -> None:
    asset = {
        "asset_id": asset_of(wall),
        "filename": f"{wall.wall}.jpg",
        "content_type": _CONTENT_TYPE,
        "size_bytes": size,
    }
    image = {
        "reference_id": wall.wall,
        "display_name": wall.display_name,
        "asset_id": asset_of(wall),
        "content_type": _CONTENT_TYPE,
        "width": WIDTH,
        "height": HEIGHT,
    }
    async with engine.begin() as connection:
        await references.add_built_in(connection, asset, image)
