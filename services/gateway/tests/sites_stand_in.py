"""Environments and queries as the gateway sees them."""

from __future__ import annotations

from typing import Any, cast

import grpc

from kinemesh import errors
from kinemesh.detect_track.v1 import detect_track_pb2, detect_track_pb2_grpc
from kinemesh.environment.v1 import calibration_pb2, environment_pb2, environment_pb2_grpc
from kinemesh.job.v1 import job_pb2

from .catalogue import Catalogue, now


class Environments(environment_pb2_grpc.EnvironmentServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def CreateEnvironment(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateEnvironment", context)
        new = environment_pb2.Environment()
        new.CopyFrom(request.environment)
        new.environment_id = new.environment_id or f"site-{next(self.c.ids)}"
        if request.request_id in self.c.requests:
            known = self.c.environments[self.c.requests[request.request_id]]
            return environment_pb2.CreateEnvironmentResponse(environment=known)
        if new.environment_id in self.c.environments:
            raise errors.AlreadyExists("ENVIRONMENT_EXISTS", "An environment of this id exists.")
        if request.request_id:
            self.c.requests[request.request_id] = new.environment_id
        new.owner = owner
        new.create_time.CopyFrom(now())
        new.update_time.CopyFrom(now())
        self.c.environments[new.environment_id] = new
        return environment_pb2.CreateEnvironmentResponse(environment=new)

    async def GetEnvironment(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetEnvironment", context)
        return environment_pb2.GetEnvironmentResponse(environment=self.c.environment(request.environment_id, owner))

    async def ListEnvironments(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListEnvironments", context)
        mine = [environment for environment in self.c.environments.values() if environment.owner == owner]
        items, token, total = self.c.page(mine, request)
        return environment_pb2.ListEnvironmentsResponse(environments=items, next_page_token=token, total_size=total)

    async def UpdateEnvironment(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("UpdateEnvironment", context)
        environment = self.c.environment(request.environment.environment_id, owner)
        for path in request.update_mask.paths:
            if path not in environment.DESCRIPTOR.fields_by_name:
                raise errors.InvalidArgument("FIELD_UNKNOWN", "There is no such field.", field="update_mask")
            environment.ClearField(path)
        request.update_mask.MergeMessage(request.environment, environment)
        return environment_pb2.UpdateEnvironmentResponse(environment=environment)

    async def DeleteEnvironment(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("DeleteEnvironment", context)
        self.c.environment(request.environment_id, owner)
        for job in self.c.jobs.values():
            uses = job.parameters.multi_camera.environment_id == request.environment_id
            if uses and job.state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING):
                raise errors.FailedPrecondition("ENVIRONMENT_IN_USE", "A job uses it.", job_id=job.job_id)
        del self.c.environments[request.environment_id]
        return environment_pb2.DeleteEnvironmentResponse()

    async def SetHomography(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("SetHomography", context)
        name = request.camera or _implied(request.source.file.filename)
        camera = _camera(self.c.environment(request.environment_id, owner), name)
        homography = calibration_pb2.Homography(source=request.source)
        if request.source.HasField("points") and len(request.source.points.pairs) < 4:
            raise errors.InvalidArgument("TOO_FEW_POINTS", "At least four points are needed.", field="points")
        homography.image_to_map.values.extend((1, 0, 0, 0, 1, 0, 0, 0, 1))
        homography.quality.points = len(request.source.points.pairs)
        if not request.validate_only:
            camera.homography.CopyFrom(homography)
        return environment_pb2.SetHomographyResponse(camera=name, homography=homography)

    async def DeleteHomography(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("DeleteHomography", context)
        _camera(self.c.environment(request.environment_id, owner), request.camera).ClearField("homography")
        return environment_pb2.DeleteHomographyResponse()

    async def ImportCalibration(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ImportCalibration", context)
        environment = self.c.environment(request.environment_id, owner)
        if not request.file.data.startswith(b"{"):
            raise errors.InvalidArgument("UNKNOWN_FORMAT", "The document is not JSON.", field="file")
        axes = calibration_pb2.AxisOrder.Name(request.image_axes)
        said = [request.file.filename, axes, str(request.validate_only), request.file.data.decode()]
        return environment_pb2.ImportCalibrationResponse(
            environment=environment, calibrated_cameras=said, unknown_cameras=["c99"]
        )

    async def ListIdentities(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListIdentities", context)
        self.c.environment(request.environment_id, owner)
        items, token, total = self.c.page(list(self.c.identities.values()), request)
        return environment_pb2.ListIdentitiesResponse(identities=items, next_page_token=token, total_size=total)

    async def DeleteIdentity(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("DeleteIdentity", context)
        self.c.environment(request.environment_id, owner)
        if self.c.identities.pop(request.global_id, None) is None:
            raise errors.NotFound("IDENTITY_NOT_FOUND", "Nobody is known by this id.", global_id=request.global_id)
        return environment_pb2.DeleteIdentityResponse(changed_jobs=3)


class Tracks(detect_track_pb2_grpc.DetectTrackServiceServicer):
    """Answers with what it was asked."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def QueryTracks(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("QueryTracks", context)
        if not (request.environment_id or request.job_ids):
            raise errors.InvalidArgument("ENVIRONMENT_NEEDED", "Name a site or jobs.", field="environment_id")
        found = detect_track_pb2.Presence(
            global_id=(*request.global_ids, "p1")[0],
            job_id="job-1",
            camera=(*request.cameras, "c09")[0],
            start_sec=request.clock.start_sec,
            end_sec=2.5,
            stop_frame=25,
            distance=request.max_gap_sec,
            score=0.5,
        )
        if request.HasField("time"):
            found.start_time.CopyFrom(request.time.start_time)
        if request.within:
            found.first_position.CopyFrom(request.within[0])
        if request.path_step_sec:
            found.path.time_sec.extend((0.0, request.path_step_sec))
        return detect_track_pb2.QueryTracksResponse(
            presences=[found] * min(request.page_size, 3), next_page_token="3", total_size=9
        )


def _camera(environment: environment_pb2.Environment, name: str) -> environment_pb2.Camera:
    for camera in environment.cameras:
        if camera.camera == name:
            return camera
    raise errors.NotFound("UNKNOWN_CAMERA", "The environment has no such camera.", camera=name)


def _implied(filename: str) -> str:
    parts = filename.split("_")
    if len(parts) < 3:
        raise errors.InvalidArgument("CAMERA_NOT_NAMED", "The file's name holds no camera.", field="camera")
    return parts[2]


def add_sites(catalogue: Catalogue, server: grpc.aio.Server) -> None:
    # Methods that the gateway never calls are left unimplemented.
    environments, tracks = cast(tuple[Any, Any], (Environments, Tracks))
    environment_pb2_grpc.add_EnvironmentServiceServicer_to_server(environments(catalogue), server)
    detect_track_pb2_grpc.add_DetectTrackServiceServicer_to_server(tracks(catalogue), server)
