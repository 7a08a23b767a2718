"""``kinemesh run route_match``"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url
from kinemesh_client.cli.output import print_table
from kinemesh_client.cli.parameters import (
    At,
    Colors,
    HideLabels,
    JointRadius,
    LineThickness,
    OutDir,
    Trail,
    existing,
    point_of,
    style_of,
)
from kinemesh_client.cli.processing import (
    Outcome,
    Place,
    clear,
    client_or_temporary,
    fetch,
    follow_or_cancel,
    given,
    into,
    report,
    upload,
)
from kinemesh_client.cli.progress import bars
from kinemesh_client.cli.running import run
from kinemesh_client.client import KinemeshClient
from kinemesh_client.matching import MatchResult
from kinemesh_client.resources import Job

_MOST = 8


class Mode(StrEnum):
    """How frames are matched."""

    SINGLE = "single"
    MULTI = "multi"


class Transform(StrEnum):
    """What transforms may do."""

    AFFINE = "affine"
    HOMOGRAPHY = "homography"


class Align(StrEnum):
    """How the times of several recordings are laid over one another."""

    NONE = "none"
    START = "start"
    PATH = "path"


_ALIGNMENTS = {Align.NONE: "NONE", Align.START: "MOVEMENT_START", Align.PATH: "PATH"}


@dataclass(frozen=True, slots=True)
class Request:
    """What to match: clips with a picture or a reference image, or attempts of the catalogue."""

    clips: Sequence[Path]
    image: Path | None
    parameters: Mapping[str, Any]
    place: Place


def route_match(
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="[CLIP]...", help="Recordings, one to eight; drawn together.")
    ] = None,
    attempt: Annotated[
        list[str] | None, typer.Option(help="An attempt of the catalogue instead of clips; may be repeated.")
    ] = None,
    reference: Annotated[
        str, typer.Option(metavar="ID", help="Reference image; that of the route, for attempts, if not given.")
    ] = "",
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture of yours instead.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="One transform for the whole clip, or one per frame, for a moving camera.")
    ] = Mode.SINGLE,
    model: Annotated[
        Transform | None, typer.Option(help="What transforms may do; affine if single, homography if multi.")
    ] = None,
    align: Annotated[
        Align, typer.Option(help="Recordings begin together, climbers start together, or are at one place together.")
    ] = Align.START,
    fps: Annotated[float | None, typer.Option(min=1, max=120, help="Of the video; the first clip's.")] = None,
    at: At = "",
    color: Colors = None,
    line_thickness: LineThickness = None,
    joint_radius: JointRadius = None,
    trail: Trail = None,
    hide_labels: HideLabels = False,
    out_dir: OutDir = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """Climbers drawn on a picture of the wall, several over one another, with the figures of each attempt.

    A clip that shows another wall is not drawn: the job fails with NOT_ENOUGH_MATCHES and its counts.
    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    _check(clips or (), attempt or (), reference, image, at)
    first, *others = attempt or [""]
    parameters = given(
        attempt_id=first or None,
        attempt_ids=others or None,
        reference=reference or None,
        mode=mode.name,
        transform_model=model.name if model else None,
        alignment=_ALIGNMENTS[align],
        output_frame_rate=fps,
        subject_point=point_of(at) if at else None,
        style=style_of(color, line_thickness, trail, False, hide_labels, joint_radius),
    )
    request = Request([existing(clip, "CLIP") for clip in clips or ()], image, parameters, into(out_dir))
    outcome, found = run(run_match(request, url, data_dir, models))
    report(outcome, as_json=as_json, **({} if found is None else {"match": dict(found.raw)}))
    if found is not None and not as_json:
        _print_result(found)


async def run_match(request: Request, url: str, data_dir: Path, models: str) -> tuple[Outcome, MatchResult | None]:
    """Upload what is to be uploaded, match, and fetch; the result is None if the job did not succeed."""
    started = time.monotonic()
    async with client_or_temporary(url, data_dir, models) as (client, _):
        with bars() as progress:
            job = await _create(client, request, progress)
            job, stages = await follow_or_cancel(client, job, progress)
            seconds = time.monotonic() - started
            if job.state != "SUCCEEDED":
                return Outcome(job, {}, seconds, stages), None
            files = await fetch(client, job, request.place, progress)
            return Outcome(job, files, seconds, stages), await client.matching.result(job.job_id)


async def _create(client: KinemeshClient, request: Request, progress: Progress) -> Job:
    """Queue the job; what was uploaded for it goes if it is refused."""
    parameters = dict(request.parameters)
    if "reference" in parameters:  # a wrong id is told before anything is uploaded
        await client.references.get(parameters["reference"])
    uploaded: list[str] = []
    try:
        if request.image is not None:
            uploaded.append(await upload(client, request.image, "IMAGE", progress))
            parameters["image_asset_id"] = uploaded[0]
        clips: list[str] = []
        for clip in request.clips:
            clips.append(await upload(client, clip, "VIDEO", progress))
            uploaded.append(clips[-1])
        return await client.create_job("route_match", clips[0] if len(clips) == 1 else clips, parameters)
    except BaseException:
        for asset_id in uploaded:
            await clear(client.delete_asset(asset_id), f"the asset {asset_id}")
        raise


def _check(clips: Sequence[Path], attempts: Sequence[str], reference: str, image: Path | None, at: str) -> None:
    """:raises typer.BadParameter: the arguments do not go together."""
    if bool(clips) == bool(attempts):
        raise typer.BadParameter("Either clips or attempts are needed.", param_hint="CLIP / --attempt")
    if len(clips) + len(attempts) > _MOST:
        raise typer.BadParameter(f"At most {_MOST} can be drawn together.", param_hint="CLIP / --attempt")
    if reference and image is not None:
        raise typer.BadParameter("Either a reference image or a picture, not both.", param_hint="--image")
    if clips and not reference and image is None:
        raise typer.BadParameter("Clips need a picture of the wall.", param_hint="--reference / --image")
    if image is not None:
        existing(image, "--image")
    if at and len(clips) + len(attempts) > 1:
        raise typer.BadParameter("It can only be chosen in a single recording whom to follow.", param_hint="--at")


def _print_result(found: MatchResult) -> None:
    columns = ("attempt", "verdict", "matched", "interpolated", "unmatched")
    figures = ("seconds", "moves", "pauses", "path", "straightness", "holds")
    rows = []
    for one in found.attempts:
        frames = one.matched_frames, one.interpolated_frames, one.unmatched_frames
        measured: tuple[object, ...] = ("",) * len(figures)
        if (metrics := one.metrics) is not None:
            measured = (
                f"{metrics.time_on_route_sec:.1f}",
                metrics.moves,
                metrics.pauses,
                f"{metrics.path_length:.2f}",
                f"{metrics.straightness:.2f}",
                metrics.holds_touched,
            )
        rows.append((one.name or one.attempt_id or one.camera, one.verdict, *frames, *measured))
    print_table((*columns, *figures), rows)
