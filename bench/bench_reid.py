"""How well embedders tell people apart: rank-1 on crops that are cut from a video by tracked identity.

::

    make bench-reid VIDEO=crowd.mp4 OUT=out/bench

The mesh tracks the video (job ``instructor``, RTMDet). Of everybody who is often seen well (whole, hardly hidden,
64 pixels tall), up to eight crops are cut, spread evenly over the track. Those of its first half are asked for, those
of its second half are answers: ``crop`` is the share of crops whose nearest answer shows the same person, ``track`` the
same of the means of each half. Writes ``OUT/reid.json``. Models are looked for as ``bench-detect`` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from bench_detect import look_in_test_data
from bench_pose import choose_video
from jobs import follow
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kinemesh.inference.client import TritonClient
from kinemesh.inference.embedder import crops, embed, embedder
from kinemesh.inference.settings import TritonSettings
from kinemesh.media import build_index, decode
from kinemesh_client import KinemeshClient
from kinemesh_client.temporary import temporary_mesh
from kinemesh_detect_track.domain.quality import hidden, shown

_CLIP: Final = "media/supervision_crowd_walking.mp4"
_DETECTOR: Final = "rtmdet_nano_person"
_EMBEDDERS: Final = ("person_reid_0287", "person_reid_0248")
_DEFAULT: Final = "person_colors"
_FEWEST: Final = 20
_CROPS: Final = 8
_LEAST_SCORE: Final = 0.5
_LEAST_HEIGHT: Final = 64
_MOST_HIDDEN: Final = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description="Rank-1 of embedders on crops of tracked people.")
    parser.add_argument("--video", default="", help="supervision_crowd_walking.mp4 of KINEMESH_TEST_DATA by default")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    look_in_test_data()
    with tempfile.TemporaryDirectory() as folder:
        video = choose_video(arguments.video, Path(folder), _CLIP)
        result = asyncio.run(measure(video, Path(folder)))
    (arguments.out / "reid.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


async def measure(video: Path, folder: Path) -> dict[str, Any]:
    """Track, cut, embed with each embedder, compare."""
    async with temporary_mesh("default") as mesh:
        await mesh.start()
        async with KinemeshClient(mesh.http_url) as client:
            for name in (_DETECTOR, *_EMBEDDERS):
                await client.add_model(name)
                await client.wait_for_model(name)
            asset = await client.upload(video)
            job = await client.create_job("instructor", asset.asset_id, {"model": _DETECTOR})
            job = await follow(client, job.job_id, lambda _: None)
            output = next(output for output in job.outputs if output.name == "tracks.parquet")
            table = await client.download(job.job_id, output, folder / output.name)
        person, first, pictures = cut(video, table)
        async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{mesh.ports.triton[0]}")) as triton:
            found = {}
            for name in (*_EMBEDDERS, _DEFAULT):
                vectors = await embed(triton, await embedder(triton, name), pictures)
                found[name] = rank1(vectors, person, first)
    return {"video": video.name, "people": len(np.unique(person)), "crops": len(person), "rank1": found}


def cut(video: Path, table: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.uint8]]:
    """Crops [N, 256, 128, 3] of the video, whom each shows [N], and whether it is of a track's first half [N]."""
    rows = pq.read_table(table)
    frame, track, score = (rows[name].to_numpy() for name in ("frame_index", "track_id", "score"))
    box = np.stack([rows[name].to_numpy() for name in ("x1", "y1", "x2", "y2")], axis=1).astype(np.float64)
    index = build_index(video)
    good = (score > _LEAST_SCORE) & (box[:, 3] - box[:, 1] >= _LEAST_HEIGHT) & ~rows["interpolated"].to_numpy()
    good &= shown(box, index.width, index.height) == 1
    for at in np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1):
        good[at] &= hidden(box[at]) <= _MOST_HIDDEN
    chosen, first = [], []
    for number in np.unique(track):
        of_person = np.flatnonzero((track == number) & good)
        if len(of_person) >= _FEWEST:
            chosen.append(of_person[np.linspace(0, len(of_person) - 1, _CROPS).round().astype(int)])
            first.append(np.arange(_CROPS) < _CROPS // 2)
    picked, halves = np.concatenate(chosen), np.concatenate(first)
    pictures = np.zeros((len(picked), 256, 128, 3), np.uint8)
    for number, shot in enumerate(decode(video, index)):
        here = np.flatnonzero(frame[picked] == number)
        if len(here):
            pictures[here] = crops(shot.image, box[picked[here]])
    return track[picked].astype(np.int64), halves, pictures


def rank1(vectors: NDArray[np.float32], person: NDArray[np.int64], first: NDArray[np.bool_]) -> dict[str, float]:
    """Shares of crops, and of tracks' means, whose nearest in the other half is the same person."""
    nearest = (vectors[first] @ vectors[~first].T).argmax(axis=1)
    numbers = np.unique(person)
    means = [
        np.stack([vectors[half & (person == number)].mean(axis=0) for number in numbers]) for half in (first, ~first)
    ]
    asked, answers = (mean / np.linalg.norm(mean, axis=1, keepdims=True) for mean in means)
    return {
        "crop": round(float((person[~first][nearest] == person[first]).mean()), 4),
        "track": round(float(((asked @ answers.T).argmax(axis=1) == np.arange(len(numbers))).mean()), 4),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table(title=f"{result['people']} people, {result['crops']} crops of {result['video']}", box=None)
    for column in ("embedder", "rank-1 by crop", "by track"):
        table.add_column(column, justify="left" if column == "embedder" else "right")
    for name, figures in result["rank1"].items():
        table.add_row(name, f"{figures['crop']:.3f}", f"{figures['track']:.3f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
