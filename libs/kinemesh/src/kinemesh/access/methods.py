"""The one table of what each gRPC method needs. What only computes costs as much as what writes, and needs the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kinemesh.access.identity import ADMIN, MODELS, READ, WRITE

PUBLIC: Final = ""
"""Needs no token."""

_SERVICES: Final[dict[str, dict[str, str]]] = {
    "grpc.health.v1.Health": {PUBLIC: "Check Watch"},
    "grpc.reflection.v1alpha.ServerReflection": {PUBLIC: "ServerReflectionInfo"},
    "kinemesh.access.v1.AccessService": {PUBLIC: "ExchangeKey", ADMIN: "CreateKey GetKey ListKeys RevokeKey"},
    "kinemesh.asset.v1.AssetService": {
        READ: "GetAsset ListAssets CreateAssetDownload",
        WRITE: "CreateUpload GetUpload ConfirmUpload DeleteAsset",
    },
    "kinemesh.detect_track.v1.DetectTrackService": {READ: "WatchTracking QueryTracks", WRITE: "Detect Track"},
    "kinemesh.environment.v1.EnvironmentService": {
        READ: "GetEnvironment ListEnvironments ListIdentities",
        WRITE: "CreateEnvironment UpdateEnvironment DeleteEnvironment SetHomography DeleteHomography"
        " ImportCalibration DeleteIdentity",
    },
    "kinemesh.job.v1.JobService": {
        READ: "GetJob ListJobs WatchJob ListJobLogs CreateOutputDownload ListPipelines",
        WRITE: "CreateJob CancelJob DeleteJob",
    },
    "kinemesh.matcher.v1.MatcherService": {WRITE: "Match TransferPose"},
    "kinemesh.model.v1.ModelService": {
        READ: "ListModels GetModel",
        WRITE: "TestModel",
        MODELS: "ImportModel AddModel DeleteModel",
    },
    "kinemesh.pose.v1.PoseService": {WRITE: "Estimate EstimateStream"},
    "kinemesh.render.v1.RenderService": {WRITE: "RenderFrame"},
    "kinemesh.route.v1.RouteService": {
        READ: "GetArea ListAreas GetRoute ListRoutes GetAttempt ListAttempts ListRecentAttempts CreateAttemptDownload"
        " CompareAttempts GetTree SearchCatalogue GetReferenceImage ListReferenceImages CreateReferenceImageDownload",
        WRITE: "CreateArea UpdateArea DeleteArea CreateRoute UpdateRoute DeleteRoute CreateAttempt UpdateAttempt"
        " DeleteAttempt CreateReferenceImage DeleteReferenceImage DeleteTemporaryFiles",
    },
    "kinemesh.session.v1.SessionService": {
        READ: "GetSession ListSessions GetInstructorTracking CreateSessionDownload",
        WRITE: "CreateSession UpdateSession ProcessSession DeleteSession",
    },
    "kinemesh.usage.v1.UsageService": {READ: "GetUsage"},
}


def _flat() -> Iterator[tuple[str, str]]:
    for service, by_scope in _SERVICES.items():
        for scope, methods in by_scope.items():
            yield from ((f"/{service}/{method}", scope) for method in methods.split())


NEEDED: Final = dict(_flat())
"""Full name of a method → the scope that it needs, or :data:`PUBLIC`."""
