"""``kinemesh environments``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, with_client
from kinemesh_client.cli.output import err, out, print_deleted, print_json, print_page, print_table, short_time
from kinemesh_client.cli.parameters import existing
from kinemesh_client.cli.processing import given
from kinemesh_client.cli.progress import bars
from kinemesh_client.cli.sites import brought, warn
from kinemesh_client.client import KinemeshClient
from kinemesh_client.environments import Environment, Identity
from kinemesh_client.resources import Page
from kinemesh_client.site_file import read_site

app = typer.Typer(help="Sites with several cameras, their calibration and whom they know.", no_args_is_help=True)

EnvironmentId = Annotated[str, typer.Argument(metavar="ENV", help="The environment's id.")]
SiteDescription = Annotated[Path, typer.Argument(metavar="FILE.json", help="Description of the site.")]
Axes = Annotated[str, typer.Option(metavar="XY|YX", help="Order of the coordinates; XY if the file does not say.")]
ValidateOnly = Annotated[bool, typer.Option("--validate-only", help="Only check and report.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most environments to show.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Your environments, by name."""

    async def ask(client: KinemeshClient) -> Page[Environment]:
        return await client.environments.list(limit)

    page = with_client(url, data_dir, ask)
    columns = ("environment", "name", "cameras", "calibrated", "created")

    def row(one: Environment) -> tuple[str, ...]:
        calibrated = f"{len(one.calibrated)}/{len(one.cameras)}"
        return one.environment_id, one.name, ", ".join(one.cameras), calibrated, short_time(one.create_time)

    print_page("environments", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def show(
    environment_id: EnvironmentId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR
) -> None:
    """One environment; --json prints what `update` takes again."""
    found = with_client(url, data_dir, lambda client: client.environments.get(environment_id))
    _print_environment(found, as_json)


@app.command()
def create(file: SiteDescription, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Make a new environment as a file describes it, with its recordings and calibration."""
    _bring(file, "", True, url, data_dir, as_json)


@app.command()
def update(
    environment_id: EnvironmentId,
    file: SiteDescription,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Change what a file says; what it does not say stays, and lists are replaced as a whole."""
    _bring(file, environment_id, False, url, data_dir, as_json)


@app.command()
def delete(
    environment_id: EnvironmentId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR
) -> None:
    """Delete an environment and its gallery; refused while a job that is not over uses it. Recordings stay."""
    with_client(url, data_dir, lambda client: client.environments.delete(environment_id))
    print_deleted("environment", environment_id, as_json=as_json)


@app.command()
def homography(
    environment_id: EnvironmentId,
    camera: Annotated[str, typer.Argument(help="The camera's id; - for the one that the file's name has.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help=".npz, three rows of three numbers, or JSON.")
    ] = None,
    image_axes: Axes = "",
    map_axes: Axes = "",
    map_to_image: Annotated[bool, typer.Option("--map-to-image", help="The matrix maps the map to the image.")] = False,
    image_size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the pictures that points were taken from, if not the camera's.")
    ] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Take the camera's homography away.")] = False,
    validate_only: ValidateOnly = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Give a camera its homography, and say how well it fits."""
    if remove != (file is None):
        raise typer.BadParameter("Either a file or --remove is needed.", param_hint="FILE")
    if file is None:
        with_client(url, data_dir, lambda client: client.environments.delete_homography(environment_id, camera))
        if as_json:
            print_json({"environment_id": environment_id, "camera": camera, "deleted": True})
        return
    width, height = _size(image_size)
    options = given(
        image_axes=_axes(image_axes, "--image-axes"),
        map_axes=_axes(map_axes, "--map-axes"),
        map_to_image=map_to_image or None,
        image_width=width,
        image_height=height,
    )
    path, named = existing(file, "FILE"), "" if camera == "-" else camera
    found = with_client(
        url,
        data_dir,
        lambda client: client.environments.upload_homography(
            environment_id, named, path, options, validate_only=validate_only
        ),
    )
    if as_json:
        print_json(dict(found.raw))
        return
    fit = (
        f"{found.points} points, off by {found.rms_error_map:.3g} on the map (at most {found.max_error_map:.3g}) "
        f"and {found.rms_error_px:.3g} px"
        if found.points
        else "a matrix, without points to compare with"
    )
    out.print(f"[bold]{escape(found.camera)}[/]  {fit}")
    warn(found)


@app.command()
def calibrate(
    environment_id: EnvironmentId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Calibration of several cameras, as JSON.")],
    image_axes: Axes = "",
    map_axes: Axes = "",
    validate_only: ValidateOnly = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Calibrate several cameras at once, all or none."""
    options = given(image_axes=_axes(image_axes, "--image-axes"), map_axes=_axes(map_axes, "--map-axes"))
    path = existing(file, "FILE")
    found = with_client(
        url,
        data_dir,
        lambda client: client.environments.calibrate(environment_id, path, options, validate_only=validate_only),
    )
    if as_json:
        print_json(dict(found.raw))
        return
    out.print(f"calibrated: {escape(', '.join(found.calibrated) or 'none')}")
    if found.unknown:
        err.print(f"[yellow]Not in this environment:[/] {escape(', '.join(found.unknown))}")


@app.command()
def identities(
    environment_id: EnvironmentId,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most persons to show.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """The persons whom an environment's gallery knows, last seen first."""
    page = with_client(url, data_dir, lambda client: client.environments.identities(environment_id, limit))
    columns = ("person", "first seen", "last seen", "cameras", "jobs")

    def row(one: Identity) -> tuple[object, ...]:
        seen = short_time(one.first_seen_time), short_time(one.last_seen_time)
        return one.global_id, *seen, ", ".join(one.cameras), one.jobs

    print_page("identities", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def forget(
    environment_id: EnvironmentId,
    person: Annotated[str, typer.Argument(help="The person's id.")],
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Delete one person's data: in the gallery, and in the results of finished jobs."""
    changed = with_client(url, data_dir, lambda client: client.environments.forget(environment_id, person))
    if as_json:
        print_json({"environment_id": environment_id, "global_id": person, "changed_jobs": changed})
    else:
        err.print(f"{escape(person)} was forgotten; finished jobs whose results change: {changed}.")


def _bring(file: Path, name: str, only_new: bool, url: str, data_dir: Path, as_json: bool) -> None:
    site = read_site(existing(file, "FILE"))

    async def act(client: KinemeshClient) -> Environment:
        with bars() as progress:
            async with brought(client, site, progress, name=name, only_new=only_new) as there:
                return there

    _print_environment(with_client(url, data_dir, act), as_json)


def _print_environment(found: Environment, as_json: bool) -> None:
    if as_json:
        print_json(dict(found.raw))
        return
    out.print(f"[bold]{escape(found.environment_id)}[/]  {escape(found.name)}  {short_time(found.create_time)}")
    rows = []
    for camera in found.raw["cameras"]:
        quality = (camera.get("homography") or {}).get("quality") or {}
        error = f"{quality['rms_error_map']:.3g}" if quality.get("points") else ""
        calibrated = "yes" if camera.get("homography") else "no"
        rows.append((camera["camera"], len(camera["sub_videos"]), calibrated, error))
    print_table(("camera", "recordings", "calibrated", "error on the map"), rows)
    if found.raw["zones"]:
        out.print("zones: " + escape(", ".join(zone["zone"] for zone in found.raw["zones"])))


def _axes(text: str, hint: str) -> str | None:
    if text.upper() not in ("", "XY", "YX"):
        raise typer.BadParameter("XY or YX is needed.", param_hint=hint)
    return text.upper() or None


def _size(text: str) -> tuple[int | None, int | None]:
    width, _, height = text.lower().partition("x")
    if not text:
        return None, None
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter("Width and height are needed, such as 1920x1080.", param_hint="--image-size")
    return int(width), int(height)
