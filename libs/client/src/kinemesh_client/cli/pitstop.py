"""``kinemesh pitstop``: one file in, one file out."""

from __future__ import annotations

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
    SideBySide,
    Threshold,
    Trail,
    WeightsFile,
    Zones,
    existing,
    labels_of,
    style_of,
    zones_of,
)
from kinemesh_client.cli.processing import Place, Request, given, report
from kinemesh_client.cli.run_pitstop import run_pitstop
from kinemesh_client.cli.running import run
from kinemesh_client.cli.weights import Weights

_VIDEO = "annotated.mp4"


def pitstop(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="The video file.")],
    target: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The annotated video, .mp4.")],
    weights: WeightsFile = None,
    model: Annotated[str, typer.Option(help="A model of the mesh, instead of weights.")] = "",
    label: Labels = None,
    labels: LabelsFile = None,
    threshold: Threshold = 0.5,
    input_size: InputSize = None,
    zone: Zones = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for tracks, report and events as well.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over OUTPUT if it is there.")] = False,
    color: Colors = None,
    line_thickness: LineThickness = None,
    trail: Trail = None,
    side_by_side: SideBySide = False,
    hide_labels: HideLabels = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """Detect, track and draw objects of your own classes in one file, without any server running.

    A mesh is started for as long as it takes, unless --url names one or one runs in --data-dir; nothing stays on that.
    """
    if (weights is None) == (not model):
        raise typer.BadParameter("Either --weights or --model is needed, not both.", param_hint="--weights")
    own = None if weights is None else Weights(existing(weights, "--weights"), labels_of(label, labels))
    _check_target(existing(source, "INPUT"), target, force)
    parameters = given(
        model=model or None,
        threshold=threshold,
        input_size=input_size,
        zones=zones_of(zone),
        style=style_of(color, line_thickness, trail, side_by_side, hide_labels),
    )
    request = Request("pitstop", source, parameters, _places(target, data), keep=False)
    report(run(run_pitstop(request, own, url, data_dir, models)), as_json=as_json)


def _check_target(source: Path, target: Path, force: bool) -> None:
    if target.suffix.lower() != ".mp4":
        raise typer.BadParameter(f"{target} does not end in .mp4.", param_hint="OUTPUT")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {target.parent}.", param_hint="OUTPUT")
    if not target.exists():
        return
    if not target.is_file() or target.samefile(source):
        raise typer.BadParameter(f"{target} cannot be written over.", param_hint="OUTPUT")
    if not force:
        raise typer.BadParameter(f"{target} is there already; --force writes over it.", param_hint="OUTPUT")


def _places(target: Path, data: Path | None) -> Place:
    def place(_job_id: str, name: str) -> Path | None:
        if name == _VIDEO:
            return target
        return None if data is None else data / name

    return place
