"""Environments kept for real, and jobs conducted over their cameras."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.environment.v1 import calibration_pb2, environment_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.serving.channel import call

SQUARE = ((10, 10), (90, 10), (90, 60), (10, 60))


def points(*pairs: tuple[float, float]) -> calibration_pb2.HomographySource:
    """Image points that lie on the map at a tenth of their pixels."""
    source = calibration_pb2.HomographySource()
    for x, y in pairs:
        source.points.pairs.add(image=calibration_pb2.PixelPoint(x=x, y=y), map=common_pb2.MapPoint(x=x / 10, y=y / 10))
    return source


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


async def create(ingest: Any, environment: environment_pb2.Environment, **more: Any) -> environment_pb2.Environment:
    request = environment_pb2.CreateEnvironmentRequest(environment=environment, **more)
    return (await call(ingest.environments.CreateEnvironment, request, owner="ada")).environment


def site(environment_id: str, **cameras: Any) -> environment_pb2.Environment:
    """An environment whose cameras have the recordings given."""
    environment = environment_pb2.Environment(environment_id=environment_id)
    for name, assets in cameras.items():
        camera = environment.cameras.add(camera=name)
        for asset_id in assets:
            camera.sub_videos.add(asset_id=asset_id)
    return environment


async def start(ingest: Any, environment_id: str, **more: Any) -> job_pb2.Job:
    asked = parameters_pb2.MultiCameraParameters(environment_id=environment_id, **more)
    request = job_pb2.CreateJobRequest(parameters=parameters_pb2.JobParameters(multi_camera=asked))
    return (await call(ingest.jobs.CreateJob, request, owner="ada")).job


async def test_a_job_runs_over_all_cameras(ingest: Any, clip: bytes, workers: Any) -> None:
    first, second, third = [(await ingest.upload(clip)).asset_id for _ in range(3)]
    given = site("factory", c09=[first, third], c12=[second])
    given.cameras[0].homography.source.CopyFrom(points(*SQUARE))
    await create(ingest, given)
    job = await start(ingest, "factory", render=True)
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [(one.camera, one.asset_id, round(one.start_sec, 3)) for one in job.inputs] == [
        ("c09", first, 0.0), ("c09.2", third, 2.0), ("c12", second, 0.0),
    ]  # fmt: skip
    assert job.parameters.multi_camera.environment.cameras[0].homography.quality.points == 4
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert done.index("associate.0") < done.index("associate.1") < done.index("resolve") < done.index("mosaic.0")
    assert done.index("track.c09.0") < done.index("associate.0")
    assert done.index("mosaic.1") < done.index("finalize")
