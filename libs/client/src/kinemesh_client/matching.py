"""Matching of climbers with a reference image: starting it, how it goes, and how well each frame lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kinemesh_client.detections import Json
from kinemesh_client.environments import Call
from kinemesh_client.paths import path_id
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

    :ivar attempt_id: empty for a clip that is not in the catalogue.
    :ivar verdict: MATCHED or WEAK.
    :ivar matched_frames: frames with a transform of their own; the next two have that of their neighbours, and none.
    :ivar metrics: None when nothing could be measured.
    """

    camera: str
    attempt_id: str
    name: str
    verdict: str
    matched_frames: int
    interpolated_frames: int
    unmatched_frames: int
    metrics: ClimbMetrics | None

    @classmethod
    def of(cls, json: Json) -> AttemptMatch:
        return cls(
            camera=json["camera"],
            attempt_id=json["attempt_id"],
            name=json["name"],
            verdict=json["verdict"],
            matched_frames=json["matched_frames"],
            interpolated_frames=json["interpolated_frames"],
            unmatched_frames=json["unmatched_frames"],
            metrics=ClimbMetrics.of(json["metrics"]),
        )


@dataclass(frozen=True, slots=True)
class MatchResult:
    """What a job of matching made; its files are outputs of the job.

    :ivar verdict: MATCHED, or WEAK if any attempt is.
    :ivar attempts: in the order of the job's inputs.
    :ivar raw: the whole answer, with URLs of the files.
    """

    job_id: str
    verdict: str
    attempts: Sequence[AttemptMatch]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> MatchResult:
        attempts = tuple(AttemptMatch.of(row) for row in json["attempts"])
        return cls(json["job_id"], json["verdict"], attempts, json)


@dataclass(frozen=True, slots=True)
class FrameMatch:
    """How one frame lies on the reference image.

    :ivar frame_index: of the frame in its recording, which ``camera`` names.
    :ivar verdict: MATCHED, WEAK or CANNOT_MATCH.
    :ivar raw: the whole answer, with inliers, coverage and errors.
    """

    camera: str
    frame_index: int
    time_sec: float
    verdict: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> FrameMatch:
        return cls(json["camera"], json["frame_index"], json["time_sec"], json["verdict"], json)


class Matching:
    """``client.matching``."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def start(
        self,
        *,
        attempt_ids: Sequence[str] = (),
        asset_id: str = "",
        reference: str = "",
        image_id: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> MatchStatus:
        """Queue a job over attempts of the catalogue, all at one route, or over one uploaded video.

        :param reference: a reference image of the catalogue; that of the attempts' route when there is neither.
        :param image_id: an uploaded picture instead.
        :param options: ``mode`` (single, multi), ``model`` (affine, homography), ``alignment`` (none, start, path),
            ``style``, ``fps``, ``subject`` (``{time_sec, x, y}``).
        """
        named = {"attempt_ids": list(attempt_ids), "asset_id": asset_id, "reference": reference, "image_id": image_id}
        body = {**{key: value for key, value in named.items() if value}, **(options or {})}
        started = await self._call("POST", _PATH, json=body)
        return MatchStatus(started["job_id"], started["status"], "", 0.0, "", started)

    async def status(self, job_id: str) -> MatchStatus:
        """Where a job stands."""
        return MatchStatus.of(await self._call("GET", _of(job_id)))

    async def result(self, job_id: str) -> MatchResult:
        """What a job made.

        :raises FailedPrecondition: it is not over; or with the reason why it failed, such as ``NOT_ENOUGH_MATCHES``
            with its counts.
        """
        return MatchResult.of(await self._call("GET", f"{_of(job_id)}/result"))

    async def frames(self, job_id: str, limit: int = 100, offset: int = 0) -> Page[FrameMatch]:
        """A page of how well each frame lies, recording by recording."""
        found = await self._call("GET", f"{_of(job_id)}/frames", params={"limit": limit, "offset": offset})
        return Page([FrameMatch.of(row) for row in found["frames"]], found["total"], "")

    async def delete(self, job_id: str) -> None:
        """Delete a job with its results, cancelling it first if need be."""
        await self._call("DELETE", _of(job_id))


def _of(job_id: str) -> str:
    return f"{_PATH}/{path_id(job_id)}"
