"""What a job asks for, as the stages take it."""

from __future__ import annotations

import pytest

from kinemesh.inference.detector import Detector
from kinemesh.job.v1.parameters_pb2 import (
    InstructorParameters,
    JobParameters,
    MultiCameraParameters,
    PitstopParameters,
)
from kinemesh_detect_track.messages import Wanted, job_classes, wanted_by

TRAFFIC = Detector("traffic", 640, 640, True, ("car", "person", "dog"))
CARS = Detector("cars", 640, 640, True, ("car",))
INSTRUCTOR = JobParameters(instructor=InstructorParameters(model="m", threshold=0.4, input_size=832))
PITSTOP = JobParameters(pitstop=PitstopParameters(model="m", threshold=0.4, input_size=832))
SEVERAL = JobParameters(multi_camera=MultiCameraParameters(model="m", threshold=0.4, input_size=832, embedder="e"))


@pytest.mark.parametrize(
    ("parameters", "embedder"), [(INSTRUCTOR, ""), (PITSTOP, ""), (SEVERAL, "e")], ids=["instructor", "pitstop", "many"]
)
def test_every_pipeline_says_how_to_find(parameters: JobParameters, embedder: str) -> None:
    assert wanted_by(parameters) == Wanted("m", 0.4, 832, embedder)


@pytest.mark.parametrize("parameters", [INSTRUCTOR, SEVERAL], ids=["instructor", "several"])
def test_people_are_looked_for_where_the_model_knows_them(parameters: JobParameters) -> None:
    people = job_classes(parameters, TRAFFIC)
    assert people is not None
    assert people.tolist() == [1]
    assert job_classes(parameters, CARS) is None
    assert job_classes(PITSTOP, TRAFFIC) is None
