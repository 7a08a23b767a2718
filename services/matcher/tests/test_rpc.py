"""Pictures and poses through a real gRPC server, with the real object store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.common.v1.common_pb2 import Box, EncodedFrame, Matrix3
from kinemesh.geometry.homography import apply, inverse
from kinemesh.matcher.v1 import matcher_pb2, matcher_pb2_grpc
from kinemesh.matcher.v1.matcher_pb2 import ImagePair, KnownTransform, MatchOptions, MatchRequest, Reference
from kinemesh.pose.v1 import pose_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import ObjectStore, keys
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.serving import served
from kinemesh_matcher.references import References
from kinemesh_matcher.rpc import MatcherRpc

from . import walls
from .catalogue_stand_in import Ingest, ingest_and_catalogue
from .walls import Floats

SIZE = (400, 300)
CAMERA = walls.tilted(SIZE)
WALL = walls.wall(1, SIZE)
FRAME = walls.png(walls.seen(WALL, CAMERA, SIZE))
REFERENCE = walls.png(WALL)
OTHER = walls.png(walls.wall(2, SIZE))
HOMOGRAPHY = matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY
OPTIONS = {"model": HOMOGRAPHY, "max_features": 1000}
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ingest_and_stub(s3_store: ObjectStore) -> AsyncIterator[tuple[Ingest, Any]]:
    async with ingest_and_catalogue() as (ingest, catalogue):
        servicer = MatcherRpc(References(s3_store, IN_PROCESS, 500_000, 8), catalogue, IN_PROCESS, 500_000)
        await s3_store.put_bytes(keys.asset_source("rpc-wall"), REFERENCE)
        ingest.add_asset("rpc-wall")
        ingest.add_asset("rpc-video", kind="VIDEO")
        ingest.add_asset("rpc-late", state="PENDING")
        ingest.add_asset("rpc-foreign", owner="somebody")
        ingest.add_asset("rpc-gone")
        ingest.add_reference("rpc-built-in", "rpc-wall", owner="")
        ingest.add_reference("rpc-foreign", "rpc-wall", owner="somebody")
        async with served(servicer, matcher_pb2_grpc.add_MatcherServiceServicer_to_server) as channel:
            yield ingest, matcher_pb2_grpc.MatcherServiceStub(channel)


@pytest.fixture
def stub(ingest_and_stub: tuple[Ingest, Any]) -> Any:
    return ingest_and_stub[1]


def given(data: bytes) -> Reference:
    return Reference(frame=EncodedFrame(data=data))


async def match(
    stub: Any, frame: bytes = FRAME, reference: Reference | None = None, **options: Any
) -> matcher_pb2.MatchResponse:
    request = MatchRequest(
        frame=EncodedFrame(data=frame),
        reference=given(REFERENCE) if reference is None else reference,
        options=MatchOptions(**{**OPTIONS, **options}),
    )
    answer: matcher_pb2.MatchResponse = await call(stub.Match, request, owner="local")
    return answer


def pose(points: Floats, person_id: int = 1) -> pose_pb2.Pose:
    """Landmarks at places given as fractions, repeated until there are 33."""
    marks = [pose_pb2.Landmark(x=x, y=y, z=0.5, visibility=0.9, presence=0.8) for x, y in points.tolist()]
    world = [pose_pb2.Landmark(x=0.25, y=-0.5, z=1.5)] * 33
    return pose_pb2.Pose(person_id=person_id, score=0.5, landmarks=(marks * 33)[:33], world_landmarks=world)


def places(one: pose_pb2.Pose) -> Floats:
    return np.array([(mark.x, mark.y) for mark in one.landmarks])


def body(x: float = 0.5, y: float = 0.5) -> Floats:
    around = np.random.default_rng(3).uniform(-0.08, 0.08, (33, 2))
    return np.asarray(around + np.array([x, y]), np.float64)


async def transfer(stub: Any, *poses: pose_pb2.Pose, **transform: Any) -> matcher_pb2.TransferPoseResponse:
    request = matcher_pb2.TransferPoseRequest(poses=poses, **transform)
    answer: matcher_pb2.TransferPoseResponse = await call(stub.TransferPose, request, owner="local")
    return answer


def pair(frame: bytes = FRAME, reference: bytes = REFERENCE, **options: Any) -> ImagePair:
    return ImagePair(
        frame=EncodedFrame(data=frame), reference=given(reference), options=MatchOptions(**{**OPTIONS, **options})
    )


def known(values: Any = IDENTITY, reference: tuple[int, int] = SIZE) -> KnownTransform:
    return KnownTransform(
        image_to_reference=Matrix3(values=values),
        image_width=SIZE[0],
        image_height=SIZE[1],
        reference_width=reference[0],
        reference_height=reference[1],
    )


def matrix(answer: Any) -> Floats:
    return np.array(answer.image_to_reference.values).reshape(3, 3)


async def test_a_picture_is_matched_with_a_picture(stub: Any) -> None:
    answer = await match(stub)
    quality = answer.quality
    assert (quality.verdict, quality.reason) == (matcher_pb2.VERDICT_MATCHED, "")
    assert (answer.reference_width, answer.reference_height) == SIZE
    assert walls.off(matrix(answer), inverse(CAMERA), SIZE) < 0.1
    assert 0 < quality.image_features <= 1000
    assert 0 < quality.reference_features <= 1000
    assert quality.inliers > 100
    assert quality.matches > 50
    assert 0.3 < quality.coverage <= 1
    assert 0 < quality.rms_error_px < 1
    assert quality.condition_number >= 1
    assert not answer.HasField("points")
    assert answer == await match(stub)


async def test_points_come_when_asked_for(stub: Any) -> None:
    answer = await match(stub, with_points=True)
    points = answer.points
    image = np.stack([points.image_x, points.image_y], axis=1)
    reference = np.stack([points.reference_x, points.reference_y], axis=1)
    assert len(image) == answer.quality.inliers
    away = np.linalg.norm(apply(inverse(CAMERA), image) - reference, axis=1)
    assert np.median(away) < 0.5


async def test_masks_are_not_looked_at(stub: Any) -> None:
    masks = [Box(x1=0, y1=0, x2=200, y2=300), Box(x1=200, y1=0, x2=3.4e38, y2=100)]
    answer = await match(stub, with_points=True, masks=masks)
    assert answer.quality.verdict == matcher_pb2.VERDICT_MATCHED
    assert min(answer.points.image_x) > 200
    assert min(answer.points.image_y) > 100
    nothing = await match(stub, masks=[Box(x1=-1e38, y1=-1e38, x2=3.4e38, y2=3.4e38)])
    assert nothing.quality.reason == "NOT_ENOUGH_FEATURES"


async def test_the_model_is_affine_unless_asked_otherwise(stub: Any) -> None:
    answer = await match(stub, model=matcher_pb2.TRANSFORM_MODEL_UNSPECIFIED)
    assert list(answer.image_to_reference.values[6:]) == [0, 0, 1]
    assert matrix(await match(stub))[2, 0] != 0


async def test_that_nothing_matches_is_an_answer(stub: Any) -> None:
    for frame, reason in (
        (OTHER, "NOT_ENOUGH_MATCHES"),
        (walls.png(np.zeros((5, 4, 3), np.uint8)), "NOT_ENOUGH_FEATURES"),
    ):
        answer = await match(stub, frame, with_points=True)
        assert (answer.quality.verdict, answer.quality.reason) == (matcher_pb2.VERDICT_CANNOT_MATCH, reason)
        assert not answer.HasField("image_to_reference")
        assert not answer.HasField("points")
        assert (answer.reference_width, answer.reference_height) == SIZE


@pytest.mark.parametrize("reference", [Reference(asset_id="rpc-wall"), Reference(reference_id="rpc-built-in")])
async def test_references_of_the_catalogue(stub: Any, s3_store: ObjectStore, reference: Reference) -> None:
    answer = await match(stub, reference=reference)
    assert answer.quality.verdict == matcher_pb2.VERDICT_MATCHED
    assert walls.off(matrix(answer), inverse(CAMERA), SIZE) < 0.1
    assert (await s3_store.stat(keys.asset_features("rpc-wall"))).size > 1000


@pytest.mark.parametrize(
    ("reference", "kind", "reason", "field"),
    [
        (Reference(), errors.InvalidArgument, "MISSING_FIELD", "reference"),
        (Reference(asset_id="rpc-nobody"), errors.NotFound, "ASSET_NOT_FOUND", None),
        (Reference(asset_id="rpc-foreign"), errors.NotFound, "ASSET_NOT_FOUND", None),
        (Reference(asset_id="rpc-video"), errors.InvalidArgument, "WRONG_ASSET_KIND", "reference.asset_id"),
        (Reference(asset_id="rpc-late"), errors.FailedPrecondition, "ASSET_NOT_READY", None),
        (Reference(asset_id="rpc-gone"), errors.NotFound, "OBJECT_NOT_FOUND", None),
        (Reference(reference_id="rpc-nobody"), errors.NotFound, "REFERENCE_NOT_FOUND", None),
        (Reference(reference_id="rpc-foreign"), errors.NotFound, "REFERENCE_NOT_FOUND", None),
        (given(b""), errors.InvalidArgument, "EMPTY_PICTURE", "reference.frame.data"),
        (given(b"GIF89a"), errors.InvalidArgument, "NOT_A_PICTURE", None),
        (given(REFERENCE[:50]), errors.InvalidArgument, "CORRUPT_PICTURE", None),
        (given(walls.png(np.zeros((800, 700, 3), np.uint8))), errors.InvalidArgument, "TOO_MANY_PIXELS", None),
    ],
)
async def test_references_that_are_none_are_refused(
    stub: Any, reference: Reference, kind: type[errors.KinemeshError], reason: str, field: str | None
) -> None:
    with pytest.raises(kind) as refused:
        await match(stub, reference=reference)
    assert (refused.value.reason, refused.value.metadata.get("field")) == (reason, field)


@pytest.mark.parametrize(
    ("frame", "options", "reason", "field"),
    [
        (b"", {}, "EMPTY_PICTURE", "frame.data"),
        (b"%PDF", {}, "NOT_A_PICTURE", None),
        (FRAME[:50], {}, "CORRUPT_PICTURE", None),
        (walls.png(np.zeros((800, 700, 3), np.uint8)), {}, "TOO_MANY_PIXELS", None),
        (FRAME, {"max_features": 99}, "OUT_OF_RANGE", "options.max_features"),
        (FRAME, {"model": 9}, "UNKNOWN_VALUE", "options.model"),
        (FRAME, {"masks": [Box(x1=2, x2=1)]}, "INVALID_BOX", "options.masks"),
        (FRAME, {"masks": [Box()] * 1001}, "OUT_OF_RANGE", "options.masks"),
    ],
    ids=["empty", "other file", "cut off", "large", "features", "model", "box", "boxes"],
)
async def test_pictures_and_options_that_make_no_sense_are_refused(
    stub: Any, frame: bytes, options: dict[str, Any], reason: str, field: str | None
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await match(stub, frame, **options)
    assert (refused.value.reason, refused.value.metadata.get("field")) == (reason, field)
    with pytest.raises(errors.InvalidArgument) as again:
        await transfer(stub, pose(body()), pair=pair(frame, **options))
    assert again.value.reason == reason


async def test_the_identity_keeps_poses(stub: Any) -> None:
    poses = [pose(body(), 4), pose(body(0.2, 0.8), 9)]
    answer = await transfer(stub, *poses, known=known())
    assert list(answer.poses) == poses
    assert list(answer.image_to_reference.values) == list(IDENTITY)
    assert not answer.HasField("quality")


async def test_a_known_homography_moves_poses_exactly(stub: Any) -> None:
    size = (1000, 800)
    truth = inverse(CAMERA) * -2  # any factor
    answer = await transfer(stub, pose(body(), 4), known=known(truth.ravel().tolist(), size))
    (found,) = answer.poses
    np.testing.assert_allclose(places(found), apply(truth, body() * SIZE) / size, atol=1e-6)
    assert (found.person_id, found.score) == (4, 0.5)
    assert {(mark.z, round(mark.visibility, 6)) for mark in found.landmarks} == {(0.5, 0.9)}
    assert list(found.world_landmarks) == list(pose(body()).world_landmarks)
    np.testing.assert_allclose(matrix(answer) / matrix(answer)[2, 2], truth / truth[2, 2], rtol=1e-12)


async def test_who_is_behind_the_horizon_or_absurdly_far_off_is_left_out(stub: Any) -> None:
    flight = (1, 0, 0, 0, 1, 0, 0, -1 / 360, 1)  # the horizon is a fifth of the height below the picture
    poses = [pose(body(0.5, 0.3), 1), pose(body(0.5, 1.6), 2), pose(body(0.5, 1.2), 3), pose(body(0.2, 0.4), 4)]
    answer = await transfer(stub, *poses, known=known(flight))
    assert [one.person_id for one in answer.poses] == [1, 4]


@pytest.mark.parametrize(
    ("poses", "transform", "reason", "field"),
    [
        ([pose(body())], {}, "MISSING_FIELD", "transform"),
        ([pose_pb2.Pose()], {"known": known()}, "INVALID_POSE", "poses.landmarks"),
        ([pose(body() * np.nan)], {"pair": pair()}, "INVALID_POSE", "poses.landmarks"),
        ([pose(body())] * 101, {"known": known()}, "OUT_OF_RANGE", "poses"),
        ([pose(body())], {"known": known([1])}, "INVALID_MATRIX", "known.image_to_reference"),
        ([pose(body())], {"known": known([0] * 9)}, "MATRIX_SINGULAR", "known.image_to_reference"),
        ([pose(body())], {"known": known(reference=(0, 5))}, "OUT_OF_RANGE", "known.reference_width"),
        ([pose(body())], {"pair": ImagePair(frame=EncodedFrame(data=FRAME))}, "MISSING_FIELD", "reference"),
    ],
)
async def test_transfers_that_make_no_sense_are_refused(
    stub: Any, poses: list[pose_pb2.Pose], transform: dict[str, Any], reason: str, field: str | None
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await transfer(stub, *poses, **transform)
    assert (refused.value.reason, refused.value.metadata.get("field")) == (reason, field)


async def test_poses_are_moved_by_matching_pictures(stub: Any) -> None:
    answer = await transfer(stub, pose(body(), 4), pair=pair())
    assert answer.quality.verdict == matcher_pb2.VERDICT_MATCHED
    assert walls.off(matrix(answer), inverse(CAMERA), SIZE) < 0.1
    (found,) = answer.poses
    truth = apply(inverse(CAMERA), body() * SIZE) / SIZE
    np.testing.assert_allclose(places(found), truth, atol=0.002)
    # Those whose poses are to be moved are not looked at.
    assert answer.quality.image_features < (await match(stub)).quality.image_features
    assert (await transfer(stub, pair=pair())).quality == (await match(stub)).quality


@pytest.mark.parametrize("far", [5.0, 1e38])
async def test_somebody_who_is_everywhere_leaves_nothing_to_match(stub: Any, far: float) -> None:
    answer = await transfer(stub, pose(np.array([(-far, -far), (far, far)])), pair=pair())
    assert answer.quality.reason == "NOT_ENOUGH_FEATURES"


async def test_without_a_match_no_poses_are_moved(stub: Any) -> None:
    answer = await transfer(stub, pose(body()), pair=pair(OTHER))
    assert answer.quality.verdict == matcher_pb2.VERDICT_CANNOT_MATCH
    assert answer.quality.reason == "NOT_ENOUGH_MATCHES"
    assert not answer.HasField("image_to_reference")
    assert not answer.poses
