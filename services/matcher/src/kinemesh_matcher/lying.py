"""How the frames of a recording lie on the reference, and whether that can be trusted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats
from kinemesh.errors import FailedPrecondition
from kinemesh.results.matches import MatchRows, Verdict
from kinemesh_matcher.domain.common_transform import agreeing_frames, common_transform
from kinemesh_matcher.domain.projective import mapped
from kinemesh_matcher.domain.smoothing import Measured, Source, Transforms, smoothed
from kinemesh_matcher.points import PointRows

NOT_SAMPLED: Final = "NOT_SAMPLED"
"""Reason of frames that were not looked at: one transform is sought for the whole clip, or frames near by did not
match."""
_CAMERA_MOVED: Final = "CAMERA_MOVED"
_MANY_GAPS: Final = "MANY_GAPS"
_HINTS: Final = {
    _CAMERA_MOVED: "The camera seems to have moved: with the mode multi, every frame gets a transform of its own.",
    _MANY_GAPS: "Many frames show too little of the wall: their poses rest on frames beside them, or are left out.",
}
_TOO_FEW: Final = "too few of its frames show the same wall"
_NO_COMMON: Final = "no one transform fits its frames, as the camera moved; the mode multi finds one for each"
_LEAST_AGREEING: Final = 0.2
"""Of the frames that match by themselves: with fewer that agree, one transform would put most poses anywhere."""
_CENTRAL_AREA: Final = 0.36
_LEAST_FRAMES: Final = 3
_LEAST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for.

    :ivar single: one transform for the whole clip, else one per frame.
    :ivar affine: affine transforms, else homographies.
    :ivar reference: width and height of the reference in pixels.
    """

    single: bool
    affine: bool
    reference: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Lying:
    """How a recording lies on the reference.

    :ivar transforms: of all frames.
    :ivar verdict: MATCHED or WEAK.
    :ivar reason: why it is weak, in UPPER_SNAKE; empty when matched.
    :ivar hint: what a user may do about that; may be empty.
    :ivar sampled: how many frames were looked at.
    :ivar matched: how many frames have a say in the transforms.
    :ivar reasons: how many frames were not matched or doubtful, by reason.
    """

    transforms: Transforms
    verdict: Verdict
    reason: str
    hint: str
    sampled: int
    matched: int
    reasons: dict[str, int]


def lying_of(camera: str, frame: tuple[int, int], matches: MatchRows, points: PointRows, wanted: Wanted) -> Lying:
    """How a recording lies on the reference.

    :param camera: its name, for errors.
    :param frame: width and height of its upright frames in pixels.
    :param matches: of all frames, in order.
    :param points: of frames that were looked at; only needed for one transform.
    :raises FailedPrecondition: NOT_ENOUGH_MATCHES
    """
    found = _single(frame, matches, points, wanted) if wanted.single else _multi(frame, matches, wanted)
    if isinstance(found, Lying):
        return found
    raise FailedPrecondition(
        "NOT_ENOUGH_MATCHES",
        f"The recording {camera} cannot be matched with the reference: {found}.",
        camera=camera,
        frames=len(matches),
        sampled_frames=int(_sampled(matches).sum()),
        matched_frames=int(_usable(matches).sum()),
        best_inliers=int(matches.inliers.max(initial=0)),
        best_matches=int(matches.matches.max(initial=0)),
    )


def _usable(matches: MatchRows) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.isin(matches.verdict, (Verdict.MATCHED, Verdict.WEAK)) & np.isfinite(_matrices(matches)).all(axis=(1, 2))


def _sampled(matches: MatchRows) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(matches.reason != NOT_SAMPLED, np.bool_)


def _matrices(matches: MatchRows) -> Floats:
    return matches.matrix.reshape(len(matches), 3, 3)


def _single(frame: tuple[int, int], matches: MatchRows, points: PointRows, wanted: Wanted) -> Lying | str:
    width = wanted.reference[0]
    common = common_transform(points.image, points.reference, frame, width, affine=wanted.affine)
    usable = _usable(matches)
    if common is None:
        return _TOO_FEW if usable.sum() < 2 else _NO_COMMON
    own = _inliers(matches, points)
    agreeing = agreeing_frames(points.frame_index[own], points.image[own], points.reference[own], common.matrix, width)
    agreeing = agreeing[np.isin(agreeing, matches.frame_index[usable])]
    if len(agreeing) < max(1, _LEAST_AGREEING * usable.sum()):
        return _NO_COMMON if usable.any() else _TOO_FEW
    count = len(matches)
    transforms = Transforms(np.tile(common.matrix, (count, 1, 1)), np.full(count, Source.MEASURED, np.int64))
    moved = 2 * len(agreeing) < usable.sum()
    return _judged(transforms, matches, len(agreeing), _CAMERA_MOVED if moved else "")


def _inliers(matches: MatchRows, points: PointRows) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The pairs that agree with their own frame's transform."""
    row = np.searchsorted(matches.frame_index, points.frame_index)
    away = np.linalg.norm(mapped(_matrices(matches)[row], points.image[:, None])[:, 0] - points.reference, axis=1)
    return np.asarray(away <= np.maximum(3 * matches.rms_error_px[row], 3.0), np.bool_)


def _multi(frame: tuple[int, int], matches: MatchRows, wanted: Wanted) -> Lying | str:
    usable = _usable(matches)
    measured = Measured(
        time_sec=matches.time_sec,
        matrix=np.where(usable[:, None, None], _matrices(matches), np.nan),
        sure=matches.verdict == Verdict.MATCHED,
        followed=matches.followed,
        error=_errors(matches),
    )
    transforms = smoothed(measured, frame, wanted.reference[0], affine=wanted.affine)
    count = len(matches)
    own = int(np.isin(transforms.source, (Source.MEASURED, Source.FOLLOWED)).sum())
    if own < min(count, max(_LEAST_FRAMES, ceil(_LEAST_SHARE * count))):
        return _TOO_FEW
    gaps = 2 * own < count or (transforms.source != Source.NONE).sum() < 0.8 * count
    return _judged(transforms, matches, own, _MANY_GAPS if gaps else "")


def _errors(matches: MatchRows) -> Floats:
    """How far off frames' transforms are likely to put what lies in the middle of the frame, in pixels of the
    reference.

    By the usual error of estimates of eight unknowns from N points of two coordinates each, more where these span
    less than the part of the frame that counts.
    """
    points = np.maximum(matches.inliers * np.clip(matches.coverage / _CENTRAL_AREA, 0.05, 1), 1)
    return np.where(np.isfinite(matches.rms_error_px), np.maximum(matches.rms_error_px, 0.1), 1) * np.sqrt(4 / points)


def _judged(transforms: Transforms, matches: MatchRows, matched: int, reason: str) -> Lying:
    """A weak verdict also follows from frames that are all in doubt themselves."""
    sampled = _sampled(matches)
    reasons = Counter(matches.reason[sampled & (matches.reason != "")].tolist())
    if not reason and not (matches.verdict == Verdict.MATCHED).any():
        doubts = Counter(matches.reason[matches.verdict == Verdict.WEAK].tolist())
        reason = min(doubts, key=lambda name: (-doubts[name], name), default="")
    verdict = Verdict.WEAK if reason else Verdict.MATCHED
    return Lying(
        transforms, verdict, reason, _HINTS.get(reason, ""), int(sampled.sum()), matched, dict(sorted(reasons.items()))
    )
