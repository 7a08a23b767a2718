"""Tables of finished jobs on this machine's disk, as many as there is room for."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from kinemesh.errors import NotFound, ResourceExhausted
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectInfo, ObjectStore

_FILES: Final = ("sightings.parquet", "trajectories.parquet", "identities.json")
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class JobTables:
    """A job's tables, and the clock that they count by.

    :ivar recordings: by name: camera, width, height, and steps from frame to frame.
    """

    job_id: str
    sightings: Path
    paths: Path
    start_sec: float
    rate: float
    recordings: dict[str, tuple[str, int, int, int]]


class Tables:
    """Fetches tables when they are asked for; when room is needed, those unused for longest go.

    Not for several callers at once: what one reads, another might make room with.

    :param folder: one that nothing else writes to, and that goes when the process does.
    """

    def __init__(self, store: ObjectStore, folder: Path, most_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._most = most_bytes
        self._held: OrderedDict[Path, int] = OrderedDict()
        self._used: dict[Path, float] = {}

    async def of(self, job_ids: Sequence[str]) -> list[JobTables]:
        """The tables of jobs; those that were deleted meanwhile are left out.

        :raises ResourceExhausted: QUERY_TOO_LARGE, if there is no room for all of them.
        """
        gate = asyncio.Semaphore(_AT_ONCE)

        async def known(job_id: str) -> list[ObjectInfo] | None:
            async with gate:
                try:
                    return [await self._store.stat(keys.output(job_id, name)) for name in _FILES]
                except NotFound:
                    return None

        found = await asyncio.gather(*(known(job_id) for job_id in job_ids))
        wanted = [(job_id, infos) for job_id, infos in zip(job_ids, found, strict=True) if infos is not None]
        size = sum(info.size for _, infos in wanted for info in infos)
        if size > self._most:
            raise ResourceExhausted(
                "QUERY_TOO_LARGE",
                "The results of so many jobs cannot be searched at once; name fewer jobs.",
                jobs=len(wanted),
                size_bytes=size,
            )
        await self._make_room({self._path(job_id, info) for job_id, infos in wanted for info in infos}, size)
        return [await self._tables(job_id, infos) for job_id, infos in wanted]

    async def _tables(self, job_id: str, infos: Sequence[ObjectInfo]) -> JobTables:
        paths = [self._path(job_id, info) for info in infos]
        for path, info in zip(paths, infos, strict=True):
            if path not in self._held:
                await self._store.get_file(info.key, path)
                self._held[path] = info.size
            self._held.move_to_end(path)
            self._used[path] = time.monotonic()
        clock = orjson.loads(await asyncio.to_thread(paths[2].read_bytes))["clock"]
        return JobTables(
            job_id,
            paths[0],
            paths[1],
            clock["start_sec"],
            clock["rate"],
            {
                one["recording"]: (one["camera"], one["width"], one["height"], one["steps_per_frame"])
                for one in clock["recordings"]
            },
        )

    async def _make_room(self, wanted: set[Path], size: int) -> None:
        """Drop what is older than the results themselves are now, and then what nobody asked for lately."""
        jobs = {path.name.partition("~")[0] for path in wanted}
        stale = [path for path in self._held if path not in wanted and path.name.partition("~")[0] in jobs]
        held = size + sum(length for path, length in self._held.items() if path not in wanted)
        for path in [*stale, *(path for path in self._held if path not in wanted and path not in stale)]:
            if path not in stale and held <= self._most:
                break
            held -= self._held[path]
            await self._drop(path)

    async def drop_unused(self, for_s: float) -> None:
        """Drop what nobody has asked for within so many seconds."""
        for path in [path for path in self._held if time.monotonic() - self._used[path] >= for_s]:
            await self._drop(path)

    async def _drop(self, path: Path) -> None:
        del self._held[path], self._used[path]
        await asyncio.to_thread(path.unlink, missing_ok=True)

    def _path(self, job_id: str, info: ObjectInfo) -> Path:
        etag = "".join(letter for letter in info.etag if letter.isalnum())
        return self._folder / f"{job_id}~{etag}~{info.key.rpartition('/')[2]}"
