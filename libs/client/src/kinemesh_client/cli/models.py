"""``kinemesh models``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh.errors import FailedPrecondition
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, reached
from kinemesh_client.cli.output import err, print_json, print_table
from kinemesh_client.cli.parameters import Labels, LabelsFile, Threshold, existing, labels_of, per_channel
from kinemesh_client.cli.progress import bars
from kinemesh_client.cli.running import run
from kinemesh_client.cli.weights import Weights, accepted, bring
from kinemesh_client.client import KinemeshClient
from kinemesh_client.detections import ModelTest
from kinemesh_client.resources import Model


class Task(StrEnum):
    """What weights of one's own may do."""

    DETECTOR = "detector"
    EMBEDDER = "embedder"


class ColorOrder(StrEnum):
    """Of a network's channels."""

    RGB = "RGB"
    BGR = "BGR"


app = typer.Typer(help="What the mesh detects and estimates with.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]

_SHOWN_LABELS = 4
_SHOWN_NUMBERS = 6


@app.command("list")
def list_(
    task: Annotated[str, typer.Option(help="Only these: detector, embedder, pose or face.")] = "",
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """The models, by name."""

    async def ask() -> tuple[list[Model], int]:
        async with reached(url, data_dir) as client:
            found: list[Model] = []
            token = ""
            while True:
                page = await client.list_models(page_token=token, task=task)
                found += page.items
                token = page.next_page_token
                if not token:
                    return found, page.total

    found, total = run(ask())
    if as_json:
        print_json({"models": [dict(model.raw) for model in found], "total": total})
        return
    rows = (
        (m.name + (" *" if m.is_default else ""), m.task, m.state, m.source, _labels(m), m.license, _described(m))
        for m in found
    )
    print_table(("model", "task", "state", "source", "labels", "license", "description"), rows)
    if any(model.is_default for model in found):
        err.print("* serves those who name no model of its task.")


@app.command()
def add(name: Name, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Fetch a model of the manifest and serve it."""

    async def act() -> Model:
        async with reached(url, data_dir) as client:
            await client.add_model(name)
            with bars() as progress:
                work = progress.add_task("fetch", total=None)
                model = accepted(await client.wait_for_model(name))
                progress.update(work, total=1, completed=1)
            return model

    _print_served(run(act()), as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Weights of yours: .onnx, or .pt, which is converted.")],
    name: Annotated[str, typer.Option(help="Name to serve it under: lower-case letters, digits, - and _.")],
    task: Annotated[Task, typer.Option(help="What they do: find boxes, or turn pictures of people into vectors.")] = (
        Task.DETECTOR
    ),
    label: Labels = None,
    labels: LabelsFile = None,
    licence: Annotated[str, typer.Option("--licence", "--license", help="Licence of the weights.")] = "",
    picture: Annotated[
        Path | None, typer.Option(help="A picture on which it must find something, instead of a built-in one.")
    ] = None,
    color_order: Annotated[
        ColorOrder | None, typer.Option(case_sensitive=False, help="Of an embedder's channels; the usual if not given.")
    ] = None,
    mean: Annotated[
        str,
        typer.Option(metavar="A,B,C", help="An embedder sees (pixel - mean) / scale: one number, or one a channel."),
    ] = "",
    scale: Annotated[str, typer.Option(metavar="A,B,C", help="See --mean.")] = "",
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Convert, check and serve weights of yours. Exits with 2 and the reason if they are refused."""
    if picture is not None:
        existing(picture, "--picture")
    if task is Task.EMBEDDER and (label or labels):
        raise typer.BadParameter("An embedder has no classes.", param_hint="--label")
    said = {"--color-order": color_order, "--mean": mean, "--scale": scale}
    if task is Task.DETECTOR and any(said.values()):
        hint = next(option for option, value in said.items() if value)
        raise typer.BadParameter("How pixels are seen is said of embedders only.", param_hint=hint)
    weights = Weights(
        existing(file, "FILE"),
        labels_of(label, labels),
        licence,
        picture,
        task="" if task is Task.DETECTOR else task.name,
        color_order=color_order or "",
        mean=per_channel(mean, "--mean"),
        scale=per_channel(scale, "--scale"),
    )
    if 0 in weights.scale:
        raise typer.BadParameter("No scale is zero.", param_hint="--scale")

    async def act() -> Model:
        async with reached(url, data_dir) as client:
            return await bring(client, weights, name)

    _print_served(run(act()), as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete a model that was imported or added; refused while a job that is not over uses it."""

    async def act() -> None:
        async with reached(url, data_dir) as client:
            await client.delete_model(name)

    run(act())
    if as_json:
        print_json({"model": name, "deleted": True})
    else:
        err.print(f"The model {name} was deleted.")


@app.command("test")
def try_on(
    picture: Annotated[Path, typer.Argument(help="The picture: JPEG, PNG or WebP.")],
    model: Annotated[str, typer.Option(help="The mesh's default detector if not given.")] = "",
    threshold: Threshold = 0.5,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The picture with what was found drawn on.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Run a model on one picture and print what it finds, or the vector that it makes of the whole as of one person."""
    existing(picture, "PICTURE")
    if out is not None:
        _check_target(picture, out)

    async def act() -> tuple[str, ModelTest]:
        async with reached(url, data_dir) as client:
            name = model or await _default_detector(client)
            return name, await client.test_model(name, picture, threshold=threshold)

    name, result = run(act())
    if out is not None:
        from kinemesh_client.drawing import draw

        draw(picture, (result.width, result.height), result.detections, out)
    if as_json:
        annotated = {} if out is None else {"annotated": str(out.resolve())}
        print_json({"model": name, **result.raw, **annotated})
        return
    if result.detections:
        rows = (
            (found.label, f"{found.score:.2f}", *(f"{side:.0f}" for side in found.box.corners))
            for found in result.detections
        )
        print_table(("label", "score", "x1", "y1", "x2", "y2"), rows)
    if result.embedding:
        first = " ".join(f"{number:.4f}" for number in result.embedding[:_SHOWN_NUMBERS])
        more = " …" if len(result.embedding) > _SHOWN_NUMBERS else ""
        print_table(("numbers", "the first of them"), [(str(len(result.embedding)), first + more)])
    err.print(f"{escape(name)}: {_found(result, threshold)} in {result.inference_ms:.0f} ms.")


async def _default_detector(client: KinemeshClient) -> str:
    """The detector of those who name none.

    :raises FailedPrecondition: ``MODEL_REQUIRED``.
    """
    found = await client.list_models(task="DETECTOR")
    for model in found.items:
        if model.is_default:
            return model.name
    raise FailedPrecondition("MODEL_REQUIRED", "The mesh has no default detector: name one with --model.")


def _check_target(picture: Path, out: Path) -> None:
    import cv2

    if not cv2.haveImageWriter(out.name):
        raise typer.BadParameter(f"{out} does not end like a picture, such as .png.", param_hint="--out")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {out.parent}.", param_hint="--out")
    if out.exists() and out.samefile(picture):
        raise typer.BadParameter(f"{out} cannot be written over.", param_hint="--out")


def _found(result: ModelTest, threshold: float) -> str:
    if result.embedding:
        return f"a vector of {len(result.embedding)} numbers"
    if result.poses:
        return f"poses of {result.poses}"
    return f"{len(result.detections) or 'nothing'} of score {threshold:g} or more"


def _labels(model: Model) -> str:
    names = ", ".join(model.labels[:_SHOWN_LABELS])
    more = len(model.labels) - _SHOWN_LABELS
    return names + (f" +{more}" if more > 0 else "")


def _described(model: Model) -> str:
    return model.description if model.failure is None else f"{model.failure.message} ({model.failure.reason})"


def _print_served(model: Model, as_json: bool) -> None:
    if as_json:
        print_json(dict(model.raw))
        return
    size = f"{model.input_width} × {model.input_height}" if model.input_width else "pictures of any size"
    vector = model.raw.get("embedding_size")
    made = f"vectors of {vector} numbers" if vector else f"classes {escape(_labels(model))}"
    err.print(f"[green]Served[/] as [bold]{model.name}[/]: {size}, {made}")
