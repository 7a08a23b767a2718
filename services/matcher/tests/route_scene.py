"""Made-up recordings of a climber, and what the stages before retarget would leave of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.media import FrameIndex, Orientation
from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import ColorMatrix
from kinemesh.results.columns import select
from kinemesh.results.columns_parquet import MATCH_SCHEMA, to_parquet, to_table
from kinemesh.results.matches import MatchRows, Verdict
from kinemesh.results.poses import PoseRows, rows_to_parquet
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_matcher import features_parquet, points
from kinemesh_matcher.domain.features import Features
from kinemesh_matcher.domain.projective import mapped

from . import climber
from .cameras import FRAME, REFERENCE, Floats, hand_held, measured

RATE: Final = 25
ASPECT: Final = REFERENCE[0] / REFERENCE[1]
FEATURES: Final = 321
"""Of the reference."""
_EVERY: Final = 20
"""One frame of so many is looked at in single mode."""
_LATE: Final = 3
"""Number of the first time stamp: recordings need not begin at 0."""


@dataclass
class Take:
    """A recording: a climber who begins ``late`` seconds in and is ``pace`` times as fast.

    :ivar still: how much of the recording the camera stands, from its beginning: 0 to 1.
    :ivar lost: frames that cannot be matched.
    :ivar unseen: frames without a pose.
    :ivar wrong: frames whose transforms are far off.
    """

    camera: str
    late: float = 0.0
    pace: float = 1.0
    lost: Sequence[int] = ()
    unseen: Sequence[int] = ()
    wrong: Sequence[int] = ()
    still: float = 0.0
    attempt_id: str = ""
    nobody: bool = False
    noise: float = 0.3

    @property
    def frames(self) -> int:
        return round((climber.SECONDS / self.pace + self.late) * RATE)

    @property
    def time(self) -> Floats:
        """From the first frame."""
        return np.arange(self.frames) / RATE

    @property
    def truth(self) -> Floats:
        """[F, 3, 3], from pixels of the frame to pixels of the reference."""
        return hand_held(np.maximum(self.time - self.still * self.frames / RATE, 0))

    def landmarks(self, time: Floats) -> NDArray[np.float32]:
        """Where the body really is on the reference: [F, 33, 5]."""
        return climber.visible(climber.climbing((time - self.late) * self.pace), ASPECT)

    def index(self) -> FrameIndex:
        pts, first = np.arange(self.frames, dtype=np.int64) + _LATE, np.zeros(1, np.int64)
        base = Fraction(1, RATE)
        return FrameIndex(0, base, pts, self.frames + _LATE, first, first, *FRAME, Orientation(), ColorMatrix.BT709)

    def poses(self) -> PoseRows:
        """The climber, and somebody small who stands by."""
        keep = np.setdiff1d(np.arange(self.frames), self.unseen)
        if self.nobody:
            keep = keep[:0]
        image = self.landmarks(self.time)
        inverse = np.asarray(np.linalg.inv(self.truth), np.float64)
        places = image[..., :2].astype(np.float64) * np.array(REFERENCE, np.float64)
        image[..., :2] = mapped(inverse, places) / FRAME
        other = image[:1].repeat(len(keep), axis=0)
        other[..., :2] = 0.1 + 0.2 * other[..., :2]
        rows = np.repeat(keep, 2)
        both = np.stack([image[keep], other], axis=1).reshape(-1, 33, 5)
        return PoseRows(
            rows.astype(np.int64),
            self.index().times[rows],
            np.tile([7, 9], len(keep)).astype(np.int32),
            np.full(len(rows), 0.9, np.float32),
            np.zeros(len(rows), np.bool_),
            both.astype(np.float32),
            np.zeros((len(rows), 33, 3), np.float32),
        )

    def matches(self, single: bool) -> MatchRows:
        matrix = measured(self.truth, self.noise)
        for frame in self.wrong:
            matrix[frame, :2, 2] += 150
        looked_at = (np.arange(self.frames) % _EVERY == 0) | (not single)
        bad = np.isin(np.arange(self.frames), self.lost)
        matched = looked_at & ~bad
        matrix[~matched] = np.nan
        nothing = np.where(matched, 1.0, np.nan)
        count = self.frames
        return MatchRows(
            frame_index=np.arange(count, dtype=np.int64),
            time_sec=self.index().times,
            verdict=np.where(matched, Verdict.MATCHED, Verdict.CANNOT_MATCH).astype(np.int8),
            reason=np.where(matched, "", np.where(looked_at, "NOT_ENOUGH_MATCHES", "NOT_SAMPLED")),
            followed=np.zeros(count, np.bool_),
            image_features=np.where(looked_at, 900, 0).astype(np.int32),
            matches=np.where(looked_at, np.where(bad, 9, 300), 0).astype(np.int32),
            inliers=np.where(looked_at, np.where(bad, 4, 250), 0).astype(np.int32),
            coverage=np.where(matched, 0.7, 0.0),
            rms_error_px=nothing * 0.8,
            condition_number=nothing * 3.0,
            matrix=matrix.reshape(count, 9),
        )

    def pairs(self) -> points.PointRows:
        """Of the frames that are looked at, a fifth wrong."""
        random = np.random.default_rng(11)
        frames = np.setdiff1d(np.arange(0, self.frames, _EVERY), self.lost)
        image = random.uniform(0, 1, (len(frames), 60, 2)) * FRAME
        reference = mapped(self.truth[frames], image) + random.normal(0, 0.5, image.shape)
        reference[:, :12] = random.uniform(0, 1, (len(frames), 12, 2)) * REFERENCE
        return points.PointRows(np.repeat(frames, 60).astype(np.int64), image.reshape(-1, 2), reference.reshape(-1, 2))


@dataclass
class Scene:
    """A job over some recordings."""

    job_id: str
    takes: Sequence[Take]
    mode: str = "MULTI"
    rate: float = 0.0
    alignment: str = "MOVEMENT_START"
    window_sec: float = 4.0
    cuts: Sequence[int] = (0, 100, 180)
    more: dict[str, Any] = field(default_factory=dict)

    def task(self) -> task_pb2.Task:
        affine, homography = matcher_pb2.TRANSFORM_MODEL_AFFINE, matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY
        order = parameters_pb2.RouteMatchParameters(
            image_asset_id=f"{self.job_id}-wall",
            mode=parameters_pb2.MatchMode.Value(f"MATCH_MODE_{self.mode}"),
            alignment=parameters_pb2.TimeAlignment.Value(f"TIME_ALIGNMENT_{self.alignment}"),
            output_frame_rate=self.rate,
            attempts=[
                parameters_pb2.MatchedAttempt(
                    camera=take.camera,
                    attempt_id=take.attempt_id,
                    display_name=f"Take {number}",
                    data_prefix=self.prefix(take),
                )
                for number, take in enumerate(self.takes, 1)
            ],
            **{"transform_model": affine if self.mode == "SINGLE" else homography, **self.more},
        )
        return task_pb2.Task(
            task_id=f"{self.job_id}.retarget",
            job_id=self.job_id,
            stage="retarget",
            parameters=parameters_pb2.JobParameters(route_match=order),
            inputs=[job_pb2.JobInput(camera=take.camera, asset_id=self.asset(take)) for take in self.takes],
            segments=[segment for take in self.takes for segment in self.segments(take)],
            windows=self.windows(),
        )

    def prefix(self, take: Take) -> str:
        return f"routes/{self.job_id}/area/route/{take.attempt_id}/" if take.attempt_id else ""

    def asset(self, take: Take) -> str:
        return f"{self.job_id}-{take.camera}"

    def segments(self, take: Take) -> list[task_pb2.Segment]:
        edges = [*self.cuts, take.frames]
        return [
            task_pb2.Segment(camera=take.camera, index=i, start_frame=edges[i], stop_frame=edges[i + 1])
            for i in range(len(self.cuts))
        ]

    def windows(self) -> list[task_pb2.Window]:
        longest = max(take.frames for take in self.takes) / RATE
        count = round(longest / self.window_sec)
        edges = np.linspace(0, longest, count + 1)
        return [task_pb2.Window(index=i, start_sec=edges[i], stop_sec=edges[i + 1]) for i in range(count)]

    async def put(self, store: ObjectStore) -> None:
        """Lay down what retarget reads."""
        wall = np.full((REFERENCE[1], REFERENCE[0], 3), 90, np.uint8)
        await store.put_bytes(keys.asset_source(f"{self.job_id}-wall"), encode_picture(wall, ".png", 0))
        await store.put_bytes(keys.asset_features(f"{self.job_id}-wall"), features_parquet.to_bytes(features(FEATURES)))
        for take in self.takes:
            await store.put_bytes(keys.asset_index(self.asset(take)), take.index().to_bytes())
            poses, matches, pairs = take.poses(), take.matches(self.mode == "SINGLE"), take.pairs()
            for segment in self.segments(take):
                span = range(segment.start_frame, segment.stop_frame)

                def inside(rows: Any, span: range = span) -> NDArray[np.bool_]:
                    return np.asarray((rows.frame_index >= span.start) & (rows.frame_index < span.stop), np.bool_)

                async def put(stage: str, data: bytes, suffix: str = "parquet", segment: Any = segment) -> None:
                    key = keys.stage_result(self.job_id, stage, segment.camera, segment.index, suffix)
                    await store.put_bytes(key, data)

                await put("stitch", rows_to_parquet(poses.where(inside(poses))))
                await put("match", to_parquet(to_table(select(matches, inside(matches)), MATCH_SCHEMA)))
                if self.mode == "SINGLE":
                    await put("match", points.to_bytes(select(pairs, inside(pairs))), points.SUFFIX)
                if segment.index != 1:
                    await put("match", features_table(span[:5]), "features")


def features(count: int) -> Features:
    numbers = np.zeros(count, np.float32)
    looks = np.tile(np.arange(128, dtype=np.uint8), (count, 1))
    return Features(np.zeros((count, 2), np.float32), numbers, numbers, numbers, looks)


def features_table(frames: Sequence[int]) -> bytes:
    """A feature per frame."""
    return features_parquet.frames_to_bytes([(frame, features(1)) for frame in frames])
