"""Matches as messages, and what messages ask for as the domain's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.common.v1 import common_pb2
from kinemesh.errors import InvalidArgument
from kinemesh.geometry.homography import Floats, checked
from kinemesh.job.v1 import parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.pose.v1 import pose_pb2
from kinemesh_matcher.domain.features import DEFAULT_FEATURES
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.following import Box
from kinemesh_matcher.domain.matching import Match, Quality

_LANDMARKS: Final = 33
_MOST_POSES: Final = 100
_MOST_MASKS: Final = 1000
_FEATURES: Final = range(100, 20_001)
_MOST_PIXELS: Final = 1 << 20


def to_model(asked: parameters_pb2.RouteMatchParameters) -> Model:
    """What the transforms of a job may do; ingest sets that of every job."""
    return _MODELS[asked.transform_model]


def model_of(options: matcher_pb2.MatchOptions) -> Model:
    """What the transform of a request may do.

    :raises InvalidArgument: UNKNOWN_VALUE
    """
    if options.model not in matcher_pb2.TransformModel.values():
        raise InvalidArgument("UNKNOWN_VALUE", "There is no such model.", field="options.model", value=options.model)
    return _MODELS.get(options.model, Model.AFFINE)


def features_of(options: matcher_pb2.MatchOptions) -> int:
    """How many features of a picture a request asks for.

    :raises InvalidArgument: OUT_OF_RANGE
    """
    if options.max_features and options.max_features not in _FEATURES:
        raise InvalidArgument(
            "OUT_OF_RANGE",
            f"max_features must lie between {_FEATURES[0]} and {_FEATURES[-1]}.",
            field="options.max_features",
        )
    return options.max_features or DEFAULT_FEATURES


def masks_of(options: matcher_pb2.MatchOptions) -> list[Box]:
    """Where a request says not to look.

    :raises InvalidArgument: OUT_OF_RANGE, INVALID_BOX
    """
    if len(options.masks) > _MOST_MASKS:
        raise InvalidArgument("OUT_OF_RANGE", f"masks takes at most {_MOST_MASKS}.", field="options.masks")
    boxes = [(box.x1, box.y1, box.x2, box.y2) for box in options.masks]
    for x1, y1, x2, y2 in boxes:
        if not (all(map(math.isfinite, (x1, y1, x2, y2))) and x1 <= x2 and y1 <= y2):
            raise InvalidArgument(
                "INVALID_BOX", "A mask has finite corners, the upper left one first.", field="options.masks"
            )
    return boxes


def landmarks_of(poses: Sequence[pose_pb2.Pose]) -> NDArray[np.float32]:
    """Poses as float32 [P, 33, 5]: x, y, z, visibility, presence.

    :raises InvalidArgument: INVALID_POSE, OUT_OF_RANGE
    """
    if len(poses) > _MOST_POSES:
        raise InvalidArgument("OUT_OF_RANGE", f"poses takes at most {_MOST_POSES}.", field="poses")
    if any(len(pose.landmarks) != _LANDMARKS for pose in poses):
        raise InvalidArgument("INVALID_POSE", f"A pose has {_LANDMARKS} landmarks.", field="poses.landmarks")
    rows = [[(mark.x, mark.y, mark.z, mark.visibility, mark.presence) for mark in pose.landmarks] for pose in poses]
    landmarks = np.array(rows, np.float32).reshape(-1, _LANDMARKS, 5)
    if not np.isfinite(landmarks).all():
        raise InvalidArgument("INVALID_POSE", "A landmark holds a value that is no number.", field="poses.landmarks")
    return landmarks


def moved(pose: pose_pb2.Pose, landmarks: NDArray[np.float32]) -> pose_pb2.Pose:
    """A pose with other places in the picture."""
    result = pose_pb2.Pose()
    result.CopyFrom(pose)
    for mark, (x, y) in zip(result.landmarks, landmarks[:, :2].tolist(), strict=True):
        mark.x, mark.y = x, y
    return result


def known_matrix(known: matcher_pb2.KnownTransform) -> Floats:
    """A transform that the caller knows.

    :raises InvalidArgument: OUT_OF_RANGE, INVALID_MATRIX; MATRIX_SINGULAR or POINTS_INCONSISTENT, if it shows no
        picture.
    """
    for field in ("image_width", "image_height", "reference_width", "reference_height"):
        if not 1 <= getattr(known, field) <= _MOST_PIXELS:
            raise InvalidArgument(
                "OUT_OF_RANGE", f"{field} must lie between 1 and {_MOST_PIXELS}.", field=f"known.{field}"
            )
    values = known.image_to_reference.values
    if len(values) != 9:
        raise InvalidArgument(
            "INVALID_MATRIX", "A transform has nine values.", field="known.image_to_reference", values=len(values)
        )
    width, height = known.image_width, known.image_height
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    try:
        return checked(np.array(values, np.float64).reshape(3, 3), corners)
    except InvalidArgument as error:
        raise InvalidArgument(error.reason, error.message, field="known.image_to_reference") from None


def to_matrix(matrix: Floats) -> common_pb2.Matrix3:
    return common_pb2.Matrix3(values=matrix.ravel().tolist())


def to_quality(quality: Quality) -> matcher_pb2.MatchQuality:
    """Numbers that are not known are left at 0."""
    return matcher_pb2.MatchQuality(
        verdict=matcher_pb2.Verdict.ValueType(quality.verdict),
        reason=quality.reason,
        image_features=quality.image_features,
        reference_features=quality.reference_features,
        matches=quality.matches,
        inliers=quality.inliers,
        coverage=quality.coverage,
        rms_error_px=np.nan_to_num(quality.rms_error_px),
        condition_number=np.nan_to_num(quality.condition_number, posinf=0),
    )


def to_points(match: Match) -> matcher_pb2.MatchedPoints:
    (image_x, image_y), (reference_x, reference_y) = match.image.T, match.reference.T
    return matcher_pb2.MatchedPoints(image_x=image_x, image_y=image_y, reference_x=reference_x, reference_y=reference_y)


_MODELS: Final = {
    matcher_pb2.TRANSFORM_MODEL_AFFINE: Model.AFFINE,
    matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY: Model.HOMOGRAPHY,
}
