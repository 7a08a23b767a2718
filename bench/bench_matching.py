"""Matching against the loop that a user would write: pairs of pictures, and the frames of a clip.

::

    make bench-matching PAIRS=pairs OUT=out/bench

``PAIRS`` holds pictures named ``nameA.*`` and ``nameB.*``. Each pair is matched by ours and by OpenCV's plain way
(``detectAndCompute`` on both pictures, FLANN, ratio test 0.75, ``findHomography`` with RANSAC and 3 pixels). Then a
hand-held camera is moved over the first picture of the first pair, and the same is done frame by frame: ours as the
stage match does it, with the reference's features computed once. Writes ``OUT/matching.json``; no annotation is read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kinemesh.geometry.homography import apply
from kinemesh.media.picture import decode_picture
from kinemesh.testing.climbs import RATE, camera
from kinemesh_matcher.domain.features import detect, grey_of
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.following import Anchor, place
from kinemesh_matcher.domain.matching import Match, match, side_of

Grey = NDArray[np.uint8]
Floats = NDArray[np.float64]

_PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_MOST_PIXELS: Final = 100_000_000
_FEATURES: Final = 4000
_CLIP_FEATURES: Final = 3000
_SIZE: Final = (1280, 720)
_RATIO: Final = 0.75
_RANSAC_PX: Final = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Matching against the plain loop.")
    parser.add_argument("--pairs", type=Path, required=True, help="a folder of nameA.*, nameB.*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60, help="of the clip; 0 leaves it out")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    pairs = pairs_of(arguments.pairs)
    if not pairs:
        parser.error("the folder holds no pair of pictures named nameA.* and nameB.*")
    result: dict[str, Any] = {"pairs": {name: measure(*paths) for name, paths in pairs.items()}}
    if arguments.frames:
        result["clip"] = measure_clip(read(next(iter(pairs.values()))[0]), arguments.frames)
    (arguments.out / "matching.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def pairs_of(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The pairs by name, in the order of their names."""
    pictures = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in _PICTURES}
    names = [stem[:-1] for stem in pictures if stem.endswith("A") and stem[:-1] + "B" in pictures]
    return {name: (pictures[name + "A"], pictures[name + "B"]) for name in names}


def read(path: Path) -> Grey:
    return grey_of(decode_picture(path.read_bytes(), _MOST_PIXELS))


def measure(a: Path, b: Path) -> dict[str, Any]:
    """One pair, both ways."""
    first, second = read(a), read(b)
    started = time.perf_counter()
    found = ours(first, second)
    ms = 1000 * (time.perf_counter() - started)
    plain, plain_inliers, plain_ms = timed_plain(first, second)
    quality = found.quality
    return {
        "verdict": quality.verdict.name,
        "reason": quality.reason,
        "matrix": None if found.matrix is None else found.matrix.tolist(),
        "inliers": quality.inliers,
        "matches": quality.matches,
        "coverage": round(quality.coverage, 4),
        "rms_error_px": None if found.matrix is None else round(quality.rms_error_px, 4),
        "ms": round(ms, 1),
        "plain_matrix": None if plain is None else plain.tolist(),
        "plain_inliers": plain_inliers,
        "plain_ms": round(plain_ms, 1),
    }


def ours(first: Grey, second: Grey) -> Match:
    sides = [side_of(detect(grey, _FEATURES), grey.shape[1], grey.shape[0]) for grey in (first, second)]
    return match(sides[0], sides[1], Model.HOMOGRAPHY)


def timed_plain(first: Grey, second: Grey, features: int = _FEATURES) -> tuple[Floats | None, int, float]:
    """OpenCV's plain way: the transform, its inliers, and milliseconds."""
    started = time.perf_counter()
    sift = cv2.SIFT.create(features)
    (keys, looks), (other_keys, other_looks) = (sift.detectAndCompute(grey, None) for grey in (first, second))
    matrix, inliers = None, 0
    if min(len(keys), len(other_keys)) > 1:
        flann = cv2.FlannBasedMatcher({"algorithm": 1, "trees": 5}, {"checks": 50})
        pairs = [pair for pair in flann.knnMatch(looks, other_looks, k=2) if len(pair) == 2]
        good = [best for best, next_best in pairs if best.distance < _RATIO * next_best.distance]
        if len(good) >= 4:
            here = np.array([keys[each.queryIdx].pt for each in good], np.float32)
            there = np.array([other_keys[each.trainIdx].pt for each in good], np.float32)
            matrix, agree = cv2.findHomography(here, there, cv2.RANSAC, _RANSAC_PX)
            inliers = 0 if matrix is None else int(agree.sum())
    ms = 1000 * (time.perf_counter() - started)
    return None if matrix is None else np.asarray(matrix, np.float64), inliers, ms


def measure_clip(wall: Grey, count: int) -> dict[str, Any]:
    """The frames of a moving camera, both ways, with the error of each against what the camera did."""
    height, width = wall.shape
    matrices = [camera(number / RATE, (width, height), _SIZE) for number in range(count)]
    frames = [
        np.asarray(cv2.warpPerspective(wall, matrix, _SIZE, flags=cv2.INTER_AREA), np.uint8) for matrix in matrices
    ]
    truth = [np.asarray(np.linalg.inv(matrix), np.float64) for matrix in matrices]
    started = time.perf_counter()
    reference = side_of(detect(wall), width, height)
    preparing = time.perf_counter() - started
    before: Anchor | None = None
    placed = []
    started = time.perf_counter()
    for number, frame in enumerate(frames):
        found = place(frame, number, [], before, reference, Model.HOMOGRAPHY, _CLIP_FEATURES)
        before = found.anchor
        placed.append(found.match.matrix)
    seconds = time.perf_counter() - started
    plain = [timed_plain(frame, wall, _CLIP_FEATURES) for frame in frames]
    plain_seconds = sum(ms for _, _, ms in plain) / 1000
    return {
        "frames": count,
        "reference_ms": round(1000 * preparing, 1),
        "ms_per_frame": round(1000 * seconds / count, 2),
        "plain_ms_per_frame": round(1000 * plain_seconds / count, 2),
        "ratio": round(plain_seconds / seconds, 2),
        "error_px": errors(placed, truth),
        "plain_error_px": errors([matrix for matrix, _, _ in plain], truth),
    }


def errors(found: Sequence[Floats | None], truth: Sequence[Floats]) -> dict[str, float | int]:
    """Root mean square and largest distance in pixels of the reference, over a grid of each frame, and frames without
    any."""
    x, y = np.meshgrid(np.linspace(0.1, 0.9, 9) * _SIZE[0], np.linspace(0.1, 0.9, 9) * _SIZE[1])
    grid = np.column_stack([x.ravel(), y.ravel()])
    away = [
        np.linalg.norm(apply(matrix, grid) - apply(true, grid), axis=1)
        for matrix, true in zip(found, truth, strict=True)
        if matrix is not None
    ]
    whole = np.concatenate(away) if away else np.full(1, np.inf)
    return {
        "rms": round(float(np.sqrt(np.square(whole).mean())), 3),
        "worst": round(float(whole.max()), 3),
        "missing": len(truth) - len(away),
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title="Matching against OpenCV's plain way")
    for column in ("pair", "verdict", "inliers", "plain", "ms", "plain ms"):
        table.add_column(column, justify="left" if column in ("pair", "verdict") else "right")
    for name, pair in result["pairs"].items():
        row = (pair["inliers"], pair["plain_inliers"], pair["ms"], pair["plain_ms"])
        table.add_row(name, f"{pair['verdict']} {pair['reason']}", *map(str, row))
    Console().print(table)
    if clip := result.get("clip"):
        Console().print(
            f"Clip: {clip['ms_per_frame']} ms a frame, plain loop {clip['plain_ms_per_frame']} ms: "
            f"{clip['ratio']} times as fast; "
            f"error {clip['error_px']['rms']} px, plain {clip['plain_error_px']['rms']} px."
        )


if __name__ == "__main__":
    main()
