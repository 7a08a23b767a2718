"""What messages ask for, and what is answered."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kinemesh.common.v1 import common_pb2
from kinemesh.errors import InvalidArgument
from kinemesh.job.v1 import parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.pose.v1 import pose_pb2
from kinemesh.results.matches import Verdict
from kinemesh_matcher.domain.features import DEFAULT_FEATURES
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.matching import Match, Quality
from kinemesh_matcher.messages import (
    features_of,
    known_matrix,
    landmarks_of,
    masks_of,
    model_of,
    moved,
    to_matrix,
    to_model,
    to_points,
    to_quality,
)

NAN = math.nan


def pose(x: float = 0.25, marks: int = 33) -> pose_pb2.Pose:
    landmark = pose_pb2.Landmark(x=x, y=0.5, z=-0.125, visibility=0.75, presence=1)
    return pose_pb2.Pose(person_id=7, score=0.5, landmarks=[landmark] * marks, world_landmarks=[landmark] * marks)


def known(values: Any = (1, 0, 0, 0, 1, 0, 0, 0, 1), **sizes: int) -> matcher_pb2.KnownTransform:
    given = {"image_width": 640, "image_height": 480, "reference_width": 800, "reference_height": 600, **sizes}
    return matcher_pb2.KnownTransform(image_to_reference=common_pb2.Matrix3(values=values), **given)


@pytest.mark.parametrize(
    ("asked", "model"), [("AFFINE", Model.AFFINE), ("HOMOGRAPHY", Model.HOMOGRAPHY), ("UNSPECIFIED", Model.AFFINE)]
)
def test_what_transforms_may_do(asked: str, model: Model) -> None:
    transform_model = matcher_pb2.TransformModel.Value(f"TRANSFORM_MODEL_{asked}")
    assert model_of(matcher_pb2.MatchOptions(model=transform_model)) is model
    if transform_model:
        assert to_model(parameters_pb2.RouteMatchParameters(transform_model=transform_model)) is model


@pytest.mark.parametrize(("asked", "given"), [(0, DEFAULT_FEATURES), (100, 100), (20000, 20000)])
def test_how_many_features(asked: int, given: int) -> None:
    assert features_of(matcher_pb2.MatchOptions(max_features=asked)) == given


@pytest.mark.parametrize("asked", [-1, 99, 20001])
def test_so_many_features_are_refused(asked: int) -> None:
    with pytest.raises(InvalidArgument) as refused:
        features_of(matcher_pb2.MatchOptions(max_features=asked))
    assert (refused.value.reason, refused.value.metadata["field"]) == ("OUT_OF_RANGE", "options.max_features")


@pytest.mark.parametrize("box", [(5, 1, 4, 2), (1, 5, 2, 4), (NAN, 1, 2, 3), (0, 0, math.inf, 3)])
def test_boxes_that_are_none_are_refused(box: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = box
    with pytest.raises(InvalidArgument) as refused:
        masks_of(matcher_pb2.MatchOptions(masks=[common_pb2.Box(x1=x1, y1=y1, x2=x2, y2=y2)]))
    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_BOX", "options.masks")


def test_boxes_may_be_empty_or_lie_outside_but_not_be_a_thousand_and_one() -> None:
    box = common_pb2.Box(x1=-5, y1=3, x2=-5, y2=900)
    assert masks_of(matcher_pb2.MatchOptions(masks=[box] * 1000)) == [(-5, 3, -5, 900)] * 1000
    with pytest.raises(InvalidArgument) as refused:
        masks_of(matcher_pb2.MatchOptions(masks=[box] * 1001))
    assert (refused.value.reason, refused.value.metadata["field"]) == ("OUT_OF_RANGE", "options.masks")


def test_landmarks_are_columns_of_each_pose() -> None:
    marks = landmarks_of([pose(0.25), pose(0.5)])
    assert marks.shape == (2, 33, 5)
    assert marks[1, 32].tolist() == [0.5, 0.5, -0.125, 0.75, 1]
    assert landmarks_of([]).shape == (0, 33, 5)


@pytest.mark.parametrize(
    ("poses", "reason", "field"),
    [
        ([pose()] * 101, "OUT_OF_RANGE", "poses"),
        ([pose(), pose(marks=32)], "INVALID_POSE", "poses.landmarks"),
        ([pose(marks=0)], "INVALID_POSE", "poses.landmarks"),
        ([pose(NAN)], "INVALID_POSE", "poses.landmarks"),
        ([pose(math.inf)], "INVALID_POSE", "poses.landmarks"),
    ],
)
def test_poses_that_are_none_are_refused(poses: list[pose_pb2.Pose], reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        landmarks_of(poses)
    assert (refused.value.reason, refused.value.metadata["field"]) == (reason, field)


def test_a_moved_pose_keeps_all_but_its_place() -> None:
    before = pose()
    places = np.arange(66, dtype=np.float32).reshape(33, 2)
    after = moved(before, places)
    assert [(mark.x, mark.y) for mark in after.landmarks] == [tuple(place) for place in places.tolist()]
    for mark in after.landmarks:
        mark.x, mark.y = 0.25, 0.5
    assert after == before


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        (known(image_width=0), "OUT_OF_RANGE", "known.image_width"),
        (known(image_height=-1), "OUT_OF_RANGE", "known.image_height"),
        (known(reference_width=(1 << 20) + 1), "OUT_OF_RANGE", "known.reference_width"),
        (known(reference_height=0), "OUT_OF_RANGE", "known.reference_height"),
        (known([1, 2, 3]), "INVALID_MATRIX", "known.image_to_reference"),
        (known([]), "INVALID_MATRIX", "known.image_to_reference"),
        (known([0] * 9), "MATRIX_SINGULAR", "known.image_to_reference"),
        (known([1, 0, 0, 2, 0, 0, 0, 0, 1]), "MATRIX_SINGULAR", "known.image_to_reference"),
        (known([NAN, 0, 0, 0, 1, 0, 0, 0, 1]), "MATRIX_SINGULAR", "known.image_to_reference"),
        (known([1e308, 0, 0, 0, 1e308, 0, 0, 0, 1e308]), "MATRIX_SINGULAR", "known.image_to_reference"),
        (known([1, 0, 0, 0, 1, 0, 0, -1 / 240, 1]), "POINTS_INCONSISTENT", "known.image_to_reference"),
    ],
)
def test_transforms_that_show_no_picture_are_refused(
    given: matcher_pb2.KnownTransform, reason: str, field: str | None
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        known_matrix(given)
    assert refused.value.reason == reason
    assert refused.value.metadata.get("field") == field


@pytest.mark.parametrize("factor", [1, -3, 1e-6])
def test_a_known_transform_may_have_any_factor(factor: float) -> None:
    matrix = known_matrix(known([value * factor for value in (2, 0, 5, 0, 2, 7, 0, 0, 1)]))
    np.testing.assert_allclose(matrix, [[2, 0, 5], [0, 2, 7], [0, 0, 1]])
    assert list(to_matrix(matrix).values) == matrix.ravel().tolist()


def test_numbers_that_are_not_known_are_left_out() -> None:
    message = to_quality(Quality(Verdict.CANNOT_MATCH, "NOT_ENOUGH_MATCHES", 9, 8, 7))
    assert message == matcher_pb2.MatchQuality(
        verdict=matcher_pb2.VERDICT_CANNOT_MATCH,
        reason="NOT_ENOUGH_MATCHES",
        image_features=9,
        reference_features=8,
        matches=7,
    )
    assert to_quality(Quality(Verdict.WEAK, condition_number=math.inf, rms_error_px=0.5)).condition_number == 0


def test_verdicts_have_the_numbers_of_the_message() -> None:
    for verdict in Verdict:
        assert matcher_pb2.Verdict.Name(matcher_pb2.Verdict.ValueType(verdict)) == f"VERDICT_{verdict.name}"


def test_points_are_columns() -> None:
    image, reference = np.array([(1.0, 2.0), (3.0, 4.0)]), np.array([(5.0, 6.0), (7.0, 8.0)])
    message = to_points(Match(Quality(Verdict.MATCHED), np.eye(3), image, reference))
    assert (list(message.image_x), list(message.image_y)) == ([1, 3], [2, 4])
    assert (list(message.reference_x), list(message.reference_y)) == ([5, 7], [6, 8])
