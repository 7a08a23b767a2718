"""What the stage match does, on one made-up picture."""

from __future__ import annotations

import cv2
import numpy as np

from kinemesh_matcher import features_parquet
from kinemesh_matcher.domain.features import detect
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.following import place
from kinemesh_matcher.domain.matching import side_of

_SIDE = 320
_STILL = 1


def rehearse() -> None:
    """Look for features, match, follow; raises whatever a job would fail with."""
    noise = np.random.default_rng(0).integers(0, 255, (_SIDE // 8, _SIDE // 8), np.uint8)
    wall = np.asarray(cv2.resize(noise, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
    features = features_parquet.from_bytes(features_parquet.to_bytes(detect(wall)))
    reference = side_of(features, _SIDE, _SIDE)
    first = place(wall, 0, [], None, reference, Model.HOMOGRAPHY, 1000)
    place(wall, _STILL, [], first.anchor, reference, Model.HOMOGRAPHY, 1000)
