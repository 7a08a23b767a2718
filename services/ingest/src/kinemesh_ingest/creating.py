"""Making a job, by whatever call: parameters completed, inputs checked, first tasks published."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh import errors
from kinemesh.environment.v1 import calibration_pb2
from kinemesh.inference.detector import DEFAULT_THRESHOLD, TASK, resized
from kinemesh.inference.embedder import TASK as EMBEDDER
from kinemesh.job.v1 import parameters_pb2
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_ingest.catalogue import assets, attempts, environments, jobs, models, references
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.checking import inputs_of
from kinemesh_ingest.climbing import matching
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.pipelines import SPLIT
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.messages import to_environment
from kinemesh_ingest.quotas import Quotas
from kinemesh_ingest.registry import Registry

Detecting: TypeAlias = (
    parameters_pb2.PitstopParameters | parameters_pb2.InstructorParameters | parameters_pb2.MultiCameraParameters
)


@dataclass(frozen=True, slots=True)
class JobMaker:
    """Makes jobs of parameters that have been checked."""

    registry: Registry
    conductor: Conductor
    quotas: Quotas

    async def complete(self, parameters: parameters_pb2.JobParameters, owner: str) -> parameters_pb2.JobParameters:
        """Name the model and the threshold that were left open, so that the job keeps them whatever changes later.

        :raises NotFound: MODEL_NOT_FOUND.
        :raises InvalidArgument: WRONG_MODEL_TASK; OUT_OF_RANGE or FIXED_INPUT_SIZE, of ``input_size``.
        :raises FailedPrecondition: MODEL_NOT_READY, or MODEL_REQUIRED if there is no default.
        :raises Unavailable: MODEL_UNAVAILABLE.
        """
        whole = parameters_pb2.JobParameters()
        whole.CopyFrom(parameters)
        asked = detecting(whole)
        if asked is not None:
            if asked.model:
                await self.registry.require(asked.model, owner, TASK)
            else:
                asked.model = await self.registry.default(TASK)
            if not asked.HasField("threshold"):
                asked.threshold = DEFAULT_THRESHOLD
            if asked.input_size:
                resized(await self.registry.detector(asked.model), asked.input_size, "input_size")
        if isinstance(asked, parameters_pb2.MultiCameraParameters):
            asked.ClearField("environment")
            if asked.embedder:
                await self.registry.require(asked.embedder, owner, EMBEDDER)
            else:
                # Without any, people are told apart by where they stand.
                with suppress(errors.FailedPrecondition):
                    asked.embedder = await self.registry.default(EMBEDDER)
        if whole.WhichOneof("pipeline") == "route_match":
            matching.complete(whole.route_match)
        return whole

    async def make(
        self,
        connection: AsyncConnection,
        *,
        job_id: str,
        owner: str,
        inputs: Sequence[Input],
        parameters: parameters_pb2.JobParameters,
    ) -> AnyRow:
        """Insert a job and publish its first tasks, in the transaction of the caller, who wakes the conductor after.

        :param parameters: as :meth:`complete` answered.
        :param inputs: what it reads; those of a job over cameras are its environment's, those of one over attempts
            their videos.
        :raises NotFound: ASSET_NOT_FOUND, MODEL_NOT_FOUND, ENVIRONMENT_NOT_FOUND, ATTEMPT_NOT_FOUND,
            REFERENCE_NOT_FOUND.
        :raises InvalidArgument: WRONG_ASSET_KIND, SUB_VIDEOS_OVERLAP, DIFFERENT_ROUTES.
        :raises FailedPrecondition: ASSET_NOT_READY, NO_CAMERAS, CAMERA_WITHOUT_VIDEOS, NO_REFERENCE.
        :raises ResourceExhausted: QUOTA_EXCEEDED.
        """
        asked = detecting(parameters)
        for model in _models_of(asked):
            if not await models.hold(connection, model):
                raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=model)
        pipeline = str(parameters.WhichOneof("pipeline"))
        environment: AnyRow | None = None
        wall: matching.Wall | None = None
        if isinstance(asked, parameters_pb2.MultiCameraParameters):
            environment, inputs = await _of_environment(connection, asked, owner)
        elif pipeline == "route_match":
            wall, inputs = await matching.fill_in(connection, parameters.route_match, owner, inputs)
        else:
            # The locks keep assets from being deleted before the job is known to read them.
            for asset in (
                await assets.find_all(connection, [one.asset_id for one in inputs], owner, lock=True)
            ).values():
                assets.require_ready(asset, assets.VIDEO, "inputs")
        row = await jobs.add(
            connection,
            inputs,
            job_id=job_id,
            owner=owner,
            pipeline=pipeline,
            stage=SPLIT.name,
            parameters=MessageToDict(parameters, preserving_proto_field_name=True),
            trace=trace_headers(),
        )
        if environment is not None:
            await environments.add_job(connection, environment.environment_key, job_id)
        if wall is not None:
            await references.add_job(connection, job_id, wall.image_asset_id, wall.reference_id)
            named = [one.attempt_id for one in parameters.route_match.attempts if one.attempt_id]
            await attempts.add_job(connection, job_id, named)
        await self.conductor.start(connection, row, inputs)
        await self.quotas.require_job(connection, owner)
        return row


def _outermost(source: calibration_pb2.HomographySource) -> calibration_pb2.HomographySource:
    """Of its points, those that lie outermost on the map."""
    left = calibration_pb2.HomographySource()
    if pairs := source.points.pairs:
        axes = attrgetter("map.x"), attrgetter("map.y")
        left.points.pairs.extend(end(pairs, key=along) for along in axes for end in (min, max))
    return left


async def _of_environment(
    connection: AsyncConnection, asked: parameters_pb2.MultiCameraParameters, owner: str
) -> tuple[AnyRow, list[Input]]:
    """What a job over an environment's cameras reads; the environment as it is now goes into what was asked for."""
    row = await environments.find(connection, asked.environment_id, owner, lock=True)
    site = to_environment(row)
    asked.environment.CopyFrom(site)
    for camera in asked.environment.cameras:
        # Every task carries this: of what the homography was made from, only how far it reaches goes along.
        camera.homography.source.CopyFrom(_outermost(camera.homography.source))
        camera.homography.quality.ClearField("errors_map")
    if not site.cameras:
        raise errors.FailedPrecondition(
            "NO_CAMERAS", "The environment has no cameras.", environment_id=row.environment_id
        )
    for camera in site.cameras:
        if not camera.sub_videos:
            raise errors.FailedPrecondition(
                "CAMERA_WITHOUT_VIDEOS", f"The camera {camera.camera} has no recording.", camera=camera.camera
            )
    named = [one.asset_id for camera in site.cameras for one in camera.sub_videos]
    found = await assets.find_all(connection, named, owner, lock=True)
    for asset in found.values():
        assets.require_ready(asset, assets.VIDEO, "environment_id")
    return row, [one for camera in site.cameras for one in inputs_of(camera, found)]


def _models_of(asked: Detecting | None) -> list[str]:
    """The models that a job uses."""
    if asked is None:
        return []
    embedder = [asked.embedder] if isinstance(asked, parameters_pb2.MultiCameraParameters) and asked.embedder else []
    return sorted({asked.model, *embedder})


def detecting(parameters: parameters_pb2.JobParameters) -> Detecting | None:
    """The part of a job's parameters that names a detector; None if it needs none."""
    name = parameters.WhichOneof("pipeline")
    if name == "pitstop":
        return parameters.pitstop
    if name == "instructor":
        return parameters.instructor
    if name == "multi_camera":
        return parameters.multi_camera
    return None
