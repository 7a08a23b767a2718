"""The edits that a page of the documentation shows: read off it, and applied to a copy of the sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```diff\n(---|\+\+\+) (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class DoesNotFit(Exception):
    """A place that an edit names is not there, or there more than once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file, or a new one.

    :ivar hunks: lines as they are before and after, of each place.
    """

    path: str
    is_new: bool
    hunks: tuple[tuple[str, str], ...]

    def apply(self, root: Path) -> None:
        """Change the file below ``root``.

        :raises DoesNotFit: naming the file and the place.
        """
        target = root / self.path
        if self.is_new:
            if target.exists():
                raise DoesNotFit(f"{self.path} is there already")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(after for _, after in self.hunks))
            return
        text = target.read_text()
        for before, after in self.hunks:
            place = re.compile(f"^{re.escape(before)}", re.MULTILINE)
            # Looked for ahead, so that places that overlap count as two.
            if len(re.findall(f"(?={place.pattern})", text, re.MULTILINE)) != 1:
                raise DoesNotFit(f"{self.path} must have this once:\n{before}")
            at = next(place.finditer(text))
            text = text[: at.start()] + after + text[at.end() :]
        target.write_text(text)


def sections(page: Path) -> dict[str, list[Edit]]:
    """The edits under each heading of the second level."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    found = {title: [_edit(*block) for block in _BLOCK.findall(body)] for title, body in bodies.items()}
    return {title: edits for title, edits in found.items() if edits}


def _edit(sign: str, path: str, body: str) -> Edit:
    places = re.split(r"^@@\n", body, flags=re.MULTILINE)
    return Edit(path, sign == "+++", tuple((_side(place, " -"), _side(place, " +")) for place in places))


def _side(place: str, signs: str) -> str:
    lines = [line or " " for line in place.splitlines()]
    assert all(line[0] in " +-" for line in lines), place
    return "".join(f"{line[1:]}\n" for line in lines if line[0] in signs)
