"""``kinemesh where``"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, reached
from kinemesh_client.cli.output import print_page
from kinemesh_client.cli.parameters import rfc3339
from kinemesh_client.cli.processing import given
from kinemesh_client.cli.running import run
from kinemesh_client.resources import Page
from kinemesh_client.tracking import Presence

_PAGE = 100
Several = list[str] | None


def where(
    environment_id: Annotated[str, typer.Argument(metavar="ENV", help="The environment's id.")],
    person: Annotated[Several, typer.Option(help="Only this person, by global id; may be repeated.")] = None,
    camera: Annotated[Several, typer.Option(help="Only in this camera; may be repeated.")] = None,
    zone: Annotated[Several, typer.Option(help="Only inside this zone; may be repeated.")] = None,
    job: Annotated[Several, typer.Option(help="Only in this job; may be repeated.")] = None,
    within: Annotated[str, typer.Option(metavar="X,Y;X,Y;X,Y", help="Only inside this polygon on the map.")] = "",
    from_: Annotated[
        str, typer.Option("--from", metavar="MOMENT", help="Seconds on the site's clock, or 2026-03-01T08:00:00Z.")
    ] = "",
    to: Annotated[str, typer.Option(metavar="MOMENT", help="The moment after the last.")] = "",
    min_duration: Annotated[float | None, typer.Option(min=0, help="Leave out shorter presences; seconds.")] = None,
    max_gap: Annotated[float | None, typer.Option(min=0, help="Join presences with smaller gaps; seconds, 1.")] = None,
    path_step: Annotated[
        float | None, typer.Option(min=0, help="Add a position every so many seconds (--json).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most presences to show.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Who was where when, over the finished jobs of an environment, earliest first.

    Every filter that is given must hold; of the values of one filter, any.
    """
    filters = given(
        environment_id=environment_id,
        job_ids=job,
        global_ids=person,
        cameras=camera,
        zones=zone,
        within=_polygon(within) if within else None,
        min_duration_sec=min_duration,
        max_gap_sec=max_gap,
        path_step_sec=path_step,
        **_span(from_, to),
    )

    async def ask() -> Page[Presence]:
        async with reached(url, data_dir) as client:
            found: list[Presence] = []
            token = ""
            while True:
                page = await client.tracking.query(filters, min(_PAGE, limit - len(found)), token)
                found += page.items
                token = page.next_page_token
                if not token or not page.items or len(found) >= limit:
                    return Page(found, page.total, token)

    page = run(ask())
    columns = ("person", "camera", "zone", "from", "to", "seconds", "distance", "score", "job")

    def row(one: Presence) -> tuple[str, ...]:
        begun = one.start_time[:19].replace("T", " ") or f"{one.start_sec:.2f}"
        ended = one.end_time[:19].replace("T", " ") or f"{one.end_sec:.2f}"
        figures = f"{one.end_sec - one.start_sec:.1f}", f"{one.distance:.1f}", f"{one.score:.2f}"
        return one.global_id, one.camera, one.zone, begun, ended, *figures, one.job_id

    print_page("presences", page.items, page.total, columns, row, as_json=as_json)


def _span(start: str, end: str) -> dict[str, Any]:
    """The filter by the site's clock, or by time of day.

    :raises typer.BadParameter: a moment is neither, or they are of two kinds.
    """
    moments = {"start": (start, "--from"), "end": (end, "--to")}
    seconds: dict[str, float] = {}
    times: dict[str, str] = {}
    for name, (text, hint) in moments.items():
        if not text:
            continue
        try:
            seconds[f"{name}_sec"] = float(text)
        except ValueError:
            times[f"{name}_time"] = rfc3339(text, hint, "Seconds, or a time")
    if seconds and times:
        raise typer.BadParameter("--from and --to must both be seconds, or both be times.", param_hint="--to")
    return given(clock=seconds or None, time=times or None)


def _polygon(text: str) -> list[dict[str, float]]:
    try:
        corners = [{"x": float(x), "y": float(y)} for x, y in (corner.split(",") for corner in text.split(";"))]
    except ValueError:
        corners = []
    if len(corners) < 3:
        raise typer.BadParameter("Three or more corners are needed, such as 0,0;5,0;5,5.", param_hint="--within")
    return corners
