"""The loop a user would write today: OpenCV capture, MediaPipe PoseLandmarker in VIDEO mode, draw, VideoWriter.

Runs in the model server's environment (it holds mediapipe)::

    triton_models/.venv/bin/python -m kinemesh_models bundle --out pose_landmarker.task
    triton_models/.venv/bin/python bench/plain_loop.py VIDEO --bundle pose_landmarker.task --out OUT

Writes ``OUT/plain_loop.mp4`` and ``OUT/plain_loop.npz`` with one row per frame and person (``frame`` [R] int32,
``landmarks`` [R,33,5] float32: x, y as fractions of width and height, z, visibility, presence; ``world`` [R,33,3]
float32 metres) and prints one JSON object.

OpenCV before 5 decodes BT.709 video with BT.601 colours, which moves landmarks by up to 0.003 of the width. To compare
landmarks on the very same frames, pipe them in: ``--raw WIDTHxHEIGHT@FPS`` reads RGB24 from standard input instead of
VIDEO, and then only the landmarks are written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from peak import peak_mb

Row = tuple[int, Any, Any]  # frame index, landmarks, world landmarks

_BONES = [(c.start, c.end) for c in vision.PoseLandmarksConnections.POSE_LANDMARKS]


def main() -> None:
    parser = argparse.ArgumentParser(description="The plain loop: OpenCV, MediaPipe in VIDEO mode, draw, write.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("video", type=Path, nargs="?")
    source.add_argument("--raw", help="WIDTHxHEIGHT@FPS: RGB24 frames on standard input")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num-poses", type=int, default=4)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(arguments.bundle)),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=arguments.num_poses,
    )
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        started = time.perf_counter()
        if arguments.raw:
            frames, rows = estimate_piped(landmarker, arguments.raw)
        else:
            frames, rows = annotate(landmarker, arguments.video, arguments.out / "plain_loop.mp4")
        seconds = time.perf_counter() - started
    save(arguments.out / "plain_loop.npz", rows)
    measured = {"frames": frames, "poses": len(rows), "seconds": seconds, "fps": frames / seconds}
    print(json.dumps({**measured, "peak_rss_mb": round(peak_mb(), 1)}))


def annotate(landmarker: Any, video: Path, out: Path) -> tuple[int, list[Row]]:
    """Read, estimate, draw, write. Returns the number of frames and the poses."""
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    rows: list[Row] = []
    index = 0
    while True:
        more, frame = capture.read()
        if not more:
            break
        found = estimate(landmarker, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), index, rate)
        for _, pose, _ in found:
            draw(frame, pose)
        writer.write(frame)
        rows += found
        index += 1
    writer.release()
    return index, rows


def estimate_piped(landmarker: Any, form: str) -> tuple[int, list[Row]]:
    """The poses of RGB24 frames on standard input. Returns the number of frames and the poses."""
    size, _, rate = form.partition("@")
    width, height = map(int, size.split("x"))
    rows: list[Row] = []
    index = 0
    while len(data := sys.stdin.buffer.read(width * height * 3)) == width * height * 3:
        frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        rows += estimate(landmarker, frame, index, float(rate))
        index += 1
    return index, rows


def estimate(landmarker: Any, rgb: Any, index: int, rate: float) -> list[Row]:
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb)
    result = landmarker.detect_for_video(image, round(index * 1000 / rate))
    pairs = zip(result.pose_landmarks, result.pose_world_landmarks, strict=True)
    return [(index, pose, world) for pose, world in pairs]


def draw(frame: Any, pose: Any) -> None:
    height, width = frame.shape[:2]
    points = [(round(point.x * width), round(point.y * height)) for point in pose]
    for start, end in _BONES:
        cv2.line(frame, points[start], points[end], (0, 255, 0), 2)
    for point in points:
        cv2.circle(frame, point, 3, (0, 0, 255), -1)


def save(path: Path, rows: list[Row]) -> None:
    poses = [[(p.x, p.y, p.z, p.visibility, p.presence) for p in pose] for _, pose, _ in rows]
    worlds = [[(p.x, p.y, p.z) for p in world] for _, _, world in rows]
    np.savez(
        path,
        frame=np.array([index for index, _, _ in rows], np.int32),
        landmarks=np.array(poses, np.float32).reshape(-1, 33, 5),
        world=np.array(worlds, np.float32).reshape(-1, 33, 3),
    )


if __name__ == "__main__":
    main()
