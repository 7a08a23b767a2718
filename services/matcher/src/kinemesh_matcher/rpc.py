"""MatcherService: pictures in, transforms and moved poses out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument
from kinemesh.matcher.v1 import matcher_pb2, matcher_pb2_grpc
from kinemesh.media.confined import Decoder
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread
from kinemesh.pose.v1 import pose_pb2
from kinemesh.results.matches import Verdict
from kinemesh.serving.interceptor import caller
from kinemesh_matcher.catalogue import Catalogue
from kinemesh_matcher.domain import matching
from kinemesh_matcher.domain.features import Floats, detect, grey_of
from kinemesh_matcher.domain.following import Box
from kinemesh_matcher.domain.masks import boxes_of
from kinemesh_matcher.domain.matching import Side, side_of
from kinemesh_matcher.domain.transfer import transferred
from kinemesh_matcher.messages import (
    features_of,
    known_matrix,
    landmarks_of,
    masks_of,
    model_of,
    moved,
    to_matrix,
    to_points,
    to_quality,
)
from kinemesh_matcher.references import References


class MatcherRpc(matcher_pb2_grpc.MatcherServiceServicer):
    """Matches pictures and moves poses between them."""

    def __init__(self, references: References, catalogue: Catalogue, decoder: Decoder, max_pixels: int) -> None:
        self._decoder = decoder
        self._references = references
        self._catalogue = catalogue
        self._max_pixels = max_pixels

    async def Match(self, request: matcher_pb2.MatchRequest, context: Any) -> matcher_pb2.MatchResponse:  # noqa: N802
        pair = matcher_pb2.ImagePair(frame=request.frame, reference=request.reference, options=request.options)
        found, _, reference = await self._matched(pair, caller(context), np.empty((0, 33, 5), np.float32))
        response = matcher_pb2.MatchResponse(
            quality=to_quality(found.quality), reference_width=reference.width, reference_height=reference.height
        )
        if found.matrix is not None:
            response.image_to_reference.CopyFrom(to_matrix(found.matrix))
            if request.options.with_points:
                response.points.CopyFrom(to_points(found))
        return response

    async def TransferPose(  # noqa: N802
        self, request: matcher_pb2.TransferPoseRequest, context: Any
    ) -> matcher_pb2.TransferPoseResponse:
        landmarks = landmarks_of(request.poses)
        if request.WhichOneof("transform") == "known":
            known = request.known
            matrix = known_matrix(known)
            poses = _moved(
                request.poses,
                landmarks,
                matrix,
                (known.image_width, known.image_height),
                (known.reference_width, known.reference_height),
            )
            return matcher_pb2.TransferPoseResponse(poses=poses, image_to_reference=to_matrix(matrix))
        if request.WhichOneof("transform") != "pair":
            raise InvalidArgument("MISSING_FIELD", "pair or known is needed.", field="transform")
        found, image, reference = await self._matched(request.pair, caller(context), landmarks)
        response = matcher_pb2.TransferPoseResponse(quality=to_quality(found.quality))
        if found.matrix is not None and found.quality.verdict is not Verdict.CANNOT_MATCH:
            response.image_to_reference.CopyFrom(to_matrix(found.matrix))
            size = (image.width, image.height)
            place = (reference.width, reference.height)
            response.poses.extend(_moved(request.poses, landmarks, found.matrix, size, place))
        return response

    async def _matched(
        self, pair: matcher_pb2.ImagePair, owner: str, landmarks: NDArray[np.float32]
    ) -> tuple[matching.Match, Side, Side]:
        """A picture matched with a reference, where neither masks nor people are."""
        most, masks, model = features_of(pair.options), masks_of(pair.options), model_of(pair.options)
        reference = await self._reference(pair.reference, owner, most)
        picture = await in_thread(self._decoder.decode_picture, pair.frame.data, self._max_pixels)
        image = await in_thread(_side, picture, masks, landmarks, most)
        return await in_thread(matching.match, image, reference, model), image, reference

    async def _reference(self, given: matcher_pb2.Reference, owner: str, most: int) -> Side:
        kind = given.WhichOneof("image")
        if kind == "frame":
            if not given.frame.data:
                raise InvalidArgument("EMPTY_PICTURE", "The picture is empty.", field="reference.frame.data")
            return await self._references.given(given.frame.data, most)
        if kind == "asset_id":
            await self._catalogue.require_picture(given.asset_id, owner)
            return await self._references.stored(given.asset_id)
        if kind == "reference_id":
            return await self._references.stored(await self._catalogue.picture_of(given.reference_id, owner))
        raise InvalidArgument("MISSING_FIELD", "reference needs frame, reference_id or asset_id.", field="reference")


def _side(picture: Image, masks: Sequence[Box], people: NDArray[np.float32], most: int) -> Side:
    grey = grey_of(picture)
    height, width = grey.shape
    boxes = [*masks, *(tuple(box) for box in boxes_of(people, width, height).tolist())]
    return side_of(detect(grey, most, boxes), width, height)


def _moved(
    poses: Sequence[pose_pb2.Pose],
    landmarks: NDArray[np.float32],
    matrix: Floats,
    image: tuple[int, int],
    reference: tuple[int, int],
) -> list[pose_pb2.Pose]:
    """The poses that can be shown on the reference."""
    places, shown = transferred(landmarks, np.repeat(matrix[None], len(landmarks), axis=0), image, reference)
    return [moved(pose, places[row]) for row, pose in enumerate(poses) if shown[row]]
