from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from kinemesh import errors
from kinemesh.job.v1 import parameters_pb2
from kinemesh_ingest.parameters import check_parameters

CORNERS = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]
ZONE = {"name": "box", "polygon": CORNERS}


def parameters(**pipeline: Any) -> parameters_pb2.JobParameters:
    return ParseDict(pipeline, parameters_pb2.JobParameters())


@pytest.mark.parametrize(
    "asked",
    [
        {"pitstop": {"model": "m"}},
        {"pitstop": {"model": "m", "threshold": 0.0, "zones": [ZONE], "notes": "two\nlines"}},
        {"pitstop": {"model": "m", "zones": [{**ZONE, "name": str(number)} for number in range(32)]}},
        {"instructor": {}},
        {"multi_camera": {"environment_id": "e", "threshold": 0.0, "render": True}},
        {"route_match": {"attempt_id": "a", "attempt_ids": list("bcdefgh"), "output_frame_rate": 120}},
        {"route_match": {"reference": "r", "mode": "MATCH_MODE_MULTI", "subject_point": {"time_sec": 1}}},
        {"instructor": {"threshold": 1.0, "subject_point": {"time_sec": 3, "point": {"x": 0.5, "y": 1}}}},
    ],
)
def test_what_may_be_asked_for(asked: dict[str, Any]) -> None:
    assert check_parameters(parameters(**asked)) == next(iter(asked))


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        ({"pitstop": {"threshold": 0.3}}, "MODEL_REQUIRED", "model"),
        ({"pitstop": {"model": "m", "threshold": 1.1}}, "OUT_OF_RANGE", "threshold"),
        ({"pitstop": {"model": "m", "threshold": "NaN"}}, "OUT_OF_RANGE", "threshold"),
        ({"pitstop": {"model": "m", "zones": [ZONE] * 33}}, "OUT_OF_RANGE", "zones"),
        ({"pitstop": {"model": "m", "zones": [ZONE, ZONE]}}, "DUPLICATE_ZONE", "zones[1].name"),
        ({"pitstop": {"model": "m", "zones": [{"polygon": CORNERS}]}}, "MISSING_FIELD", "zones[0].name"),
        (
            {"pitstop": {"model": "m", "zones": [{"name": "z", "polygon": CORNERS[:2]}]}},
            "OUT_OF_RANGE",
            "zones[0].polygon",
        ),
        (
            {"pitstop": {"model": "m", "zones": [{"name": "z", "polygon": CORNERS * 22}]}},
            "OUT_OF_RANGE",
            "zones[0].polygon",
        ),
        (
            {"pitstop": {"model": "m", "zones": [{"name": "z", "polygon": [*CORNERS, {"x": -0.1}]}]}},
            "OUT_OF_RANGE",
            "zones[0].polygon.x",
        ),
        ({"pitstop": {"model": "m", "race": "a\x00b"}}, "INVALID_TEXT", "race"),
        ({"pitstop": {"model": "m", "style": {"trail_sec": 11}}}, "OUT_OF_RANGE", "style.trail_sec"),
        ({"instructor": {"threshold": -0.1}}, "OUT_OF_RANGE", "threshold"),
        ({"instructor": {"with_pose": True}}, "NOT_AVAILABLE_YET", "with_pose"),
        ({"instructor": {"subject_point": {"point": {"x": 2}}}}, "OUT_OF_RANGE", "subject_point.point.x"),
        ({"multi_camera": {}}, "MISSING_FIELD", "environment_id"),
        ({"multi_camera": {"environment_id": "e", "threshold": 2}}, "OUT_OF_RANGE", "threshold"),
        ({"multi_camera": {"environment_id": "e", "style": {"trail_sec": -1}}}, "OUT_OF_RANGE", "style.trail_sec"),
        ({}, "UNKNOWN_PIPELINE", "pipeline"),
        ({"route_match": {}}, "MISSING_FIELD", "reference"),
        ({"route_match": {"reference": "r", "image_asset_id": "i"}}, "REFERENCE_AMBIGUOUS", "reference"),
        ({"route_match": {"attempt_id": "a", "attempt_ids": list("bcdefghi")}}, "OUT_OF_RANGE", "attempt_ids"),
        ({"route_match": {"attempt_id": "a", "attempt_ids": ["b", "a"]}}, "DUPLICATE_ATTEMPT", "attempt_ids"),
        ({"route_match": {"attempt_id": "a", "mode": 9}}, "UNKNOWN_VALUE", "mode"),
        ({"route_match": {"attempt_id": "a", "transform_model": 9}}, "UNKNOWN_VALUE", "transform_model"),
        ({"route_match": {"attempt_id": "a", "alignment": 9}}, "UNKNOWN_VALUE", "alignment"),
        ({"route_match": {"attempt_id": "a", "output_frame_rate": 0.5}}, "OUT_OF_RANGE", "output_frame_rate"),
        ({"route_match": {"attempt_id": "a", "output_frame_rate": 121}}, "OUT_OF_RANGE", "output_frame_rate"),
        ({"route_match": {"attempt_id": "a", "output_frame_rate": "NaN"}}, "OUT_OF_RANGE", "output_frame_rate"),
        ({"route_match": {"attempt_id": "a", "style": {"colors": ["red"]}}}, "INVALID_COLOR", "style.colors"),
        (
            {"route_match": {"attempt_ids": ["a", "b"], "subject_point": {}}},
            "SUBJECT_AMBIGUOUS",
            "subject_point",
        ),
        (
            {"route_match": {"attempt_id": "a", "subject_point": {"time_sec": -1}}},
            "OUT_OF_RANGE",
            "subject_point.time_sec",
        ),
    ],
)
def test_what_may_not_be_asked_for(asked: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(errors.KinemeshError) as refused:
        check_parameters(parameters(**asked))
    assert (refused.value.reason, refused.value.metadata["field"]) == (reason, field)


def test_a_missing_model_says_what_to_do() -> None:
    with pytest.raises(errors.FailedPrecondition) as refused:
        check_parameters(parameters(pitstop={}))
    assert "kinemesh models import" in refused.value.message
