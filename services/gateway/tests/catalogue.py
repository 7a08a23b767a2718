"""What ingest would keep in its database, in memory; its objects lie in a real store."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh.recordings import recording_name
from kinemesh.route.v1 import catalogue_pb2, reference_pb2
from kinemesh.serving.interceptor import caller
from kinemesh.session.v1 import session_pb2
from kinemesh.storage import ObjectStore, keys


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


@dataclass
class Catalogue:
    """All of it.

    :ivar calls: metadata of every call, in order.
    :ivar imports: what was asked for of models, by name.
    """

    store: ObjectStore
    assets: dict[str, asset_pb2.Asset] = field(default_factory=dict)
    jobs: dict[str, job_pb2.Job] = field(default_factory=dict)
    models: dict[str, model_pb2.Model] = field(default_factory=lambda: {model.model: model for model in _served()})
    imports: dict[str, model_pb2.ImportModelRequest] = field(default_factory=dict)
    sessions: dict[str, session_pb2.Session] = field(default_factory=dict)
    environments: dict[str, environment_pb2.Environment] = field(default_factory=dict)
    identities: dict[str, environment_pb2.Identity] = field(default_factory=dict)
    areas: dict[str, catalogue_pb2.Area] = field(default_factory=dict)
    routes: dict[str, catalogue_pb2.Route] = field(default_factory=dict)
    attempts: dict[str, catalogue_pb2.Attempt] = field(default_factory=dict)
    references: dict[str, reference_pb2.ReferenceImage] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    most_bytes: int = 1 << 40
    quota_bytes: int | None = None
    requests: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[job_pb2.JobLog]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: itertools.count(1))
    fail_with: Exception | None = None
    blocked: asyncio.Event | None = None

    async def heard(self, name: str, context: Any) -> str:
        self.calls.append((name, {str(k): str(v) for k, v in context.invocation_metadata()}))
        if self.blocked is not None:
            await self.blocked.wait()
        if self.fail_with is not None:
            raise self.fail_with
        return caller(context)

    def asset(self, asset_id: str, owner: str) -> asset_pb2.Asset:
        if asset_id not in self.assets or self.assets[asset_id].owner != owner:
            raise errors.NotFound("ASSET_NOT_FOUND", "The asset does not exist.", asset_id=asset_id)
        return self.assets[asset_id]

    def job(self, job_id: str, owner: str) -> job_pb2.Job:
        if job_id not in self.jobs or self.jobs[job_id].owner != owner:
            raise errors.NotFound("JOB_NOT_FOUND", "The job does not exist.", job_id=job_id)
        return self.jobs[job_id]

    def model(self, name: str) -> model_pb2.Model:
        if name not in self.models:
            raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=name)
        return self.models[name]

    def session(self, session_id: str, owner: str) -> session_pb2.Session:
        if session_id not in self.sessions or self.sessions[session_id].owner != owner:
            raise errors.NotFound("SESSION_NOT_FOUND", "There is no such session.", session_id=session_id)
        session = self.sessions[session_id]
        job = self.jobs.get(session.job_id)
        if job is not None and job.state == job_pb2.JOB_STATE_SUCCEEDED:
            session.result_job_id = session.job_id
            session.has_instructor_tracking_result = True
        return session

    def environment(self, environment_id: str, owner: str) -> environment_pb2.Environment:
        if environment_id not in self.environments or self.environments[environment_id].owner != owner:
            raise errors.NotFound(
                "ENVIRONMENT_NOT_FOUND", "The environment does not exist.", environment_id=environment_id
            )
        return self.environments[environment_id]

    def add_tracking(self, job_id: str, owner: str, parameters: parameters_pb2.JobParameters) -> job_pb2.Job:
        """A job over the recordings of its environment."""
        asked = parameters.multi_camera
        environment = self.environment(asked.environment_id, owner)
        if not environment.cameras:
            raise errors.FailedPrecondition("NO_CAMERAS", "The environment has no cameras.")
        inputs = []
        for camera in environment.cameras:
            if not camera.sub_videos:
                message = "A camera has no videos."
                raise errors.FailedPrecondition("CAMERA_WITHOUT_VIDEOS", message, camera=camera.camera)
            for number, video in enumerate(camera.sub_videos):
                name = recording_name(camera.camera, number)
                inputs.append(job_pb2.JobInput(camera=name, asset_id=video.asset_id, start_sec=video.start_sec))
        asked.environment.CopyFrom(environment)
        job = self.jobs[job_id] = job_pb2.Job(
            job_id=job_id,
            owner=owner,
            pipeline="multi_camera",
            state=job_pb2.JOB_STATE_QUEUED,
            stage="split",
            inputs=inputs,
            parameters=parameters,
            create_time=now(),
            update_time=now(),
        )
        return job

    def complete(self, parameters: parameters_pb2.JobParameters) -> None:
        """Check and fill in the model of a job, as ingest does."""
        name = parameters.WhichOneof("pipeline")
        if name not in ("pitstop", "instructor"):
            return
        asked: Any = getattr(parameters, str(name))
        if not asked.model and name == "pitstop":
            raise errors.FailedPrecondition("MODEL_REQUIRED", "A pit-stop job needs a model.", field="model")
        asked.model = asked.model or "person_detector"
        model = self.model(asked.model)
        if model.state != model_pb2.MODEL_STATE_READY:
            raise errors.FailedPrecondition("MODEL_NOT_READY", "The model is not served.", field="model")
        if model.task != model_pb2.MODEL_TASK_DETECTOR:
            raise errors.InvalidArgument("WRONG_MODEL_TASK", "This takes a detector.", field="model")
        zones = [zone.name for zone in getattr(asked, "zones", ())]
        if len(zones) != len(set(zones)):
            raise errors.InvalidArgument("DUPLICATE_ZONE", "Two zones have one name.", field="zones[1].name")

    def add_job(self, job_id: str, owner: str, asset_id: str, parameters: parameters_pb2.JobParameters) -> job_pb2.Job:
        self.complete(parameters)
        if self.asset(asset_id, owner).state != asset_pb2.ASSET_STATE_READY:
            raise errors.FailedPrecondition("ASSET_NOT_READY", "The asset has not been accepted.")
        if job_id in self.jobs:
            raise errors.AlreadyExists("JOB_EXISTS", "A job of this id exists.", job_id=job_id)
        job = self.jobs[job_id] = job_pb2.Job(
            job_id=job_id,
            owner=owner,
            pipeline=str(parameters.WhichOneof("pipeline")),
            state=job_pb2.JOB_STATE_QUEUED,
            stage="split",
            stages=[job_pb2.StageProgress(stage="split", tasks=1)],
            inputs=[job_pb2.JobInput(camera="main", asset_id=asset_id)],
            parameters=parameters,
            create_time=now(),
            update_time=now(),
        )
        return job

    def run(self, job_id: str, **fractions: float) -> None:
        """Let a job be worked on, with its stages done so far."""
        job = self.jobs[job_id]
        job.state = job_pb2.JOB_STATE_RUNNING
        job.stage = next(reversed(fractions))
        del job.stages[:]
        for stage, fraction in fractions.items():
            job.stages.add(stage=stage, tasks=1, progress=fraction)

    async def finish(self, job_id: str, outputs: dict[str, tuple[bytes, str]], **summary: Any) -> None:
        """Let a job succeed."""
        job = self.jobs[job_id]
        for name, (data, content_type) in outputs.items():
            await self.store.put_bytes(keys.output(job_id, name), data, content_type)
            job.outputs.add(name=name, content_type=content_type, size_bytes=len(data))
        job.summary.update(summary)
        job.state = job_pb2.JOB_STATE_SUCCEEDED
        job.progress = 1.0

    def page(self, items: list[Any], request: Any) -> tuple[list[Any], str, int]:
        start = int(request.page_token or request.skip)
        end = start + (request.page_size or 20)
        return items[start:end], str(end) if end < len(items) else "", len(items)


def _served() -> list[model_pb2.Model]:
    pose = model_pb2.Model(
        model="blazepose",
        task=model_pb2.MODEL_TASK_POSE,
        state=model_pb2.MODEL_STATE_READY,
        source=model_pb2.MODEL_SOURCE_EMBEDDED,
        license="Apache-2.0",
        is_default=True,
    )
    person = model_pb2.Model(
        model="person_detector",
        task=model_pb2.MODEL_TASK_DETECTOR,
        state=model_pb2.MODEL_STATE_READY,
        source=model_pb2.MODEL_SOURCE_EMBEDDED,
        labels=["person"],
        is_default=True,
    )
    missing = model_pb2.Model(
        model="lost", task=model_pb2.MODEL_TASK_DETECTOR, state=model_pb2.MODEL_STATE_MISSING, labels=["car"]
    )
    return [pose, person, missing]
