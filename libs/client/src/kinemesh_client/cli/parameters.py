"""Options and parameters that the pipelines share: points, zones, styles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kinemesh_client.cli.processing import given

Video = Annotated[Path, typer.Argument(help="The video file.")]
OutDir = Annotated[Path | None, typer.Option("--out", help="Folder for results; out/<job id> if not given.")]
At = Annotated[str, typer.Option(metavar="TIME,X,Y", help="Seconds, and fractions of width and height.")]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="Least score of a box.")]
InputSize = Annotated[
    int | None,
    typer.Option(min=64, max=1536, help="Longest side that pictures are scaled to for detection; finds small objects."),
]
Zones = Annotated[
    list[str] | None,
    typer.Option("--zone", metavar="NAME:X,Y;X,Y;X,Y", help="Polygon to measure presence in; may be repeated."),
]
WeightsFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Weights of yours, .onnx or .pt.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Classes by id, for weights that do not name them; to be repeated.")
]
LabelsFile = Annotated[Path | None, typer.Option(metavar="FILE", help="The same from a text file, one per line.")]
Colors = Annotated[list[str] | None, typer.Option("--color", help="Colours in turn, as #RRGGBB; may be repeated.")]
LineThickness = Annotated[int | None, typer.Option(min=1, max=32, help="Pixels at 720 lines.")]
JointRadius = Annotated[int | None, typer.Option(min=-1, max=32, help="Pixels at 720 lines; -1: none.")]
Trail = Annotated[float | None, typer.Option(min=0, max=10, help="Seconds of motion that trails show.")]
SideBySide = Annotated[bool, typer.Option("--side-by-side", help="The original beside it.")]
HideLabels = Annotated[bool, typer.Option("--hide-labels", help="Leave out ids and labels.")]


def style_of(
    colors: Sequence[str] | None,
    line_thickness: int | None,
    trail: float | None,
    side_by_side: bool,
    hide_labels: bool,
    joint_radius: int | None = None,
) -> dict[str, Any] | None:
    """An ``OverlayStyle``; None if nothing was asked for."""
    chosen = given(
        colors=list(colors) if colors else None,
        line_thickness=line_thickness,
        joint_radius=joint_radius,
        trail_sec=trail,
        side_by_side=side_by_side or None,
        hide_labels=hide_labels or None,
    )
    return chosen or None


def point_of(at: str) -> dict[str, Any]:
    """A ``SubjectPoint`` from TIME,X,Y.

    :raises typer.BadParameter: it is none.
    """
    try:
        moment, x, y = (float(part) for part in at.split(","))
    except ValueError:
        raise typer.BadParameter("Three numbers are needed, such as 1.5,0.4,0.6.", param_hint="--at") from None
    if not (0 <= moment < float("inf") and 0 <= x <= 1 and 0 <= y <= 1):
        raise typer.BadParameter("TIME is at least 0; X and Y lie between 0 and 1.", param_hint="--at")
    return {"time_sec": moment, "point": {"x": x, "y": y}}


def zones_of(texts: Sequence[str] | None) -> list[dict[str, Any]] | None:
    """Zones from NAME:X,Y;X,Y;X,Y.

    :raises typer.BadParameter: one is none, or two have one name.
    """
    found = [_zone(text) for text in texts or ()]
    names = [zone["name"] for zone in found]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"Two zones are called {name}.", param_hint="--zone")
    return found or None


def _zone(text: str) -> dict[str, Any]:
    name, _, corners = text.rpartition(":")
    try:
        polygon = [{"x": float(x), "y": float(y)} for x, y in (corner.split(",") for corner in corners.split(";"))]
    except ValueError:
        polygon = []
    if (
        not name.strip()
        or len(polygon) < 3
        or not all(0 <= value <= 1 for point in polygon for value in point.values())
    ):
        raise typer.BadParameter(
            f"{text!r} is no zone: a name and three or more corners as fractions of width and height are needed, "
            "such as box:0.1,0.5;0.4,0.5;0.4,0.9.",
            param_hint="--zone",
        )
    return {"name": name.strip(), "polygon": polygon}


def rfc3339(text: str, hint: str, what: str = "A time") -> str:
    """A time of day with its zone.

    :param what: is needed, for the message.
    :raises typer.BadParameter: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{what} such as 2026-03-01T08:00:00Z is needed.", param_hint=hint) from None
    if moment.tzinfo is None:
        raise typer.BadParameter("A time needs its zone: Z, or such as +01:00.", param_hint=hint)
    return moment.isoformat()


def changes_of(**values: Any) -> dict[str, Any]:
    """Those that are not None.

    :raises typer.BadParameter: there are none.
    """
    changes = given(**values)
    if not changes:
        raise typer.BadParameter("There is nothing to change: an option is needed.")
    return changes


def per_channel(text: str, hint: str) -> tuple[float, ...]:
    """Three numbers from A,B,C, or from one for all; none from nothing.

    :raises typer.BadParameter: it is something else.
    """
    try:
        numbers = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        numbers = (math.nan,)
    if len(numbers) not in (0, 1, 3) or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter("One number or three are needed, such as 123.675,116.28,103.53.", param_hint=hint)
    return numbers * 3 if len(numbers) == 1 else numbers


def labels_of(labels: Sequence[str] | None, file: Path | None) -> tuple[str, ...]:
    """Names of classes, by class id.

    :raises typer.BadParameter: the file cannot be read, or they are given twice.
    """
    if file is None:
        return tuple(labels or ())
    if labels:
        raise typer.BadParameter("Either --label or --labels, not both.", param_hint="--labels")
    try:
        text = existing(file, "--labels").read_text()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is no text.", param_hint="--labels") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def existing(path: Path, hint: str) -> Path:
    """A file that is there.

    :raises typer.BadParameter: it is not.
    """
    if not path.is_file():
        raise typer.BadParameter(f"There is no file {path}.", param_hint=hint)
    return path
