"""Follows people from frame to frame: which regions to look at, and who is in them.

Semantics as in MediaPipe's PoseLandmarker in VIDEO mode with several poses (no smoothing), but cheaper and with ids:

- The detector runs every ``detect_every`` frames instead of on every frame, and at once when nobody is followed or
  somebody was lost. The schedule is that of the whole clip (frames whose index is a multiple), wherever a segment
  starts: a detected person's region depends on that frame alone, so segments agree from then on. Warm-up of
  ``detect_every`` frames holds one such frame.
- On those frames it looks closer too, at squares of the frame. BlazePose's detector is made for selfies: it misses
  people who are small in the whole frame, or says with little confidence that they are somewhere around there.
  Landmarks can follow them once found, but a segment that starts later would never find them.
- Between detections a region follows the landmarks' own alignment points. They differ a little from the detector's,
  constantly for one person in one posture; that difference is measured when the detector has seen the person and kept
  up until it is due again. Without it landmarks would jump to and fro with the detector's rhythm.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinemesh_pose.domain import roi
from kinemesh_pose.domain.roi import NO_ROIS, Image, Rois

POSE_LANDMARKS = 33
_ALIGNMENT = slice(33, 35)  # the auxiliary landmarks that give the next frame's region
_HEAD = slice(0, 11)
_NEW = -1
_AGREE = 0.8  # intersection over union above which two views place a person alike
_ONE_HEAD = 0.5  # mean distance of two heads' landmarks, in their spread, below which they are one head
_ONE_BODY = 0.5  # of the smaller region, above which two views may have seen one person differently


@dataclass(frozen=True, slots=True)
class Options:
    """How people are found.

    :param max_poses: most people in one frame; once so many are followed the detector rests.
    :param detect_every: frames between two looks of the detector while fewer are followed.
    :param closer: whether it looks closer than at the whole frame. MediaPipe does not.
    :param min_presence: probability of a person below which a region is dropped.
    :param min_overlap: intersection over union above which two regions are the same person.
    """

    max_poses: int = 4
    detect_every: int = 10
    closer: bool = True
    min_presence: float = 0.5
    min_overlap: float = 0.5


@dataclass(frozen=True, slots=True)
class Tracks:
    """The state between two frames, for T followed people, and what later ids start from.

    :param rois: float64 [T,4], the regions to look at next, as in :mod:`~kinemesh_pose.domain.roi`.
    :param ids: int32 [T], never used twice in a segment.
    :param ages: int32 [T], frames since the detector has seen the person; 0 if it sees it in the frame at hand.
    :param biases: float64 [T,4], the detector's region relative to that of the landmarks
        (:func:`~kinemesh_pose.domain.roi.difference`) when it was last seen.
    :param lost: whether somebody may have been there a frame ago who is not followed now.
    """

    rois: Rois
    ids: NDArray[np.int32]
    ages: NDArray[np.int32]
    biases: Rois
    next_id: int
    lost: bool


NO_TRACKS = Tracks(NO_ROIS, np.empty(0, np.int32), np.empty(0, np.int32), NO_ROIS, next_id=0, lost=True)


@dataclass(frozen=True, slots=True)
class CropLandmarks:
    """The landmark network's answer for P crops: float32 ``landmarks`` [P,39,5] (x, y, z in crop pixels, visibility,
    presence), ``world`` [P,39,3] metres in the crop's axes, ``score`` [P] probability of a person."""

    landmarks: NDArray[np.float32]
    world: NDArray[np.float32]
    score: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FramePoses:
    """The P people of a frame.

    ``landmarks`` float32 [P,33,5]: x, y as fractions of width and height, z as a fraction of the width from the hips,
    visibility, presence. ``world`` float32 [P,33,3]: metres from the hip centre, x right, y down, z away from the
    camera. ``score`` float32 [P]. ``ids`` int32 [P], local to the segment.
    """

    landmarks: NDArray[np.float32]
    world: NDArray[np.float32]
    score: NDArray[np.float32]
    ids: NDArray[np.int32]


NO_POSES = FramePoses(
    np.empty((0, POSE_LANDMARKS, 5), np.float32),
    np.empty((0, POSE_LANDMARKS, 3), np.float32),
    np.empty(0, np.float32),
    np.empty(0, np.int32),
)


class Models(Protocol):
    """The two networks, wherever they run."""

    async def detect(self, image: Image) -> NDArray[np.float32]:
        """Detections [K,13] in a square image [224,224,3]: box, four points, score; score 0 is padding."""

    async def landmarks(self, crops: Image) -> CropLandmarks:
        """Landmarks of each of the crops [P,256,256,3]."""


def wants_detection(tracks: Tracks, index: int, options: Options) -> bool:
    """Whether the detector runs on frame ``index``: on schedule, or because nobody is followed or somebody was lost."""
    if len(tracks.rois) >= options.max_poses:
        return False
    return tracks.lost or len(tracks.rois) == 0 or index % options.detect_every == 0


def wants_closer_look(tracks: Tracks, index: int, options: Options) -> bool:
    """Whether the detector, if it runs on frame ``index``, looks closer. Not on every frame of an empty scene."""
    return options.closer and (tracks.lost or index % options.detect_every == 0)


async def detect(frame: Image, models: Models, closer: bool, options: Options) -> Rois:
    """The regions [D,4] of the people whom the detector sees in a frame, most confident first."""
    height, width = frame.shape[:2]
    views = roi.views(width, height)
    whole, scores = roi.from_detections(await models.detect(roi.look(frame, views[0])), views[0])
    near, near_scores = [NO_ROIS], [np.empty(0)]
    for view in views[1:] if closer else ():
        found, confidence = roi.from_detections(await models.detect(roi.look(frame, view)), view)
        fits = roi.fits(found, view)
        near.append(found[fits])
        near_scores.append(confidence[fits])
    return reconcile(whole, scores, np.concatenate(near), np.concatenate(near_scores), options)


def reconcile(
    whole: Rois,
    scores: NDArray[np.float64],
    near: Rois,
    near_scores: NDArray[np.float64],
    options: Options,
) -> Rois:
    """One region per person [D,4], most confident first, from those of the whole frame [W,4] and of closer views [C,4].

    Where both place a person alike that of the whole frame stays, as in MediaPipe. Where they do not, the more
    confident one is right. Whom only a closer view shows is added.
    """
    stays = np.ones(len(whole), np.bool_)
    added = np.empty(0, np.int64)
    for row in np.argsort(-near_scores, kind="stable"):
        rivals = roi.containment(near[row], whole) > _ONE_BODY
        known = (roi.overlap(near[row], whole) > _AGREE).any()
        twice = (roi.overlap(near[row], near[added]) > options.min_overlap).any()
        if not known and not twice and near_scores[row] > scores[rivals].max(initial=0):
            stays &= ~rivals
            added = np.append(added, row)
    rois = np.concatenate([whole[stays], near[added]])
    return rois[np.argsort(-np.concatenate([scores[stays], near_scores[added]]), kind="stable")]


def associate(tracks: Tracks, detected: Rois, options: Options) -> Tracks:
    """Merge followed and detected regions [D,4]: of regions that overlap the later one stays; detections come last.

    A detection inherits the id of the followed region it replaces (the one it overlaps most), else it gets a new one.
    Followed regions that have met keep the older id: the younger one was a poor detection of the same person, most
    likely, and a person's name must not end with it.
    What stays is cut to ``max_poses``, people not detected now first, then by the detector's confidence.
    """
    rois = np.concatenate([tracks.rois, detected])
    ids = np.concatenate([tracks.ids, np.full(len(detected), _NEW, np.int32)])
    kept = np.empty(0, np.int64)
    for row in range(len(rois)):
        shared = roi.overlap(rois[row], rois[kept])
        same = shared > options.min_overlap
        known = same & (ids[kept] != _NEW)
        if known.any():
            met = ids[kept[known]]
            ids[row] = met[np.argmax(shared[known])] if ids[row] == _NEW else min(ids[row], met.min())
        kept = np.append(kept[~same], row)
    kept = kept[: options.max_poses]
    new = kept[ids[kept] == _NEW]
    ids[new] = tracks.next_id + np.arange(len(new), dtype=np.int32)
    return Tracks(
        rois=rois[kept],
        ids=ids[kept],
        ages=np.concatenate([tracks.ages, np.zeros(len(detected), np.int32)])[kept],
        biases=np.concatenate([tracks.biases, np.zeros_like(detected)])[kept],
        next_id=tracks.next_id + len(new),
        lost=tracks.lost,
    )


def conclude(
    tracks: Tracks, answer: CropLandmarks, width: int, height: int, options: Options
) -> tuple[FramePoses, Tracks]:
    """The frame's poses from the network's answer for the regions of ``tracks``, and the state for the next frame.

    Regions without a person are dropped; the others move to where their person is now. Closer views can begin a second
    region on a body that is followed already, with another idea of its trunk: of regions that show one head the oldest
    stays.
    """
    present = answer.score >= options.min_presence
    lost = not present.all()
    if options.closer:
        everyone = roi.project(answer.landmarks, tracks.rois, width, height)
        present &= ~second_bodies(everyone[:, _HEAD, :2] * np.array([width, height]), tracks.ids, present)
    rois, ids, ages = tracks.rois[present], tracks.ids[present], tracks.ages[present]
    landmarks = roi.project(answer.landmarks[present], rois, width, height)
    poses = FramePoses(
        landmarks=landmarks[:, :POSE_LANDMARKS],
        world=roi.rotate_world(answer.world[present, :POSE_LANDMARKS], rois),
        score=answer.score[present],
        ids=ids,
    )
    points = landmarks[:, _ALIGNMENT, :2] * np.array([width, height], np.float64)
    aligned = roi.from_alignment_points(points[:, 0], points[:, 1])
    seen = (ages == 0)[:, None]
    biases = np.where(seen, roi.difference(rois, aligned), tracks.biases[present])
    # Kept up only until the detector is due: it feeds on itself and would carry the region away.
    fresh = (ages + 1 < options.detect_every)[:, None]
    moved = roi.displace(aligned, np.where(fresh, biases, 0.0))
    return poses, Tracks(moved, ids, ages + np.int32(1), biases, tracks.next_id, lost=lost)


def second_bodies(heads: NDArray[np.floating], ids: NDArray[np.int32], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which people [P] have the head of somebody older.

    :param heads: [P,11,2] landmarks of the heads, in pixels.
    :param ids: [P]; the lower is the older.
    :param present: [P] whether there is a person at all; others are neither compared nor marked.
    """
    spread = np.linalg.norm(heads - heads.mean(axis=1, keepdims=True), axis=2).mean(axis=1)
    apart = np.linalg.norm(heads[:, None] - heads[None, :], axis=3).mean(axis=2)
    same = apart < _ONE_HEAD * np.minimum(spread[:, None], spread[None, :])
    older = ids[None, :] < ids[:, None]
    second: NDArray[np.bool_] = (same & older & present[None, :]).any(axis=1) & present
    return second


async def estimate(
    frames: AsyncIterable[Image], models: Models, options: Options, first_index: int = 0
) -> AsyncIterator[FramePoses]:
    """Yield the poses of each frame of a segment, in order.

    :param frames: upright RGB frames, uint8 [H,W,3], of one size.
    :param first_index: index of the first frame in the whole clip, which the detector's schedule follows.
    """
    tracks = NO_TRACKS
    index = first_index
    async for frame in frames:
        height, width = frame.shape[:2]
        detected = NO_ROIS
        if wants_detection(tracks, index, options):
            detected = await detect(frame, models, wants_closer_look(tracks, index, options), options)
        tracks = associate(tracks, detected, options)
        poses, tracks = NO_POSES, replace(tracks, lost=False)
        if len(tracks.rois):
            answer = await models.landmarks(roi.crop(frame, tracks.rois))
            poses, tracks = conclude(tracks, answer, width, height, options)
        yield poses
        index += 1
