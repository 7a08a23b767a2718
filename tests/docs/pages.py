"""The examples of a page of the documentation: taken off it, run as one shell session, compared with what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from kinemesh_client.local import running_url
from kinemesh_client.testing import environment

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EXPECTED = re.compile(r"\s*# → (.+)$")
_RUN = ("bash", "python")
_ANYTHING = "…"
_WITHIN_S = 600
URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code.

    :ivar line: of the page, from 1, where its code begins.
    """

    language: str
    line: int
    code: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a page's examples ended.

    :ivar problems: what did not go as the page says, by line of the page.
    """

    code: int
    problems: tuple[str, ...]
    output: str


def blocks(text: str) -> list[Block]:
    """The blocks of a page that are meant to be run, in order."""
    return [
        Block(match[1], text.count("\n", 0, match.start()) + 2, match[2])
        for match in _FENCE.finditer(text)
        if match[1] in _RUN
    ]


def run_on(data_dir: Path, page: Path, folder: Path) -> Ending:
    """Run a page's blocks against the mesh that runs in ``data_dir``, with the guide's functions and our commands."""
    url = running_url(data_dir)
    assert url is not None
    functions = (GUIDE / "functions.sh").read_text()
    (folder / "functions.sh").write_text(functions.replace(URL, url))
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    return run(page, folder, url, environment(KINEMESH_DATA_DIR=str(data_dir), PATH=path))


def run(page: Path, folder: Path, url: str, env: dict[str, str]) -> Ending:
    """Run a page's blocks one after another in ``folder``; shell variables last from block to block.

    :param url: what stands for the address in the examples.
    """
    text = page.read_text()
    script = folder / "examples.sh"
    log = folder / "examples.log"
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks(text)):
        lines.append(f"echo '@@ line {block.line}'")
        if block.language == "python":
            program = folder / f"example{number}.py"
            program.write_text(_elsewhere(block.code, url))
            lines.append(f"{shlex.quote(sys.executable)} -W error {program.name}")
            lines += [f"echo {shlex.quote(f'@@ expected {at} {what}')}" for at, what in _expected(block)]
        else:
            lines += _checked(block, url)
    script.write_text("\n".join(lines) + "\necho '@@ end'\n")
    with log.open("w") as out:
        try:
            ended = subprocess.run(
                ["bash", str(script)], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, timeout=_WITHIN_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            ended = -1
    return _ending(ended, log.read_text(errors="replace"))


def _elsewhere(code: str, url: str) -> str:
    """The code with the addresses and paths of this run."""
    code = code.replace(URL, url).replace(URL.replace("http", "ws"), url.replace("http", "ws"))
    return code.replace("docs/guide/functions.sh", "functions.sh")


def _expected(block: Block) -> list[tuple[int, str]]:
    found = ((block.line + at, _EXPECTED.search(line)) for at, line in enumerate(block.code.splitlines()))
    return [(line, match[1]) for line, match in found if match]


def _checked(block: Block, url: str) -> list[str]:
    """The lines of a shell block, each comment about what is printed made a mark in the output."""
    lines = []
    for at, line in enumerate(_elsewhere(block.code, url).splitlines()):
        match = _EXPECTED.search(line)
        lines.append(_EXPECTED.sub("", line))
        if match:
            lines.append(f"echo; echo {shlex.quote(f'@@ expected {block.line + at} {match[1]}')}")
    return lines


def _ending(code: int, output: str) -> Ending:
    """Compare what was printed between marks with what the marks expect; several in a row share what was printed."""
    problems, line, printed, before = [], "0", "", ""
    for text in output.splitlines():
        if text.startswith("@@ line "):
            line, printed, before = text.removeprefix("@@ line "), "", ""
        elif text.startswith("@@ expected "):
            line, what = text.removeprefix("@@ expected ").split(" ", 1)
            printed, before = (printed, printed) if printed.strip() else (before, before)
            if not matches(what, printed):
                problems.append(f"line {line}: expected {what!r}, printed {printed[-800:]!r}")
            printed = ""
        elif text != "@@ end":
            printed += text + "\n"
    if code or not output.endswith("@@ end\n"):
        problems.append(f"line {line} and after: exit code {code}: {printed[-3000:]}")
    return Ending(code, tuple(problems), output)


def matches(expected: str, printed: str) -> bool:
    """Whether a text holds another, in which ``…`` stands for anything within a line."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split(_ANYTHING))
    return re.search(pattern, printed) is not None
