"""Typed client of Kinemesh's REST and WebSocket surface.

::

    async with KinemeshClient("http://127.0.0.1:8080") as client:
        asset = await client.upload(Path("run.mp4"))
        job = await client.create_job("pose", asset.asset_id, {"subject": "MAIN"})
        async for event in client.watch(job.job_id):
            print(event.kind, event.payload)
        for output in (await client.get_job(job.job_id)).outputs:
            await client.download(job.job_id, output, Path("out") / output.name)
"""

from __future__ import annotations

from kinemesh_client.client import KinemeshClient
from kinemesh_client.detections import Box, Detection, FrameResult, ModelTest, PersonResult, TrackedObject
from kinemesh_client.environments import Calibration, Environment, Homography, Identity
from kinemesh_client.matching import AttemptMatch, FrameMatch, MatchResult, MatchStatus, TouchedHold
from kinemesh_client.resources import (
    Asset,
    Failure,
    Job,
    JobEvent,
    LogLine,
    Model,
    Output,
    Page,
    Pipeline,
    Session,
    StageProgress,
)
from kinemesh_client.route_catalogue import (
    Area,
    Attempt,
    Cleared,
    ClimbMetrics,
    Comparison,
    RecentAttempt,
    ReferenceImage,
    Route,
    SearchHit,
    Tree,
)
from kinemesh_client.tracking import CameraTrack, Presence, TaskStatus, TrackingUpdate

__all__ = [
    "Area",
    "Asset",
    "Attempt",
    "AttemptMatch",
    "Box",
    "Calibration",
    "CameraTrack",
    "Cleared",
    "ClimbMetrics",
    "Comparison",
    "Detection",
    "Environment",
    "Failure",
    "FrameMatch",
    "FrameResult",
    "Homography",
    "Identity",
    "Job",
    "JobEvent",
    "KinemeshClient",
    "LogLine",
    "MatchResult",
    "MatchStatus",
    "Model",
    "ModelTest",
    "Output",
    "Page",
    "PersonResult",
    "Pipeline",
    "Presence",
    "RecentAttempt",
    "ReferenceImage",
    "Route",
    "SearchHit",
    "Session",
    "StageProgress",
    "TaskStatus",
    "TouchedHold",
    "TrackedObject",
    "TrackingUpdate",
    "Tree",
]
