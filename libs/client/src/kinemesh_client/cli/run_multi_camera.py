"""``kinemesh run multi_camera``"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url
from kinemesh_client.cli.parameters import (
    Colors,
    HideLabels,
    InputSize,
    LineThickness,
    OutDir,
    Threshold,
    Trail,
    existing,
    style_of,
)
from kinemesh_client.cli.processing import (
    Outcome,
    Place,
    client_or_temporary,
    fetch,
    follow_or_cancel,
    given,
    into,
    report,
)
from kinemesh_client.cli.progress import bars
from kinemesh_client.cli.running import run
from kinemesh_client.cli.sites import brought
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Job
from kinemesh_client.site_file import SiteFile, read_site


def multi_camera(
    environment: Annotated[
        str, typer.Option(metavar="FILE.json|ENV", help="Description of a site, or the id of one that is there.")
    ],
    model: Annotated[str, typer.Option(help="Detector; the mesh's default if not given.")] = "",
    embedder: Annotated[str, typer.Option(help="What people are recognised by; the mesh's default.")] = "",
    threshold: Threshold = 0.5,
    input_size: InputSize = None,
    render: Annotated[bool, typer.Option(help="Make annotated videos as well.")] = True,
    color: Colors = None,
    line_thickness: LineThickness = None,
    trail: Trail = None,
    hide_labels: HideLabels = False,
    out_dir: OutDir = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """People across the cameras of a site: one identity each, where they were on the map, zones, and videos.

    FILE.json describes cameras, recordings and calibration; the site is made or changed on the mesh as it says.
    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    parameters = given(
        model=model or None,
        embedder=embedder or None,
        threshold=threshold,
        input_size=input_size,
        render=render,
        style=style_of(color, line_thickness, trail, False, hide_labels),
    )
    site = read_site(existing(Path(environment), "--environment")) if environment.endswith(".json") else environment
    outcome, environment_id = run(run_site(site, parameters, into(out_dir), url, data_dir, models))
    report(outcome, as_json=as_json, environment_id=environment_id)


async def run_site(
    site: SiteFile | str, parameters: Mapping[str, Any], place: Place, url: str, data_dir: Path, models: str
) -> tuple[Outcome, str]:
    """Bring a site, unless its id is given, and process its recordings; returns its id as well."""
    started = time.monotonic()
    async with client_or_temporary(url, data_dir, models) as (client, _):
        with bars() as progress:
            if isinstance(site, str):
                job = await _create(client, site, parameters)
                environment_id = site
            else:
                async with brought(client, site, progress) as there:
                    environment_id = there.environment_id
                    job = await _create(client, environment_id, parameters)
            job, stages = await follow_or_cancel(client, job, progress)
            seconds = time.monotonic() - started
            files = await fetch(client, job, place, progress) if job.state == "SUCCEEDED" else {}
    return Outcome(job, files, seconds, stages), environment_id


async def _create(client: KinemeshClient, environment_id: str, parameters: Mapping[str, Any]) -> Job:
    return await client.create_job("multi_camera", "", {"environment_id": environment_id, **parameters})
