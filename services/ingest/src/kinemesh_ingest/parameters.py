"""What a job may be asked for, pipeline by pipeline. Every refusal names the field."""

from __future__ import annotations

from collections.abc import Sequence

from kinemesh import errors
from kinemesh.job.v1 import parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh_ingest.domain.pipelines import PIPELINES
from kinemesh_ingest.domain.validation import check_range, check_style, check_text

_MOST_ZONES = 32
_CORNERS = range(3, 65)
_LONGEST_SEC = 1e6
MOST_ATTEMPTS = 8
_FASTEST = 120.0


def check_parameters(parameters: parameters_pb2.JobParameters) -> str:
    """Check what a job asks for; answers with the pipeline's name.

    :raises InvalidArgument: naming the field; NOT_AVAILABLE_YET.
    :raises FailedPrecondition: MODEL_REQUIRED.
    """
    name = parameters.WhichOneof("pipeline")
    if name == "pose":
        _check_pose(parameters.pose)
    elif name == "pitstop":
        _check_pitstop(parameters.pitstop)
    elif name == "instructor":
        check_instructor(parameters.instructor)
    elif name == "multi_camera":
        _check_multi_camera(parameters.multi_camera)
    elif name == "route_match":
        _check_route_match(parameters.route_match)
    else:
        raise errors.InvalidArgument(
            "UNKNOWN_PIPELINE", f"The pipelines of this version are: {', '.join(PIPELINES)}.", field="pipeline"
        )
    return str(name)


def check_instructor(instructor: parameters_pb2.InstructorParameters) -> None:
    """Check whom to follow, and how."""
    _check_threshold(instructor.threshold)
    if instructor.HasField("subject_point"):
        _check_subject(instructor.subject_point)
    if instructor.with_pose:
        raise errors.InvalidArgument(
            "NOT_AVAILABLE_YET",
            "Poses of the instructor are not estimated yet: leave with_pose out, or run the pipeline pose.",
            field="with_pose",
        )


def _check_pose(pose: parameters_pb2.PoseParameters) -> None:
    check_range("max_persons", pose.max_persons, 0, 16)
    _check_style(pose.style)
    if pose.subject == parameters_pb2.SUBJECT_SELECTION_AT_POINT:
        if not pose.HasField("subject_point"):
            raise errors.InvalidArgument("MISSING_FIELD", "subject_point is needed.", field="subject_point")
        _check_subject(pose.subject_point)


def _check_pitstop(pitstop: parameters_pb2.PitstopParameters) -> None:
    _check_threshold(pitstop.threshold)
    _check_zones(list(pitstop.zones))
    _check_style(pitstop.style)
    check_text("series", pitstop.series, 200)
    check_text("race", pitstop.race, 200)
    check_text("notes", pitstop.notes, 10_000, lines=True)
    if not pitstop.model:
        raise errors.FailedPrecondition(
            "MODEL_REQUIRED",
            "A pit-stop job needs a model of its own classes: name one with `model`; "
            "`kinemesh models import best.pt --name pitstop` brings your own.",
            field="model",
        )


def _check_multi_camera(asked: parameters_pb2.MultiCameraParameters) -> None:
    if not asked.environment_id:
        raise errors.InvalidArgument("MISSING_FIELD", "environment_id is needed.", field="environment_id")
    _check_threshold(asked.threshold)
    _check_style(asked.style)


def attempts_of(asked: parameters_pb2.RouteMatchParameters) -> list[str]:
    """The attempts of the catalogue that a job names, in their order."""
    return [*([asked.attempt_id] if asked.attempt_id else []), *asked.attempt_ids]


def _check_route_match(asked: parameters_pb2.RouteMatchParameters) -> None:
    named = attempts_of(asked)
    if len(named) > MOST_ATTEMPTS:
        raise errors.InvalidArgument(
            "OUT_OF_RANGE", f"At most {MOST_ATTEMPTS} attempts are drawn at once.", field="attempt_ids"
        )
    if len(set(named)) < len(named):
        raise errors.InvalidArgument("DUPLICATE_ATTEMPT", "An attempt is named twice.", field="attempt_ids")
    if asked.reference and asked.image_asset_id:
        raise errors.InvalidArgument(
            "REFERENCE_AMBIGUOUS", "reference and image_asset_id are alternatives.", field="reference"
        )
    if not (named or asked.reference or asked.image_asset_id):
        raise errors.InvalidArgument(
            "MISSING_FIELD", "reference or image_asset_id is needed, unless attempts are named.", field="reference"
        )
    _check_known("mode", asked.mode, parameters_pb2.MatchMode.values())
    _check_known("transform_model", asked.transform_model, matcher_pb2.TransformModel.values())
    _check_known("alignment", asked.alignment, parameters_pb2.TimeAlignment.values())
    if asked.output_frame_rate != 0:
        check_range("output_frame_rate", asked.output_frame_rate, 1, _FASTEST)
    _check_style(asked.style)
    if asked.HasField("subject_point"):
        if len(named) > 1:
            raise errors.InvalidArgument(
                "SUBJECT_AMBIGUOUS", "subject_point is for jobs over one recording.", field="subject_point"
            )
        _check_subject(asked.subject_point)


def _check_known(field: str, value: int, known: Sequence[int]) -> None:
    if value not in known:
        raise errors.InvalidArgument("UNKNOWN_VALUE", f"There is no such {field}.", field=field, value=value)


def _check_zones(zones: list[parameters_pb2.Zone]) -> None:
    if len(zones) > _MOST_ZONES:
        raise errors.InvalidArgument("OUT_OF_RANGE", f"zones takes at most {_MOST_ZONES}.", field="zones")
    names: set[str] = set()
    for position, zone in enumerate(zones):
        field = f"zones[{position}]"
        check_text(f"{field}.name", zone.name, 64, needed=True)
        if zone.name in names:
            raise errors.InvalidArgument(
                "DUPLICATE_ZONE", f"Two zones are called {zone.name}.", field=f"{field}.name", name=zone.name
            )
        names.add(zone.name)
        if len(zone.polygon) not in _CORNERS:
            raise errors.InvalidArgument(
                "OUT_OF_RANGE",
                f"{field}.polygon takes {_CORNERS[0]} to {_CORNERS[-1]} corners.",
                field=f"{field}.polygon",
            )
        for corner in zone.polygon:
            check_range(f"{field}.polygon.x", corner.x, 0, 1)
            check_range(f"{field}.polygon.y", corner.y, 0, 1)


def _check_threshold(threshold: float) -> None:
    check_range("threshold", threshold, 0, 1)


def _check_subject(subject: parameters_pb2.SubjectPoint) -> None:
    check_range("subject_point.time_sec", subject.time_sec, 0, _LONGEST_SEC)
    check_range("subject_point.point.x", subject.point.x, 0, 1)
    check_range("subject_point.point.y", subject.point.y, 0, 1)


def _check_style(style: parameters_pb2.OverlayStyle) -> None:
    check_style(style.colors, style.line_thickness, style.joint_radius, style.trail_sec)
