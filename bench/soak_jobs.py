"""Jobs of all kinds that end in all ways, and leave nothing: each brings its clip, and takes it away again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kinemesh.errors import KinemeshError
from kinemesh.media.synthetic import write_clip
from kinemesh_client import Job, KinemeshClient

SUCCEED, CANCEL, FAIL, DELETE = "succeed", "cancel", "fail", "delete"
_ZONE: Final = {"zone": "all", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}
_PIPELINES: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("pose", {"max_persons": 2}),
    ("pitstop", {"model": "person_detector"}),
    ("instructor", {"model": "person_detector"}),
    ("pose", {"smooth": True, "blur_faces": True}),
    ("route_match", {"reference": "wall-vertical"}),
)
_FATES: Final = (SUCCEED, SUCCEED, SUCCEED, CANCEL, SUCCEED, FAIL, SUCCEED, DELETE)
_DEADLINE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Clips:
    """A clip that works, and one whose frames are rubbish, which only decoding finds."""

    good: Path
    broken: Path


def write_clips(folder: Path) -> Clips:
    """Write both."""
    good, broken = folder / "good.mp4", folder / "broken.mp4"
    write_clip(good, pts=[3000 * number for number in range(24)], gop=12)
    data = good.read_bytes()
    start = data.index(b"mdat") + 4
    noise = random.Random(7).randbytes(len(data))
    end = start + (int.from_bytes(data[start - 8 : start - 4], "big") - 8)
    broken.write_bytes(data[:start] + noise[start:end] + data[end:])
    return Clips(good, broken)


async def run_one(client: KinemeshClient, clips: Clips, number: int) -> str:
    """Run the job of a number to its end, and delete it and its clip; answers with how it ended, ``DELETED`` if it was
    deleted while it ran.
    """
    pipeline, parameters = _PIPELINES[number % len(_PIPELINES)]
    fate = _FATES[number % len(_FATES)]
    async with asyncio.timeout(_DEADLINE_S):
        try:
            asset = await client.upload(clips.broken if fate == FAIL else clips.good, keep_refused=False)
        except KinemeshError:
            if fate != FAIL:
                raise
            return "REFUSED"
        read: str | list[str] = [asset.asset_id] if pipeline == "route_match" else asset.asset_id
        job = await client.create_job(pipeline, read, parameters)
        try:
            ended = await _ended(client, job, fate)
        finally:
            if fate != DELETE:
                await client.delete_job(job.job_id)
            await client.delete_asset(asset.asset_id)
        return ended


async def _ended(client: KinemeshClient, job: Job, fate: str) -> str:
    async for event in client.watch(job.job_id):
        if event.kind == "progress" and fate in (CANCEL, DELETE):
            if fate == DELETE:
                await client.delete_job(job.job_id)
                return "DELETED"
            if not (await client.get_job(job.job_id)).is_over:
                await client.cancel_job(job.job_id)
    return (await client.get_job(job.job_id)).state
