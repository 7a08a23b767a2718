"""Matching of climbers with a reference image: starting it, how it goes, and how well each frame lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kinemesh_client.detections import Json
from kinemesh_client.environments import Call
from kinemesh_client.paths import page_params, path_id
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import ClimbMetrics

_PATH: Final = "/api/v1/match"


@dataclass(frozen=True, slots=True)
class MatchStatus:
    """Where a job of matching stands.

    :ivar status: queued, running, completed, failed or cancelled.
    :ivar progress: 0 to 1.
    :ivar error: a sentence, once failed; else empty.
    :ivar raw: the whole answer.
    """

    job_id: str
    status: str
    stage: str
    progress: float
    error: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> MatchStatus:
        return cls(json["job_id"], json["status"], json["stage"] or "", json["progress"], json["error"] or "", json)


@dataclass(frozen=True, slots=True)
class AttemptMatch:
    """How one attempt lies on the reference image.

    :ivar number: of the attempt in all results of the job, from 1.
    :ivar attempt_id: empty for a video that is not in the catalogue.
    :ivar verdict: MATCHED, WEAK or CANNOT_MATCH.
    :ivar matched_frames: frames with a transform of their own; ``interpolated_frames`` have that of good neighbours,
        and of ``unmatched_frames`` nothing is drawn.
    :ivar metrics: None when nothing could be measured.
    """

    number: int
    camera: str
    attempt_id: str
    name: str
    verdict: str
    matched_frames: int
    interpolated_frames: int
    unmatched_frames: int
    metrics: ClimbMetrics | None


@dataclass(frozen=True, slots=True)
class TouchedHold:
    """A hold that a hand or a foot touched.

    :ivar number: from 1; the attempts of a job share holds.
    :ivar x: fraction of the reference image's width, as ``y`` of its height.
    :ivar attempts: numbers of the attempts that touched it.
    """

    number: int
    x: float
    y: float
    attempts: Sequence[int]


@dataclass(frozen=True, slots=True)
class MatchResult:
    """What a job of matching made; its files are outputs of the job.

    :ivar verdict: the worst of the attempts'.
    :ivar attempts: in the order of the job's inputs.
    :ivar reference_features: number of features of the reference image.
    :ivar holds: those that were touched.
    :ivar raw: the whole answer, with URLs of the files.
    """

    job_id: str
    verdict: str
    attempts: Sequence[AttemptMatch]
    reference_features: int
    holds: Sequence[TouchedHold]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> MatchResult:
        measured = {row["attempt"]: ClimbMetrics.of(row) for row in json["metrics"]}
        attempts = tuple(
            AttemptMatch(
                number=row["attempt"],
                camera=row["camera"],
                attempt_id=row["attempt_id"],
                name=row["name"],
                verdict=row["verdict"] or "",
                matched_frames=row["matched_frames"],
                interpolated_frames=row["interpolated_frames"],
                unmatched_frames=row["unmatched_frames"],
                metrics=measured.get(row["attempt"]),
            )
            for row in json["quality"]
        )
        holds = tuple(TouchedHold(row["hold"], row["x"], row["y"], tuple(row["attempts"])) for row in json["holds"])
        return cls(json["job_id"], json["verdict"] or "", attempts, json["reference_features"] or 0, holds, json)


@dataclass(frozen=True, slots=True)
class FrameMatch:
    """How one frame lies on the reference image.

    :ivar attempt: number of the attempt, from 1; the frame is one of its recording.
    :ivar verdict: MATCHED, WEAK or CANNOT_MATCH; empty for a frame that nothing was said of.
    :ivar reason: why it is not MATCHED, in UPPER_SNAKE; else empty.
    :ivar source: where the transform in use comes from: measured, followed, interpolated, held or none.
    :ivar inliers: number of pairs of features that agree with the transform.
    :ivar raw: the whole answer, with coverage and errors.
    """

    attempt: int
    frame_index: int
    time_sec: float
    verdict: str
    reason: str
    source: str
    inliers: int
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> FrameMatch:
        return cls(
            attempt=json["attempt"],
            frame_index=json["frame_index"],
            time_sec=json["time_sec"],
            verdict=json["verdict"] or "",
            reason=json["reason"] or "",
            source=json["source"] or "",
            inliers=json["inliers"],
            raw=json,
        )


class Matching:
    """``client.matching``."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def start(
        self,
        *,
        attempt_ids: Sequence[str] = (),
        asset_ids: Sequence[str] = (),
        reference: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> MatchStatus:
        """Queue a job over attempts of the catalogue, all at one route, or over uploaded videos; eight at most.

        :param reference: id of a reference image; that of the attempts' route when empty.
        :param options: ``mode`` (single, multi), ``model`` (affine, homography), ``alignment`` (none, start, path),
            ``style``, ``fps``, ``subject`` (``{time_sec, x, y}``).
        """
        named = {"attempt_ids": list(attempt_ids), "asset_ids": list(asset_ids), "reference": reference}
        body = {**{key: value for key, value in named.items() if value}, **(options or {})}
        started = await self._call("POST", _PATH, json=body)
        return MatchStatus(started["job_id"], started["status"], "", 0.0, "", started)

    async def status(self, job_id: str) -> MatchStatus:
        """Where a job stands."""
        return MatchStatus.of(await self._call("GET", _of(job_id)))

    async def result(self, job_id: str) -> MatchResult:
        """What a job made.

        :raises FailedPrecondition: ``JOB_NOT_COMPLETE``; why the job failed, such as ``NOT_ENOUGH_MATCHES`` with its
            counts.
        """
        return MatchResult.of(await self._call("GET", f"{_of(job_id)}/result"))

    async def frames(self, job_id: str, limit: int = 100, page_token: str = "") -> Page[FrameMatch]:
        """A page of how well each frame lies, attempt by attempt."""
        found = await self._call("GET", f"{_of(job_id)}/frames", params=page_params(limit, page_token))
        rows = [FrameMatch.of(row) for row in found["frames"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def delete(self, job_id: str) -> None:
        """Delete a job with its results, cancelling it first if need be."""
        await self._call("DELETE", _of(job_id))


def _of(job_id: str) -> str:
    return f"{_PATH}/{path_id(job_id)}"
