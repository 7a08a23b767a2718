"""The loop a user would write today: OpenCV capture, onnxruntime, suppression of overlaps, ByteTrack, in turn.

::

    .venv/bin/python bench/detect_loop.py VIDEO MODEL.onnx

Knows YOLOX's head and RTMDet's boxes, as their files from upstream have them. Prints one JSON object; the time leaves
out the start of the process and the loading of the network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import supervision
from numpy.typing import NDArray
from peak import peak_mb
from trackers import ByteTrackTracker

_SIZE = 416
_LEAST_SCORE = 0.1
_MOST_OVERLAP = 0.65

Found = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # boxes in input pixels, scores, classes


def main() -> None:
    parser = argparse.ArgumentParser(description="The plain loop: OpenCV, onnxruntime, ByteTrack.")
    parser.add_argument("video", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    session = onnxruntime.InferenceSession(str(arguments.model), providers=["CPUExecutionProvider"])
    detect = yolox(session) if len(session.get_outputs()) == 1 else rtmdet(session)
    started = time.perf_counter()
    frames, ids = track(arguments.video, detect)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "frames": frames,
                "seconds": seconds,
                "fps": frames / seconds,
                "tracks": len(ids),
                "peak_rss_mb": round(peak_mb(), 1),
            }
        )
    )


def track(video: Path, detect: Callable[[Any], Found]) -> tuple[int, set[int]]:
    """Frames of the video, and the ids that were given to what it shows."""
    capture = cv2.VideoCapture(str(video))
    tracker = ByteTrackTracker(frame_rate=capture.get(cv2.CAP_PROP_FPS) or 30.0)
    ids: set[int] = set()
    frames = 0
    while True:
        more, frame = capture.read()
        if not more:
            return frames, ids
        height, width = frame.shape[:2]
        scale = min(_SIZE / width, _SIZE / height)
        image = np.full((_SIZE, _SIZE, 3), 114, np.uint8)
        small = cv2.resize(frame, (round(width * scale), round(height * scale)))
        image[: small.shape[0], : small.shape[1]] = small
        boxes, scores, classes = detect(image)
        found: Any = tracker.update(
            supervision.Detections(xyxy=boxes / scale, confidence=scores, class_id=classes.astype(int))
        )
        ids |= {int(number) for number in found.tracker_id if number >= 0}
        frames += 1


def yolox(session: Any) -> Callable[[Any], Found]:
    """YOLOX: BGR 0–255 in; per cell of three grids offset, size, objectness and classes out."""
    name = session.get_inputs()[0].name
    cells = []
    for stride in (8, 16, 32):
        side = _SIZE // stride
        y, x = np.mgrid[:side, :side]
        cells.append(np.stack([x.ravel(), y.ravel(), np.full(side * side, stride)], axis=1))
    grid = np.concatenate(cells).astype(np.float32)

    def detect(image: Any) -> Found:
        tensor = image.transpose(2, 0, 1)[None].astype(np.float32)
        raw = session.run(None, {name: tensor})[0][0]
        centre = (raw[:, :2] + grid[:, :2]) * grid[:, 2:]
        size = np.exp(raw[:, 2:4]) * grid[:, 2:]
        scores = raw[:, 4:5] * raw[:, 5:]
        classes = scores.argmax(axis=1)
        best = scores.max(axis=1)
        kept = best > _LEAST_SCORE
        boxes = np.concatenate([centre - size / 2, size], axis=1)[kept]
        suppressed: Any = cv2.dnn.NMSBoxesBatched(boxes, best[kept], classes[kept], _LEAST_SCORE, _MOST_OVERLAP)
        chosen = np.asarray(suppressed, int).ravel()
        boxes = boxes[chosen]
        return (
            np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
            best[kept][chosen],
            classes[kept][chosen],
        )

    return detect


def rtmdet(session: Any) -> Callable[[Any], Found]:
    """RTMDet: normalised BGR in, boxes out."""
    name = session.get_inputs()[0].name
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    deviation = np.array([57.375, 57.12, 58.395], np.float32)

    def detect(image: Any) -> Found:
        tensor = ((image.astype(np.float32) - mean) / deviation).transpose(2, 0, 1)[None]
        boxes, classes = session.run(None, {name: tensor})
        kept = boxes[0, :, 4] > _LEAST_SCORE
        return boxes[0, kept, :4], boxes[0, kept, 4], classes[0, kept]

    return detect


if __name__ == "__main__":
    main()
