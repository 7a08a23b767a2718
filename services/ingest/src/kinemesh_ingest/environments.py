"""EnvironmentService: sites, their cameras, their calibration, and whom they know."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.environment.v1 import calibration_pb2, environment_pb2, environment_pb2_grpc
from kinemesh.pipelining import in_thread
from kinemesh.serving.interceptor import caller
from kinemesh_ingest.calibrating import homography_of, source_of
from kinemesh_ingest.catalogue import assets, environments, gallery, requests
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import by_name, newest_first, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import environments as environments_table
from kinemesh_ingest.catalogue.tables import identities as identities_table
from kinemesh_ingest.checking import assets_of, checked_environment, view_of
from kinemesh_ingest.domain.calibration import Plane, camera_of_file, read_document
from kinemesh_ingest.domain.validation import check_id
from kinemesh_ingest.masks import changed_fields
from kinemesh_ingest.messages import document_of, to_environment, to_identity

_CHANGEABLE: Final = (
    "display_name",
    "description",
    "cameras",
    "zones",
    "passages",
    "ground_plane",
    "clock_start_time",
    "gallery",
)


class EnvironmentRpc(environment_pb2_grpc.EnvironmentServiceServicer):
    """Keeps environments.

    :param forget: set when somebody is to be taken out of results.
    """

    def __init__(self, engine: AsyncEngine, forget: asyncio.Event) -> None:
        self._engine = engine
        self._forget = forget

    async def CreateEnvironment(  # noqa: N802
        self, request: environment_pb2.CreateEnvironmentRequest, context: Any
    ) -> environment_pb2.CreateEnvironmentResponse:
        owner = caller(context)
        wanted = request.environment
        environment_id = (
            check_id("environment_id", wanted.environment_id) if wanted.environment_id else uuid.uuid4().hex
        )
        wanted.environment_id = environment_id
        async with self._engine.begin() as connection:
            method = "CreateEnvironment"
            first = await requests.claim(connection, owner, method, request.request_id, environment_id)
            if first is not None:
                row = await environments.find(connection, first, owner)
            else:
                whole = await _checked(connection, wanted, owner)
                row = await environments.add(
                    connection,
                    owner=owner,
                    environment_id=environment_id,
                    display_name=whole.display_name,
                    document=document_of(whole),
                )
        return environment_pb2.CreateEnvironmentResponse(environment=to_environment(row))

    async def GetEnvironment(  # noqa: N802
        self, request: environment_pb2.GetEnvironmentRequest, context: Any
    ) -> environment_pb2.GetEnvironmentResponse:
        async with self._engine.connect() as connection:
            row = await environments.find(connection, request.environment_id, caller(context))
        return environment_pb2.GetEnvironmentResponse(environment=to_environment(row))

    async def ListEnvironments(  # noqa: N802
        self, request: environment_pb2.ListEnvironmentsRequest, context: Any
    ) -> environment_pb2.ListEnvironmentsResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        mine = belongs_to(environments_table, caller(context))
        async with self._engine.connect() as connection:
            page = await by_name(connection, environments_table, ("display_name", "environment_id"), mine, wanted)
        return environment_pb2.ListEnvironmentsResponse(
            environments=[to_environment(row) for row in page.rows],
            next_page_token=page.next_token,
            total_size=page.total,
        )

    async def UpdateEnvironment(  # noqa: N802
        self, request: environment_pb2.UpdateEnvironmentRequest, context: Any
    ) -> environment_pb2.UpdateEnvironmentResponse:
        owner = caller(context)
        paths = changed_fields(request.environment, request.update_mask.paths, _CHANGEABLE)
        async with self._engine.begin() as connection:
            row = await environments.find(connection, request.environment.environment_id, owner, lock=True)
            if await _is_first(connection, owner, "UpdateEnvironment", request.request_id, row):
                whole = to_environment(row)
                for path in paths:
                    _take(whole, request.environment, path)
                row = await _keep(connection, row, whole)
        return environment_pb2.UpdateEnvironmentResponse(environment=to_environment(row))

    async def DeleteEnvironment(  # noqa: N802
        self, request: environment_pb2.DeleteEnvironmentRequest, context: Any
    ) -> environment_pb2.DeleteEnvironmentResponse:
        owner = caller(context)
        async with self._engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteEnvironment", request.request_id):
                return environment_pb2.DeleteEnvironmentResponse()
            row = await environments.find(connection, request.environment_id, owner, lock=True)
            await environments.remove(connection, row)
            await requests.claim(connection, owner, "DeleteEnvironment", request.request_id, row.environment_id)
        return environment_pb2.DeleteEnvironmentResponse()

    async def SetHomography(  # noqa: N802
        self, request: environment_pb2.SetHomographyRequest, context: Any
    ) -> environment_pb2.SetHomographyResponse:
        owner = caller(context)
        name = _camera_named(request)
        async with self._engine.begin() as connection:
            row = await environments.find(connection, request.environment_id, owner, lock=not request.validate_only)
            whole = to_environment(row)
            camera = _camera(whole, name)
            if request.validate_only or await _is_first(connection, owner, "SetHomography", request.request_id, row):
                rows = await assets.find_all(connection, [one.asset_id for one in camera.sub_videos], owner)
                view = view_of(camera, whole.ground_plane, rows)
                camera.homography.CopyFrom(await in_thread(homography_of, request.source, view))
                if not request.validate_only:
                    await _store(connection, row, whole)
        return environment_pb2.SetHomographyResponse(camera=name, homography=camera.homography)

    async def DeleteHomography(  # noqa: N802
        self, request: environment_pb2.DeleteHomographyRequest, context: Any
    ) -> environment_pb2.DeleteHomographyResponse:
        owner = caller(context)
        async with self._engine.begin() as connection:
            row = await environments.find(connection, request.environment_id, owner, lock=True)
            if await _is_first(connection, owner, "DeleteHomography", request.request_id, row):
                whole = to_environment(row)
                _camera(whole, request.camera).ClearField("homography")
                await _store(connection, row, whole)
        return environment_pb2.DeleteHomographyResponse()

    async def ImportCalibration(  # noqa: N802
        self, request: environment_pb2.ImportCalibrationRequest, context: Any
    ) -> environment_pb2.ImportCalibrationResponse:
        owner = caller(context)
        document = await in_thread(read_document, request.file.data)
        async with self._engine.begin() as connection:
            row = await environments.find(connection, request.environment_id, owner, lock=not request.validate_only)
            whole = to_environment(row)
            cameras = {camera.camera: camera for camera in whole.cameras}
            known = [name for name in document.cameras if name in cameras]
            unknown = [name for name in document.cameras if name not in cameras]
            if not known:
                raise errors.InvalidArgument(
                    "UNKNOWN_CAMERA",
                    "The document calibrates no camera that the environment has.",
                    cameras=", ".join(unknown)[:500],
                )
            if request.validate_only or await _is_first(
                connection, owner, "ImportCalibration", request.request_id, row
            ):
                _lay(whole.ground_plane, document.plane)
                for name in known:
                    source = source_of(document.cameras[name], request.image_axes, request.map_axes)
                    cameras[name].homography.CopyFrom(calibration_pb2.Homography(source=source))
                whole = await _checked(connection, whole, owner)
                if not request.validate_only:
                    row = await _store(connection, row, whole)
                    whole = to_environment(row)
        return environment_pb2.ImportCalibrationResponse(
            environment=whole, calibrated_cameras=known, unknown_cameras=unknown
        )

    async def ListIdentities(  # noqa: N802
        self, request: environment_pb2.ListIdentitiesRequest, context: Any
    ) -> environment_pb2.ListIdentitiesResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        async with self._engine.connect() as connection:
            row = await environments.find(connection, request.environment_id, caller(context))
            page = await newest_first(
                connection, identities_table, "global_id", gallery.is_known(row), wanted, time="last_seen_time"
            )
            ids = [one.global_id for one in page.rows]
            counts = await gallery.job_counts(connection, row.environment_key, ids)
        retention = gallery.retention_of(row)
        return environment_pb2.ListIdentitiesResponse(
            identities=[to_identity(one, counts.get(one.global_id, 0), retention) for one in page.rows],
            next_page_token=page.next_token,
            total_size=page.total,
        )

    async def DeleteIdentity(  # noqa: N802
        self, request: environment_pb2.DeleteIdentityRequest, context: Any
    ) -> environment_pb2.DeleteIdentityResponse:
        owner = caller(context)
        async with self._engine.begin() as connection:
            row = await environments.find(connection, request.environment_id, owner, lock=True)
            affected = await gallery.jobs_with(connection, row.environment_key, request.global_id)
            first = await requests.claim(connection, owner, "DeleteIdentity", request.request_id, str(len(affected)))
            if first is not None:
                return environment_pb2.DeleteIdentityResponse(changed_jobs=int(first))
            if not await gallery.forget(connection, row.environment_key, request.global_id, affected):
                raise errors.NotFound(
                    "IDENTITY_NOT_FOUND", "The environment knows no such person.", global_id=request.global_id[:64]
                )
        self._forget.set()
        return environment_pb2.DeleteIdentityResponse(changed_jobs=len(affected))


def _take(whole: environment_pb2.Environment, given: environment_pb2.Environment, path: str) -> None:
    whole.ClearField(path)  # type: ignore[arg-type]
    part = environment_pb2.Environment()
    part.CopyFrom(given)
    for field, _ in given.ListFields():
        if field.name != path:
            part.ClearField(field.name)  # type: ignore[arg-type]
    whole.MergeFrom(part)


def _camera_named(request: environment_pb2.SetHomographyRequest) -> str:
    if request.camera:
        return request.camera
    name = camera_of_file(request.source.file.filename)
    if not name:
        raise errors.InvalidArgument(
            "MISSING_FIELD",
            "camera is needed: the file's name has none, as homography_points_c09.npz has.",
            field="camera",
        )
    return name


def _camera(whole: environment_pb2.Environment, name: str) -> environment_pb2.Camera:
    for camera in whole.cameras:
        if camera.camera == name:
            return camera
    raise errors.NotFound("UNKNOWN_CAMERA", "The environment has no such camera.", camera=name[:64])


def _lay(plane: environment_pb2.GroundPlane, given: Plane | None) -> None:
    if given is None:
        return
    plane.width = given.width or plane.width
    plane.height = given.height or plane.height
    plane.pixels_per_unit = given.pixels_per_meter or plane.pixels_per_unit


async def _is_first(connection: AsyncConnection, owner: str, method: str, request_id: str, row: AnyRow) -> bool:
    return await requests.claim(connection, owner, method, request_id, row.environment_id) is None


async def _checked(
    connection: AsyncConnection, environment: environment_pb2.Environment, owner: str
) -> environment_pb2.Environment:
    # The locks keep the assets from being deleted before the environment is known to name them.
    rows: Mapping[str, AnyRow] = await assets.find_all(connection, assets_of(environment), owner, lock=True)
    return await in_thread(checked_environment, environment, rows)


async def _keep(connection: AsyncConnection, row: AnyRow, whole: environment_pb2.Environment) -> AnyRow:
    return await _store(connection, row, await _checked(connection, whole, row.owner))


async def _store(connection: AsyncConnection, row: AnyRow, whole: environment_pb2.Environment) -> AnyRow:
    return await environments.change(
        connection, row.environment_key, display_name=whole.display_name, document=document_of(whole)
    )
