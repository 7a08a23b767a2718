"""``kinemesh run pitstop``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url
from kinemesh_client.cli.parameters import (
    Colors,
    HideLabels,
    InputSize,
    Labels,
    LabelsFile,
    LineThickness,
    OutDir,
    SideBySide,
    Threshold,
    Trail,
    Video,
    WeightsFile,
    Zones,
    existing,
    labels_of,
    style_of,
    zones_of,
)
from kinemesh_client.cli.processing import Outcome, Request, client_or_temporary, given, into, process, report
from kinemesh_client.cli.running import run
from kinemesh_client.cli.weights import Weights, bring, served


def pitstop(
    video: Video,
    model: Annotated[str, typer.Option(help="Detector; with --weights, the name under which they stay.")] = "",
    weights: WeightsFile = None,
    label: Labels = None,
    labels: LabelsFile = None,
    threshold: Threshold = 0.5,
    input_size: InputSize = None,
    zone: Zones = None,
    series: Annotated[str, typer.Option(help="Championship.")] = "",
    race: Annotated[str, typer.Option(help="Race.")] = "",
    notes: Annotated[str, typer.Option(help="Free text.")] = "",
    color: Colors = None,
    line_thickness: LineThickness = None,
    trail: Trail = None,
    side_by_side: SideBySide = False,
    hide_labels: HideLabels = False,
    out_dir: OutDir = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """Objects of your own classes, tracked and drawn, with dwell times per class and zone.

    Detects with --model of the mesh, or with --weights, which are served for this job only unless --model names them.
    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    if not model and weights is None:
        raise typer.BadParameter("Either a model or weights are needed.", param_hint="--model / --weights")
    parameters = given(
        model=model or None,
        threshold=threshold,
        input_size=input_size,
        zones=zones_of(zone),
        series=series or None,
        race=race or None,
        notes=notes or None,
        style=style_of(color, line_thickness, trail, side_by_side, hide_labels),
    )
    request = Request("pitstop", existing(video, "VIDEO"), parameters, into(out_dir))
    own = None if weights is None else Weights(existing(weights, "--weights"), labels_of(label, labels))
    report(run(run_pitstop(request, own, url, data_dir, models)), as_json=as_json)


async def run_pitstop(request: Request, weights: Weights | None, url: str, data_dir: Path, models: str) -> Outcome:
    """Process with the model that the request names, from ``weights`` if there are any.

    Weights without a name are served for this request only.
    """
    async with client_or_temporary(url, data_dir, models) as (client, lasting):
        request = replace(request, keep=request.keep or not lasting)
        if weights is None:
            return await process(client, request)
        if name := request.parameters.get("model"):
            await bring(client, weights, name, lasting=lasting)
            return await process(client, request)
        async with served(client, weights, lasting=lasting) as name:
            return await process(client, replace(request, parameters={**request.parameters, "model": name}))
