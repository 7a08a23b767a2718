"""The stage match: how the frames of a segment lie on the reference image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.tasks import TaskContext
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import Frame, FrameIndex
from kinemesh.media.confined import Decoder
from kinemesh.nv12 import luma
from kinemesh.pipelining import ahead, batches, in_thread
from kinemesh.results.columns_parquet import MATCH_SCHEMA, to_parquet, to_table
from kinemesh.results.matches import MatchRows, Verdict
from kinemesh.results.poses import PoseRows, rows_from_parquet
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_matcher import features_parquet, points
from kinemesh_matcher.domain.features import Features, Floats
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.following import ANCHOR_EVERY, Anchor, Box, Placed, place
from kinemesh_matcher.domain.masks import boxes_of
from kinemesh_matcher.domain.matching import Quality, Side, no_match
from kinemesh_matcher.lying import NOT_SAMPLED
from kinemesh_matcher.messages import to_model
from kinemesh_matcher.references import References
from kinemesh_matcher.settings import MatchingSettings

_BATCH: Final = 2
_SAMPLED_EVERY: Final = 30
_RESTED_EVERY: Final = ANCHOR_EVERY // 2
_MOST_SAMPLES: Final = 40
_KEPT_EVERY: Final = 30
_KEPT_FEATURES: Final = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """Which frames of a segment are looked at, and how.

    :ivar first: frame to decode from.
    :ivar every: of the clip's frames, every so many are looked at.
    :ivar follows: whether points are followed from frame to frame.
    """

    first: int
    every: int
    follows: bool


@dataclass(slots=True)
class Walk:
    """What has been found so far, frame after frame.

    :ivar resting: the last frame on which features were to be matched did not match.
    """

    reference: Side
    model: Model
    plan: Plan
    most: int
    scale: Floats
    masks: Mapping[int, NDArray[np.float64]]
    before: Anchor | None = None
    resting: bool = False
    placed: dict[int, Placed] = field(default_factory=dict)
    kept: list[tuple[int, Features]] = field(default_factory=list)

    def take(self, frames: Sequence[Frame]) -> None:
        """Place the next frames on the reference."""
        for frame in frames:
            if frame.index % (_RESTED_EVERY if self.resting else self.plan.every):
                continue
            boxes = self.masks.get(frame.index, np.empty((0, 4))) / np.tile(self.scale, 2)
            before = self.before if self.plan.follows else None
            masks: list[Box] = [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()]
            grey = np.ascontiguousarray(luma(frame.image))
            found = place(grey, frame.index, masks, before, self.reference, self.model, self.most)
            self.before = found.anchor
            # Where features do not match they seldom do in the next frame. What is skipped follows from this one alone,
            # so that segments may begin anywhere.
            if found.match.matrix is not None or frame.index % ANCHOR_EVERY == 0:
                self.resting = self.plan.follows and found.match.matrix is None
            self.placed[frame.index] = found
            if found.features is not None and found.match.matrix is not None and frame.index % _KEPT_EVERY == 0:
                self.kept.append((frame.index, found.features.where(np.arange(len(found.features)) < _KEPT_FEATURES)))


class Worker:
    """Places frames on reference images."""

    def __init__(
        self, store: ObjectStore, references: References, decoder: Decoder, matching: MatchingSettings
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._references = references
        self._matching = matching

    async def match(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Match one segment: every frame in multi mode, samples of the clip in single mode. People are left out."""
        segment, asked = task.segment, task.parameters.route_match
        reference = await self._references.stored(asked.image_asset_id)
        asset_id = asset_of(task, segment.camera)
        index = FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))
        poses = rows_from_parquet(await self._store.get_bytes(result_key(task, "pose", segment)))
        plan = plan_of(asked.mode, segment, max(each.stop_frame for each in segments_of(task, segment.camera)))
        size = _working_size(index, self._matching.frame_side)
        scale = np.array([index.width / size[0], index.height / size[1]])
        walk = Walk(
            reference,
            to_model(asked),
            plan,
            self._matching.frame_features,
            scale,
            await in_thread(_masks, poses, index),
        )
        with closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as source:
            frames = self._decoder.decode(
                source,
                index,
                plan.first,
                segment.stop_frame,
                size=size,
                layout="nv12",
                threads=self._matching.decoder_threads,
            )
            coming = ahead(batches(frames, _BATCH))
            async with aclosing(coming):
                async for batch in coming:
                    await in_thread(walk.take, batch)
                    await context.report((batch[-1].index + 1 - plan.first) / (segment.stop_frame - plan.first))
        await self._put(task, walk, index)
        return task_pb2.TaskDone(frames=segment.stop_frame - segment.start_frame)

    async def _put(self, task: task_pb2.Task, walk: Walk, index: FrameIndex) -> None:
        segment = task.segment
        rows = await in_thread(match_rows, walk, segment, index)
        data = await in_thread(lambda: to_parquet(to_table(rows, MATCH_SCHEMA)))
        if not walk.plan.follows:
            pairs = await in_thread(point_rows, walk, segment)
            await self._store.put_bytes(result_key(task, "match", segment, points.SUFFIX), points.to_bytes(pairs))
        kept = [(frame, features) for frame, features in walk.kept if frame >= segment.start_frame]
        whole = [(frame, _enlarged(features, walk.scale)) for frame, features in kept]
        features = await in_thread(features_parquet.frames_to_bytes, whole)
        await self._store.put_bytes(result_key(task, "match", segment, features_parquet.SUFFIX), features)
        await self._store.put_bytes(result_key(task, "match", segment), data)


def plan_of(mode: parameters_pb2.MatchMode.ValueType, segment: task_pb2.Segment, frames: int) -> Plan:
    """Which frames of a segment are looked at. That follows from their numbers in the clip, however it is cut.

    In multi mode following begins at the last frame before the segment on which features are matched.

    :param frames: of the clip.
    """
    if mode == parameters_pb2.MATCH_MODE_MULTI:
        return Plan(segment.start_frame - segment.start_frame % ANCHOR_EVERY, 1, follows=True)
    every = max(_SAMPLED_EVERY, ANCHOR_EVERY * math.ceil(frames / _MOST_SAMPLES / ANCHOR_EVERY))
    return Plan(segment.start_frame, every, follows=False)


def match_rows(walk: Walk, segment: task_pb2.Segment, index: FrameIndex) -> MatchRows:
    """What was found of every frame of a segment, in pixels of the upright frame."""
    frames = np.arange(segment.start_frame, segment.stop_frame, dtype=np.int64)
    unseen = Placed(no_match(Quality(Verdict.CANNOT_MATCH, NOT_SAMPLED)), None, None)
    placed = [walk.placed.get(int(frame), unseen) for frame in frames]
    quality = [one.match.quality for one in placed]
    to_working = np.linalg.inv(_working_to_whole(walk.scale))
    matrices = [
        np.full(9, np.nan) if one.match.matrix is None else (one.match.matrix @ to_working).ravel() for one in placed
    ]
    return MatchRows(
        frame_index=frames,
        time_sec=index.times[frames],
        verdict=np.array([each.verdict for each in quality], np.int8),
        reason=np.array([each.reason for each in quality], np.str_),
        followed=np.array([one.followed and one is not unseen for one in placed]),
        image_features=np.array([each.image_features for each in quality], np.int32),
        matches=np.array([each.matches for each in quality], np.int32),
        inliers=np.array([each.inliers for each in quality], np.int32),
        coverage=np.array([each.coverage for each in quality], np.float64),
        rms_error_px=np.array([each.rms_error_px for each in quality], np.float64),
        condition_number=np.array([each.condition_number for each in quality], np.float64),
        matrix=np.array(matrices, np.float64).reshape(-1, 9),
    )


def point_rows(walk: Walk, segment: task_pb2.Segment) -> points.PointRows:
    """The pairs of points of a segment's frames that were matched, in pixels of the upright frame."""
    found = [(frame, one.match) for frame, one in sorted(walk.placed.items()) if frame >= segment.start_frame]
    if not found:
        return points.no_points()
    image = np.concatenate([match.image for _, match in found])
    return points.PointRows(
        frame_index=np.repeat([frame for frame, _ in found], [len(match.image) for _, match in found]).astype(np.int64),
        image=(image + 0.5) * walk.scale - 0.5,
        reference=np.concatenate([match.reference for _, match in found]),
    )


def _masks(rows: PoseRows, index: FrameIndex) -> dict[int, NDArray[np.float64]]:
    """The boxes of all people by frame, in pixels of the upright frame."""
    boxes = boxes_of(rows.image, index.width, index.height)
    frames, starts = np.unique(rows.frame_index, return_index=True)
    return dict(zip(frames.tolist(), np.split(boxes, starts[1:]), strict=True)) if len(frames) else {}


def _working_size(index: FrameIndex, longest: int) -> tuple[int, int]:
    """Even, and no larger than the frame."""
    scale = min(1.0, longest / max(index.width, index.height))
    wide, tall = (max(2, 2 * math.floor(side * scale / 2)) for side in (index.width, index.height))
    return wide, tall


def _working_to_whole(scale: Floats) -> Floats:
    """From pixels of the picture that was looked at to those of the upright frame; pixels are counted by their
    centres."""
    return np.array([[scale[0], 0, (scale[0] - 1) / 2], [0, scale[1], (scale[1] - 1) / 2], [0, 0, 1]])


def _enlarged(features: Features, scale: Floats) -> Features:
    return Features(
        ((features.points + 0.5) * scale - 0.5).astype(np.float32),
        (features.size * scale.mean()).astype(np.float32),
        features.angle,
        features.response,
        features.descriptors,
    )
