"""Rows of the catalogue as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.asset.v1 import asset_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.errors import InvalidArgument
from kinemesh.job.v1 import job_pb2
from kinemesh.session.v1 import session_pb2
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.catalogue.sessions import Jobs
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.domain.pipelines import PIPELINES, Pipeline, pipeline_of
from kinemesh_ingest.domain.timeline import Input, Segment, Window


def names_of(kind: Any, values: Iterable[int], prefix: str, field: str) -> list[str]:
    """The names of an enumeration's values as rows have them, without their prefix.

    :raises InvalidArgument: UNKNOWN_VALUE; a caller may send numbers that have no name.
    """
    names = dict(zip(kind.values(), kind.keys(), strict=True))
    try:
        return [names[value].removeprefix(prefix) for value in values]
    except KeyError as error:
        raise InvalidArgument(
            "UNKNOWN_VALUE", f"{field} holds a value that there is not.", field=field, value=error.args[0]
        ) from None


def to_timestamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def to_asset(row: AnyRow) -> asset_pb2.Asset:
    asset = asset_pb2.Asset(
        asset_id=row.asset_id,
        owner=row.owner,
        filename=row.filename,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        kind=asset_pb2.AssetKind.Value(f"ASSET_KIND_{row.kind}"),
        sha256=row.sha256,
        state=asset_pb2.AssetState.Value(f"ASSET_STATE_{row.state}"),
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )
    if row.video:
        ParseDict(row.video, asset.video)
    if row.failure:
        ParseDict(row.failure, asset.failure)
    return asset


def to_environment(row: AnyRow) -> environment_pb2.Environment:
    environment = ParseDict(row.document, environment_pb2.Environment())
    environment.environment_id = row.environment_id
    environment.owner = row.owner
    environment.display_name = row.display_name
    environment.create_time.CopyFrom(to_timestamp(row.create_time))
    environment.update_time.CopyFrom(to_timestamp(row.update_time))
    return environment


def to_identity(row: AnyRow, job_count: int, retention: timedelta) -> environment_pb2.Identity:
    return environment_pb2.Identity(
        global_id=row.global_id,
        first_seen_time=to_timestamp(row.first_seen_time),
        last_seen_time=to_timestamp(row.last_seen_time),
        cameras=row.cameras,
        job_count=job_count,
        expire_time=to_timestamp(row.remember_time + retention),
    )


def document_of(environment: environment_pb2.Environment) -> dict[str, Any]:
    """What of an environment is kept as a document: all that has no column of its own."""
    bare = environment_pb2.Environment()
    bare.CopyFrom(environment)
    for field in ("environment_id", "owner", "display_name", "create_time", "update_time"):
        bare.ClearField(field)
    return MessageToDict(bare, preserving_proto_field_name=True)


def to_session(row: AnyRow, jobs: Jobs, video: dict[str, Any]) -> session_pb2.Session:
    """A session; ``video`` is what the catalogue says of its asset."""
    session = session_pb2.Session(
        session_id=row.session_id,
        owner=row.owner,
        display_name=row.display_name,
        asset_id=row.asset_id,
        job_id=jobs.latest.job_id if jobs.latest is not None else "",
        result_job_id=jobs.result.job_id if jobs.result is not None else "",
        has_instructor_tracking_result=jobs.result is not None,
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )
    ParseDict(video, session.video)
    return session


def to_job(row: AnyRow, inputs: Sequence[Input], counts: Sequence[AnyRow], session_id: str) -> job_pb2.Job:
    """A job; ``counts`` are the rows of ``jobs.stage_counts`` that belong to it."""
    by_stage = {count.stage: count for count in counts}
    is_known = row.pipeline in PIPELINES
    names = [stage.name for stage in pipeline_of(row.parameters).stages] if is_known else list(by_stage)
    job = job_pb2.Job(
        job_id=row.job_id,
        owner=row.owner,
        pipeline=row.pipeline,
        state=job_pb2.JobState.Value(f"JOB_STATE_{row.state}"),
        stage=row.stage,
        progress=1.0 if row.state == "SUCCEEDED" else row.progress,
        inputs=[to_input(given) for given in inputs],
        stages=[_to_progress(name, by_stage.get(name)) for name in names],
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
        session_id=session_id,
    )
    ParseDict(row.parameters, job.parameters)
    if row.failure:
        ParseDict(row.failure, job.failure)
    if row.state == "SUCCEEDED":
        # What an unfinished job has written so far is not for anybody's eyes.
        job.outputs.extend(ParseDict(output, job_pb2.JobOutput()) for output in row.outputs)
        job.summary.update(row.summary)
    return job


def to_pipeline(pipeline: Pipeline) -> job_pb2.Pipeline:
    return job_pb2.Pipeline(
        pipeline=pipeline.name,
        description=pipeline.description,
        stages=[
            job_pb2.PipelineStage(
                stage=stage.name,
                service=stage.service,
                unit=stage.unit.value,
                after=stage.after,
                ordered=stage.ordered,
            )
            for stage in pipeline.stages
        ],
    )


def _to_progress(stage: str, count: AnyRow | None) -> job_pb2.StageProgress:
    if count is None:
        return job_pb2.StageProgress(stage=stage)
    return job_pb2.StageProgress(stage=stage, tasks=count.known, tasks_done=count.done, progress=float(count.mean))


def to_segment(segment: Segment) -> task_pb2.Segment:
    return task_pb2.Segment(
        camera=segment.camera,
        index=segment.index,
        start_frame=segment.start_frame,
        stop_frame=segment.stop_frame,
        warm_up_frames=segment.warm_up_frames,
        start_sec=segment.start_sec,
        stop_sec=segment.stop_sec,
    )


def from_segment(segment: task_pb2.Segment) -> Segment:
    return Segment(
        segment.camera,
        segment.index,
        segment.start_frame,
        segment.stop_frame,
        segment.warm_up_frames,
        segment.start_sec,
        segment.stop_sec,
    )


def to_window(window: Window) -> task_pb2.Window:
    return task_pb2.Window(index=window.index, start_sec=window.start_sec, stop_sec=window.stop_sec)


def to_input(given: Input) -> job_pb2.JobInput:
    return job_pb2.JobInput(camera=given.camera, asset_id=given.asset_id, start_sec=given.start_sec)
