"""Making a job, by whatever call: parameters completed, inputs checked, first tasks published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh import errors
from kinemesh.inference.detector import DEFAULT_THRESHOLD, TASK, resized
from kinemesh.job.v1 import parameters_pb2
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_ingest.catalogue import assets, jobs, models
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.pipelines import SPLIT
from kinemesh_ingest.registry import Registry


@dataclass(frozen=True, slots=True)
class JobMaker:
    """Makes jobs of parameters that have been checked."""

    registry: Registry
    conductor: Conductor

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
                asked.model = await self.registry.default_detector()
            if not asked.HasField("threshold"):
                asked.threshold = DEFAULT_THRESHOLD
            if asked.input_size:
                resized(await self.registry.detector(asked.model), asked.input_size, "input_size")
        return whole

    async def make(
        self,
        connection: AsyncConnection,
        *,
        job_id: str,
        owner: str,
        inputs: Sequence[tuple[str, str]],
        parameters: parameters_pb2.JobParameters,
    ) -> AnyRow:
        """Insert a job and publish its first tasks, in the transaction of the caller, who wakes the conductor after.

        :param parameters: as :meth:`complete` answered.
        :raises NotFound: ASSET_NOT_FOUND, MODEL_NOT_FOUND.
        :raises InvalidArgument: WRONG_ASSET_KIND.
        :raises FailedPrecondition: ASSET_NOT_READY.
        """
        asked = detecting(parameters)
        if asked is not None and not await models.hold(connection, asked.model):
            raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=asked.model)
        for _, asset_id in inputs:
            # The lock keeps the asset from being deleted before the job is known to read it.
            asset = await assets.find(connection, asset_id, owner, lock=True)
            assets.require_ready(asset, assets.VIDEO, "inputs")
        row = await jobs.add(
            connection,
            inputs,
            job_id=job_id,
            owner=owner,
            pipeline=parameters.WhichOneof("pipeline"),
            stage=SPLIT.name,
            parameters=MessageToDict(parameters, preserving_proto_field_name=True),
            trace=trace_headers(),
        )
        await self.conductor.start(connection, row, inputs)
        return row


def detecting(
    parameters: parameters_pb2.JobParameters,
) -> parameters_pb2.PitstopParameters | parameters_pb2.InstructorParameters | None:
    """The part of a job's parameters that names a detector; None if it needs none."""
    name = parameters.WhichOneof("pipeline")
    if name == "pitstop":
        return parameters.pitstop
    if name == "instructor":
        return parameters.instructor
    return None
