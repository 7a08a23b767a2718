"""Average precision of found boxes, by pycocotools."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kinemesh_training.pictures import Picture


@dataclass(frozen=True)
class Precision:
    """COCO's average precision of people, in percent: at an overlap of 0.5, and over 0.5 to 0.95."""

    ap50: float
    ap: float
    pictures: int
    people: int


def by_source(pictures: Sequence[Picture], found: Mapping[str, NDArray[np.float32]]) -> dict[str, Precision]:
    """Precision for each folder of labelled pictures.

    Args:
        pictures: with their true boxes.
        found: by a picture's name float32 [N, 5], x1 y1 x2 y2 score in its pixels.
    """
    sources: dict[str, list[Picture]] = {}
    for picture in pictures:
        if not picture.labelled:
            continue
        sources.setdefault(PurePosixPath(picture.name).parent.name, []).append(picture)
    return {source: _precision(some, found) for source, some in sources.items()}


def _precision(pictures: Sequence[Picture], found: Mapping[str, NDArray[np.float32]]) -> Precision:
    annotations: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for number, picture in enumerate(pictures):
        for x1, y1, x2, y2 in picture.boxes.tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
        results += [
            {"image_id": number, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for x1, y1, x2, y2, score in found[picture.name].tolist()
        ]
    if not annotations or not results:
        return Precision(0.0, 0.0, len(pictures), len(annotations))
    # It prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(len(pictures))],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        truth.createIndex()
        measured = COCOeval(truth, truth.loadRes(results), "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return Precision(100 * float(measured.stats[1]), 100 * float(measured.stats[0]), len(pictures), len(annotations))
