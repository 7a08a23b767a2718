"""``kinemesh keys``"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from kinemesh.access.identity import SCOPES
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Limit, Url, with_client
from kinemesh_client.cli.output import err, out, print_json, print_page, short_time
from kinemesh_client.cli.parameters import rfc3339
from kinemesh_client.keys import ApiKey

app = typer.Typer(help="API keys: who may call, for whom, and what.", no_args_is_help=True)

_SPAN: Final = re.compile(r"(\d{1,6})([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_GB: Final = 10**9


@app.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose objects its bearer sees and makes.")],
    scope: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated. read and write if none.")
    ] = None,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    expires: Annotated[
        str, typer.Option(metavar="WHEN", help="12h, 90d, 4w, or 2027-01-01T00:00:00Z; never if not given.")
    ] = "",
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests.")] = None,
    storage_gb: Annotated[float | None, typer.Option(min=0.001, help="Most room for the owner's files.")] = None,
    active_jobs: Annotated[int | None, typer.Option(min=1, help="Most jobs of the owner at once.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Make a key and print it, this once: it is kept nowhere."""
    scopes = scope or ["read", "write"]
    if not set(scopes) <= set(SCOPES):
        raise typer.BadParameter(f"Scopes are {', '.join(SCOPES)}.", param_hint="--scope")
    wanted = {
        "requests_per_minute": requests_per_minute,
        "storage_bytes": round(storage_gb * _GB) if storage_gb else None,
        "active_jobs": active_jobs,
    }
    limits = {what: value for what, value in wanted.items() if value is not None}
    expire_time = _moment(expires) if expires else ""
    key = with_client(
        url,
        data_dir,
        lambda client: client.keys.create(owner, scopes, name=name, expire_time=expire_time, limits=limits),
    )
    if as_json:
        print_json(dict(key.raw))
        return
    err.print(f"{key.key_id}: {', '.join(key.scopes)} for {key.owner}. Keep it now; it is not shown again.")
    out.print(key.api_key, markup=False, soft_wrap=True)


@app.command("list")
def list_(
    owner: Annotated[str, typer.Option(help="Only keys of this owner.")] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """All keys, newest first, with those that have ended."""
    page = with_client(url, data_dir, lambda client: client.keys.list(limit, owner=owner))

    def row(key: ApiKey) -> tuple[object, ...]:
        times = short_time(key.create_time), short_time(key.last_used_time)
        return key.key_id, key.owner, key.name, ",".join(key.scopes), _standing(key), *times

    columns = ("key", "owner", "name", "scopes", "state", "created", "used")
    print_page("keys", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """End a key for good. Tokens that were given for it stay valid for some minutes."""
    key = with_client(url, data_dir, lambda client: client.keys.revoke(key_id))
    if as_json:
        print_json(dict(key.raw))
    else:
        err.print(f"{key.key_id} is revoked.")


def _standing(key: ApiKey) -> str:
    if key.revoke_time:
        return "revoked"
    if not key.expire_time:
        return "good"
    ended = datetime.fromisoformat(key.expire_time) <= datetime.now(UTC)
    return "expired" if ended else f"until {short_time(key.expire_time)}"


def _moment(text: str) -> str:
    if span := _SPAN.fullmatch(text):
        return (datetime.now(UTC) + int(span[1]) * _UNITS[span[2]]).isoformat()
    return rfc3339(text, "--expires", "A span such as 90d, or a time")
