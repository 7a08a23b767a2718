"""``kinemesh run instructor``"""

from __future__ import annotations

from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url
from kinemesh_client.cli.parameters import At, InputSize, OutDir, Threshold, Video, existing, point_of
from kinemesh_client.cli.processing import Request, given, into, report, run_request
from kinemesh_client.cli.running import run


def instructor(
    video: Video,
    at: At = "",
    model: Annotated[str, typer.Option(help="Detector; the mesh's default if not given.")] = "",
    threshold: Threshold = 0.5,
    input_size: InputSize = None,
    out_dir: OutDir = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """The track of one person through a video: the one at --at, or who is there longest.

    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    point = point_of(at) if at else None
    parameters = given(subject_point=point, model=model or None, threshold=threshold, input_size=input_size)
    request = Request("instructor", existing(video, "VIDEO"), parameters, into(out_dir))
    report(run(run_request(request, url, data_dir, models)), as_json=as_json)
