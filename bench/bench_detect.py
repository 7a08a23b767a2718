"""Detection and tracking of a whole video by the mesh, against a loop that a user would write, and OpenVINO itself.

::

    make bench-detect VIDEO=lobby.mp4 MODEL=yolox_nano OUT=out/bench

``MODEL`` is a detector of the manifest; its file is looked for in ``KINEMESH_MODELS_MIRROR`` first, or in the folder
``models`` of ``KINEMESH_TEST_DATA``. The mesh runs the whole ``instructor`` job: upload, detection, tracking,
refinement, figures, and the session made playable. Writes ``OUT/detect.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from bench_pose import choose_video, run_job, show_table
from memory import peaks_mb

from kinemesh.inference.client import TritonClient
from kinemesh.inference.detector import Boxes, Detector, Letterbox, detector, find, letterbox, padded
from kinemesh.inference.settings import TritonSettings
from kinemesh.media import build_index, decode
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_flight
from kinemesh_client import Job, KinemeshClient
from kinemesh_client.local import find_models
from kinemesh_client.temporary import temporary_mesh

_HERE: Final = Path(__file__).parent
_LIMIT_S: Final = 3600.0
_CLIP: Final = "media/intel_one-by-one-person.mp4"
_FRAMES: Final = 1200
_PICTURES: Final = 100
_IN_FLIGHT: Final = 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Detection and tracking against the plain loop and OpenVINO.")
    parser.add_argument("--video", default="", help="intel_one-by-one-person.mp4 of KINEMESH_TEST_DATA by default")
    parser.add_argument("--model", default="yolox_nano")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    look_in_test_data()
    with tempfile.TemporaryDirectory() as folder:
        video = choose_video(arguments.video, Path(folder), _CLIP)
        rounds = [asyncio.run(run_round(video, arguments.model, Path(folder))) for _ in range(arguments.rounds)]
    result = summary(rounds, video, arguments.model)
    (arguments.out / "detect.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def look_in_test_data() -> None:
    """Have the files of models taken from the test data, where nothing else is said."""
    data = os.environ.get("KINEMESH_TEST_DATA")
    if data and (Path(data) / "models").is_dir():
        os.environ.setdefault("KINEMESH_MODELS_MIRROR", str(Path(data) / "models"))


async def run_round(video: Path, model: str, folder: Path) -> dict[str, Any]:
    """A fresh mesh, which does the job twice; then, in turn, its model server, OpenVINO and the loop alone."""
    async with temporary_mesh("default") as mesh:
        await mesh.start()
        async with KinemeshClient(mesh.http_url) as client:
            await client.add_model(model)
            await client.wait_for_model(model)
            stages = [s for p in (await client.list_pipelines()).items if p.name == "instructor" for s in p.stages]
            job, seconds, added = await run_job(client, "instructor", stages, video, {"model": model})
            rows = await track_rows(client, job, folder)
            _, warm_s, _ = await run_job(client, "instructor", stages, video, {"model": model})
        triton_fps, pictures = await run_triton(f"127.0.0.1:{mesh.ports.triton[0]}", model, video)
        weights = next((mesh.layout.data("models") / model / "1").glob("*.onnx"))
        (folder / "model.onnx").write_bytes(weights.read_bytes())
        peaks = peaks_mb(mesh)
    np.save(folder / "pictures.npy", pictures)
    python = str(find_models("default").python)
    direct = run(python, "openvino_direct.py", folder / "model.onnx", folder / "pictures.npy", "--frames", _FRAMES)
    loop = run(sys.executable, "detect_loop.py", video, folder / "model.onnx")
    frames = int(job.raw["summary"]["source_frame_count"])
    return {
        "mesh_fps": frames / seconds,
        "warm_fps": frames / warm_s,
        "triton_fps": triton_fps,
        "openvino_direct_fps": direct["fps"],
        "loop_fps": loop["fps"],
        "frames": frames,
        "persons": int(job.raw["summary"]["tracks"]),
        "persons_per_frame": rows / frames,
        "loop_tracks": loop["tracks"],
        "stages": added,
        "peak_rss_mb": {**peaks, "plain_loop": loop["peak_rss_mb"]},
    }


async def track_rows(client: KinemeshClient, job: Job, folder: Path) -> int:
    """Boxes of everybody in all frames."""
    output = next(output for output in job.outputs if output.name == "tracks.parquet")
    path = await client.download(job.job_id, output, folder / output.name)
    return int(pq.read_metadata(path).num_rows)


async def run_triton(endpoint: str, model: str, video: Path) -> tuple[float, Image]:
    """Pictures per second of the mesh's model server, decoding and suppression of boxes included, and the pictures."""
    async with TritonClient(TritonSettings(endpoint=endpoint, max_in_flight=_IN_FLIGHT)) as triton:
        chosen = await detector(triton, model)
        index = build_index(video)
        box = letterbox(chosen, index.width, index.height)
        frames = islice(decode(video, index, size=box.size), _PICTURES)
        pictures = np.stack([padded(frame.image, box) for frame in frames])
        await infer(triton, chosen, box, pictures, _IN_FLIGHT)
        started = time.perf_counter()
        await infer(triton, chosen, box, pictures, _FRAMES)
        return _FRAMES / (time.perf_counter() - started), pictures


async def infer(triton: TritonClient, chosen: Detector, box: Letterbox, pictures: Image, count: int) -> None:
    async def each() -> AsyncGenerator[Image, None]:
        for number in range(count):
            yield pictures[number % len(pictures)]

    async def one(picture: Image) -> Boxes:
        return await find(triton, chosen, box, picture)

    async for _ in in_flight(each(), one, _IN_FLIGHT):
        pass


def run(python: str, script: str, *arguments: object) -> dict[str, Any]:
    """What a script of this folder measures."""
    command = [python, str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, check=True, timeout=_LIMIT_S, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def summary(rounds: list[dict[str, Any]], video: Path, model: str) -> dict[str, Any]:
    """Medians over the rounds; of memory the maximum."""

    def median(of: str, by: str = "") -> float:
        return round(float(statistics.median(one[of] / (one[by] if by else 1.0) for one in rounds)), 3)

    first = rounds[0]
    return {
        "mesh_fps": median("mesh_fps"),
        "warm_fps": median("warm_fps"),
        "loop_fps": median("loop_fps"),
        "triton_fps": median("triton_fps"),
        "openvino_direct_fps": median("openvino_direct_fps"),
        "ratio": median("mesh_fps", "loop_fps"),
        "warm_ratio": median("warm_fps", "loop_fps"),
        "triton_by_openvino": median("triton_fps", "openvino_direct_fps"),
        "persons": first["persons"],
        "persons_per_frame": round(first["persons_per_frame"], 2),
        "loop_tracks": first["loop_tracks"],
        "stages": first["stages"],
        "peak_rss_mb": {name: max(one["peak_rss_mb"][name] for one in rounds) for name in first["peak_rss_mb"]},
        "frames": first["frames"],
        "video": video.name,
        "model": model,
        "cores": os.cpu_count(),
        "rounds": [{name: round(one[name], 2) for name in ("mesh_fps", "loop_fps")} for one in rounds],
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    show_table(
        f"{result['video']}, {result['model']}: {result['frames']} frames on {result['cores']} cores",
        {
            "mesh, upload to playable session and figures": result["mesh_fps"],
            "mesh, the same once more": result["warm_fps"],
            "plain loop": result["loop_fps"],
            "model server alone": result["triton_fps"],
            "OpenVINO called directly": result["openvino_direct_fps"],
        },
        result["stages"],
        result["peak_rss_mb"],
    )
    print(f"mesh by loop {result['ratio']:.2f}, once more {result['warm_ratio']:.2f}")
    print(f"model server by OpenVINO {result['triton_by_openvino']:.2f}")
    print(f"persons {result['persons']}, {result['persons_per_frame']} a frame")
    print(f"tracks of the loop {result['loop_tracks']}")


if __name__ == "__main__":
    main()
