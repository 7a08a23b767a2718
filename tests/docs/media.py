"""What the examples of the documentation read, made at run time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from kinemesh.media.synthetic import write_clip as write_numbered
from kinemesh.testing.onnx_networks import tiny_yolox
from kinemesh_client.clip import write_clip

FRAMES = 30
SIZE = (320, 180)


def write_media(folder: Path) -> None:
    """``run.mp4``, ``lesson.mp4``, ``stop.mp4``, ``x1.mp4``, ``x2.mp4``: a second each, with sound where it is looked
    for; ``photo.jpg``; ``wall.jpg``, ``monday.mp4`` and ``friday.mp4`` of it, half as long; ``best.onnx``;
    ``site.json``."""
    for name in ("run", "lesson", "stop", "x1", "x2"):
        write_numbered(folder / f"{name}.mp4", pts=[3000 * n for n in range(FRAMES)], size=SIZE, audio="aac")
    wall = _wall()
    assert cv2.imwrite(str(folder / "wall.jpg"), wall)
    assert cv2.imwrite(str(folder / "photo.jpg"), cv2.resize(wall, SIZE))
    for name in ("monday", "friday"):
        write_clip(folder / "wall.jpg", folder / f"{name}.mp4", seconds=0.5, size=(480, 270))
    tiny_yolox(folder / "best.onnx")
    corners, floor = [[0, 0], [320, 0], [320, 180], [0, 180]], [[0, 0], [8, 0], [8, 4.5], [0, 4.5]]
    site = {
        "environment_id": "shop",
        "cameras": [
            {
                "camera": camera,
                "videos": [f"{camera}.mp4"],
                "homography": {"image_points": corners, "map_points": floor},
            }
            for camera in ("x1", "x2")
        ],
        "zones": [{"zone": "door", "map": [[-9, -9], [9, -9], [9, 9], [-9, 9]]}],
        "ground_plane": {"unit": "m", "width": 8, "height": 4.5},
    }
    (folder / "site.json").write_text(json.dumps(site))


def _wall() -> np.ndarray:
    """A picture of a wall that looks different everywhere: uint8 [480, 640, 3]."""
    draw = np.random.default_rng(1)
    wall = draw.integers(90, 130, (480, 640, 3), dtype=np.uint8)
    for _ in range(220):
        x, y = int(draw.integers(0, 640)), int(draw.integers(0, 480))
        corners = np.add(draw.integers(-24, 24, (5, 2)), (x, y)).astype(np.int32)
        cv2.fillPoly(wall, [corners], draw.integers(0, 255, 3).tolist())
    return wall
