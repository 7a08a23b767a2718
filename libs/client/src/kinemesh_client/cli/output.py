"""What the commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_WIDEST = 1000

COLORS = {
    "ready": "green",
    "ok": "green",
    "up": "green",
    "SUCCEEDED": "green",
    "READY": "green",
    "MATCHED": "green",
    "RUNNING": "cyan",
    "IMPORTING": "cyan",
    "FAILED": "red",
    "REJECTED": "red",
    "failed": "red",
    "MISSING": "yellow",
    "WEAK": "yellow",
    "CANNOT_MATCH": "red",
    "down": "red",
}


class HasRaw(Protocol):
    """What the client answers with."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """As the mesh described it."""


Listed = TypeVar("Listed", bound=HasRaw)


def print_json(value: Any) -> None:
    """One JSON value."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(reason: str, message: str, metadata: Mapping[str, str], *, as_json: bool) -> None:
    """A failure: a sentence and its reason; for programs also as the one JSON object."""
    if as_json:
        print_json({"error": {"reason": reason, "message": message, "metadata": dict(metadata)}})
    err.print(f"[bold red]error[/] {escape(message)} [dim]({escape(reason)})[/]")


def print_facts(facts: Mapping[str, str]) -> None:
    """What else is known of a failure, for people."""
    for name, value in facts.items():
        err.print(f"  [dim]{escape(name)}[/] {escape(value)}")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A plain table; words for states are coloured."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=True)
    for row in rows:
        made.add_row(*(_colored(str(cell)) for cell in row))
    return made


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table on standard output."""
    print_wide(table(columns, rows), out)


def print_page(
    what: str,
    items: Sequence[Listed],
    total: int,
    columns: Iterable[str],
    row: Callable[[Listed], Iterable[object]],
    *,
    as_json: bool,
) -> None:
    """Some of what there is, as a table or as one JSON object of it and its ``total``."""
    if as_json:
        print_json({what: [dict(item.raw) for item in items], "total": total})
        return
    print_table(columns, [row(item) for item in items])
    if len(items) < total:
        err.print(f"{len(items)} of {total} {what}; --limit shows more.")


def print_deleted(what: str, name: str, *, as_json: bool) -> None:
    """That something was deleted: ``what``, such as "route", by its id."""
    if as_json:
        print_json({f"{what}_id": name, "deleted": True})
    else:
        err.print(f"The {what} {escape(name)} was deleted.")


def print_file(path: Path, *, as_json: bool, **more: str) -> None:
    """The path of a file that was written; ``more`` are further members of the JSON object."""
    if as_json:
        print_json({**more, "file": str(path)})
    else:
        out.print(str(path), markup=False)


def short_time(time: str) -> str:
    """RFC 3339 for people, to the second."""
    return time[:19].replace("T", " ")


def print_wide(made: Table, console: Console) -> None:
    """A table however wide it is; the terminal wraps it. An id that is cut off is of no use."""
    width, console.width = console.width, _WIDEST
    try:
        console.print(made)
    finally:
        console.width = width


def _colored(text: str) -> str:
    color = COLORS.get(text)
    return f"[{color}]{text}[/]" if color else escape(text)
