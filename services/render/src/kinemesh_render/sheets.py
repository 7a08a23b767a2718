"""Contact sheets, whose cells are made where the frames are drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np

from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread
from kinemesh.storage import ObjectStore
from kinemesh_render.domain.sheet import chosen_frames, compose

SHEET: Final = "contact_sheet.jpg"
CELLS: Final = "cells"
"""Suffix of the keys under which parts keep theirs."""

_QUALITY: Final = 88
_NO_CELL: Final[Image] = np.empty((0, 0, 3), np.uint8)


def cells_among(frames: range, frame_count: int) -> dict[int, Image]:
    """Those of a video's frames that its sheet shows and that are among ``frames``, without their pictures yet."""
    return {frame: _NO_CELL for frame in chosen_frames(frame_count) if frame in frames}


async def put_cells(store: ObjectStore, key: str, cells: dict[int, Image]) -> None:
    """Keep the pictures of a part's frames; a part without any keeps nothing."""
    if cells:
        buffer = io.BytesIO()
        np.save(buffer, np.stack(list(cells.values())), allow_pickle=False)
        await store.put_bytes(key, buffer.getvalue())


async def sheet_of(store: ObjectStore, parts: Sequence[tuple[range, str]], frame_count: int) -> bytes:
    """The sheet as JPEG, of the frames of all parts and the keys of their cells, in order."""
    cells: list[Image] = []
    for frames, key in parts:
        if cells_among(frames, frame_count):
            cells += list(np.load(io.BytesIO(await store.get_bytes(key)), allow_pickle=False))
    return await in_thread(lambda: encode_picture(compose(cells), ".jpg", _QUALITY))
