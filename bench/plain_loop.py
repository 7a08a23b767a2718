"""The loop a user would write today: OpenCV capture, MediaPipe PoseLandmarker in VIDEO mode, draw, VideoWriter.

Runs in the model server's environment (it holds mediapipe)::

    triton_models/.venv/bin/python -m kinemesh_models bundle --out pose_landmarker.task
    triton_models/.venv/bin/python bench/plain_loop.py VIDEO --bundle pose_landmarker.task --out OUT

Writes ``OUT/plain_loop.mp4`` and ``OUT/plain_loop.npz`` with one row per frame and person (``frame`` [R] int32,
``landmarks`` [R,33,5] float32: x, y as fractions of width and height, z, visibility, presence; ``world`` [R,33,3]
float32 metres) and prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

_BONES = [(c.start, c.end) for c in vision.PoseLandmarksConnections.POSE_LANDMARKS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("video", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num-poses", type=int, default=4)
    parser.add_argument("--first-frame", type=int, default=0, help="frames before it are decoded but not looked at")
    parser.add_argument("--max-frames", type=int, default=None)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(run(arguments)))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(arguments.bundle)),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=arguments.num_poses,
    )
    capture = cv2.VideoCapture(str(arguments.video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(arguments.out / "plain_loop.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    rows: list[tuple[int, Any, Any]] = []
    index = 0
    started = time.perf_counter()
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        while arguments.max_frames is None or index < arguments.max_frames:
            more, frame = capture.read()
            if not more:
                break
            if index >= arguments.first_frame:
                image = mp.Image(image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
                result = landmarker.detect_for_video(image, round(index * 1000 / rate))
                for pose, world in zip(result.pose_landmarks, result.pose_world_landmarks, strict=True):
                    rows.append((index, pose, world))
                    draw(frame, pose)
                writer.write(frame)
            index += 1
    writer.release()
    seconds = time.perf_counter() - started
    save(arguments.out / "plain_loop.npz", rows)
    frames = index - arguments.first_frame
    return {"frames": frames, "poses": len(rows), "seconds": seconds, "fps": frames / seconds}


def draw(frame: Any, pose: Any) -> None:
    height, width = frame.shape[:2]
    points = [(round(point.x * width), round(point.y * height)) for point in pose]
    for start, end in _BONES:
        cv2.line(frame, points[start], points[end], (0, 255, 0), 2)
    for point in points:
        cv2.circle(frame, point, 3, (0, 0, 255), -1)


def save(path: Path, rows: list[tuple[int, Any, Any]]) -> None:
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
