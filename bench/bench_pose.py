"""The whole pose job against the loop that a user would write, on the same video, in turn.

::

    make bench-pose VIDEO=run.mp4 OUT=out/bench
    make bench

The mesh is ready before its clock starts; its time is that from the upload to the finished MP4. The loop
(``plain_loop.py``) uses the same networks and looks for as many people; its time leaves out the start of the process
and the loading of the networks. A round is a fresh mesh, which does the job twice, then the loop; figures are medians
over the rounds. ``mesh_fps`` and ``ratio`` are of the first job, ``warm_fps`` and ``warm_ratio`` of the second.
Writes ``OUT/pose.json``::

    mesh_fps, loop_fps, ratio   frames per second, and how many times as fast the mesh is
    warm_fps, warm_ratio        the same for the second job
    stages                      seconds that each stage adds
    peak_rss_mb                 most memory that each process had resident, with its children
    frames, rounds, cores, video

and both landmark tables, ``OUT/landmarks.parquet`` and ``OUT/plain_loop.npz``, and both videos.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs import follow
from memory import peaks_mb
from rich.console import Console
from rich.table import Table

from kinemesh_client import Job, KinemeshClient
from kinemesh_client.cli.demo import make_clip
from kinemesh_client.local import find_models
from kinemesh_client.stages import StageTimes
from kinemesh_client.temporary import temporary_mesh

_LOOP = Path(__file__).with_name("plain_loop.py")
_LOOP_S = 3600.0
_CLIP = "media/sports2d_demo.mp4"
_WANTED = ("annotated.mp4", "landmarks.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description="The pose job against the plain loop.")
    parser.add_argument("--video", default="", help="sports2d_demo.mp4 of KINEMESH_TEST_DATA, or else a made clip")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--max-persons", type=int, default=4)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        video = choose_video(arguments.video, Path(folder), _CLIP)
        bundle = Path(folder) / "pose_landmarker.task"
        python = str(find_models("default").python)
        subprocess.run([python, "-m", "kinemesh_models", "bundle", "--out", str(bundle)], check=True, timeout=300)
        rounds = []
        for number in range(arguments.rounds):
            mesh = asyncio.run(run_mesh(video, arguments.out, arguments.max_persons))
            loop = run_loop(python, video, bundle, arguments.out, arguments.max_persons)
            rounds.append({"mesh": mesh, "loop": loop})
            print(f"round {number + 1}: mesh {mesh['fps']:.1f}, loop {loop['fps']:.1f} frames/s", flush=True)
    result = summary(rounds, video)
    (arguments.out / "pose.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def choose_video(named: str, folder: Path, clip: str) -> Path:
    """The video to run on: the one named, else ``clip`` of the test data, else a made one."""
    if named:
        if not Path(named).is_file():
            raise SystemExit(f"There is no file {named}.")
        return Path(named)
    data = os.environ.get("KINEMESH_TEST_DATA")
    if data and (Path(data) / clip).is_file():
        return Path(data) / clip
    made = folder / "clip.mp4"
    asyncio.run(make_clip(made))
    return made


async def run_mesh(video: Path, out: Path, max_persons: int) -> dict[str, Any]:
    """The same job twice on a fresh mesh."""
    async with temporary_mesh("default") as mesh:
        await mesh.start()
        async with KinemeshClient(mesh.http_url) as client:
            pipelines = (await client.list_pipelines()).items
            stages = next(pipeline.stages for pipeline in pipelines if pipeline.name == "pose")
            parameters = {"max_persons": max_persons}
            job, seconds, added = await run_job(client, "pose", stages, video, parameters)
            for output in job.outputs:
                if output.name in _WANTED:
                    await client.download(job.job_id, output, out / output.name)
            _, warm_s, _ = await run_job(client, "pose", stages, video, parameters)
        frames = frame_count(job)
        return {
            "fps": frames / seconds,
            "warm_fps": frames / warm_s,
            "seconds": seconds,
            "frames": frames,
            "stages": added,
            "peak_rss_mb": peaks_mb(mesh),
        }


async def run_job(
    client: KinemeshClient, pipeline: str, stages: Sequence[str], video: Path, parameters: Mapping[str, Any]
) -> tuple[Job, float, dict[str, float]]:
    """A job, the seconds from its upload to its end, and those that each stage added."""
    times = StageTimes(stages)
    started = time.perf_counter()
    asset = await client.upload(video)
    uploaded = time.perf_counter()
    created = await client.create_job(pipeline, asset.asset_id, parameters)
    job = await follow(client, created.job_id, times.note)
    seconds = time.perf_counter() - started
    return job, seconds, {"upload": round(uploaded - started, 3), **times.seconds()}


def frame_count(job: Job) -> int:
    """Frames of the video that came out."""
    return int(job.raw["summary"]["frame_count"])


def run_loop(python: str, video: Path, bundle: Path, out: Path, max_persons: int) -> dict[str, Any]:
    """The plain loop, in the environment that holds MediaPipe."""
    command = [python, str(_LOOP), str(video), "--bundle", str(bundle), "--out", str(out)]
    done = subprocess.run(
        [*command, "--num-poses", str(max_persons)],
        check=True,
        timeout=_LOOP_S,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def summary(rounds: list[dict[str, Any]], video: Path) -> dict[str, Any]:
    """Medians over the rounds; of memory the maximum."""
    meshes, loops = [one["mesh"] for one in rounds], [one["loop"] for one in rounds]
    mesh_fps = statistics.median(mesh["fps"] for mesh in meshes)
    loop_fps = statistics.median(loop["fps"] for loop in loops)
    stages = {name: statistics.median(mesh["stages"].get(name, 0.0) for mesh in meshes) for name in meshes[0]["stages"]}
    peaks = {name: max(mesh["peak_rss_mb"].get(name, 0.0) for mesh in meshes) for name in meshes[0]["peak_rss_mb"]}
    return {
        "mesh_fps": round(mesh_fps, 2),
        "loop_fps": round(loop_fps, 2),
        "ratio": round(statistics.median(m["fps"] / p["fps"] for m, p in zip(meshes, loops, strict=True)), 3),
        "warm_fps": round(statistics.median(mesh["warm_fps"] for mesh in meshes), 2),
        "warm_ratio": round(statistics.median(m["warm_fps"] / p["fps"] for m, p in zip(meshes, loops, strict=True)), 3),
        "stages": stages,
        "peak_rss_mb": {**peaks, "plain_loop": max(loop["peak_rss_mb"] for loop in loops)},
        "frames": meshes[0]["frames"],
        "video": video.name,
        "cores": os.cpu_count(),
        "rounds": [
            {"mesh_fps": round(m["fps"], 2), "loop_fps": round(p["fps"], 2)} for m, p in zip(meshes, loops, strict=True)
        ],
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    show_table(
        f"{result['video']}: {result['frames']} frames on {result['cores']} cores",
        {
            "mesh, upload to finished MP4": result["mesh_fps"],
            "mesh, the same once more": result["warm_fps"],
            "plain loop": result["loop_fps"],
        },
        result["stages"],
        result["peak_rss_mb"],
    )
    print(f"ratio {result['ratio']:.2f}, once more {result['warm_ratio']:.2f}")


def show_table(title: str, fps: Mapping[str, float], stages: Mapping[str, float], peaks: Mapping[str, float]) -> None:
    """Print frames per second, seconds that each stage adds, and most memory that each process had."""
    console = Console(highlight=False)
    table = Table(title=title, box=None)
    table.add_column("")
    table.add_column("frames/s", justify="right")
    for name, value in fps.items():
        table.add_row(name, f"{value:.1f}")
    console.print(table)
    console.print("seconds  ", "  ".join(f"{name} {value:.2f}" for name, value in stages.items()))
    console.print("peak MiB ", "  ".join(f"{name} {value:.0f}" for name, value in peaks.items()))


if __name__ == "__main__":
    main()
