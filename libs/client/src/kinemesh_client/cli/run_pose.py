"""``kinemesh run pose``"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url
from kinemesh_client.cli.parameters import (
    At,
    Colors,
    HideLabels,
    JointRadius,
    LineThickness,
    OutDir,
    SideBySide,
    Trail,
    Video,
    existing,
    point_of,
    style_of,
)
from kinemesh_client.cli.processing import Request, given, into, report, run_request
from kinemesh_client.cli.running import run


class Subject(StrEnum):
    """Whom to follow."""

    ALL = "all"
    MAIN = "main"
    AT_POINT = "at-point"


def pose(
    video: Video,
    max_persons: Annotated[int, typer.Option(min=1, max=16, help="Most persons to look for in a frame.")] = 4,
    subject: Annotated[Subject, typer.Option(help="Everyone, the main person, or the one at --at.")] = Subject.ALL,
    at: At = "",
    smooth: Annotated[bool, typer.Option("--smooth", help="Add smoothed landmarks beside the raw ones.")] = False,
    blur_faces: Annotated[bool, typer.Option("--blur-faces", help="Blur faces in the annotated video.")] = False,
    color: Colors = None,
    line_thickness: LineThickness = None,
    joint_radius: JointRadius = None,
    trail: Trail = None,
    side_by_side: SideBySide = False,
    hide_labels: HideLabels = False,
    out_dir: OutDir = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """Poses of everyone in a video, their movement in figures, and an annotated video.

    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    if (subject is Subject.AT_POINT) != bool(at):
        raise typer.BadParameter("--subject at-point and --at TIME,X,Y go together.", param_hint="--at")
    parameters = given(
        max_persons=max_persons,
        subject=subject.name,
        subject_point=point_of(at) if at else None,
        smooth=smooth,
        blur_faces=blur_faces,
        style=style_of(color, line_thickness, trail, side_by_side, hide_labels, joint_radius),
    )
    request = Request("pose", existing(video, "VIDEO"), parameters, into(out_dir))
    report(run(run_request(request, url, data_dir, models)), as_json=as_json)
