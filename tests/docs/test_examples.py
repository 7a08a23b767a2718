"""The examples of the guide do what the guide says, on a mesh with synthetic people."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinemesh.testing.fixtures import build_models
from kinemesh_client.testing import kinemesh

from .media import write_media
from .pages import GUIDE, blocks, matches, run, run_on

PAGES = sorted(page for page in GUIDE.glob("*.md") if page.name != "README.md")
SECURED = "keys.md"
"""Needs a mesh that asks who calls: ``tests/e2e/test_permissions.py`` has one and runs it there."""
KINDS = {"curl": "curl ", "Python": "KinemeshClient(", "gRPC": "call ", "command line": "kinemesh "}


@pytest.fixture(scope="module")
def data_dir(open_folder: Path) -> Iterator[Path]:
    """The data folder of a mesh that runs."""
    folder = open_folder / "documented-mesh"
    models = build_models(open_folder / "documented-models", "mock")[1]
    started = kinemesh("up", "--detach", f"--data-dir={folder}", f"--models={models}", "--port=0")
    assert started.returncode == 0, started.stderr
    yield folder
    assert kinemesh("down", f"--data-dir={folder}").returncode == 0


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_media(folder)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != SECURED], ids=lambda page: str(page.stem))
def test_the_examples_do_what_the_page_says(page: Path, data_dir: Path, media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(media, folder)
    ending = run_on(data_dir, page, folder)
    assert ending.problems == (), ending.output[-6000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_every_page_shows_every_way_to_call(page: Path) -> None:
    code = "\n".join(block.code for block in blocks(page.read_text()))
    assert [kind for kind, sign in KINDS.items() if sign not in code] == []
    assert "# → " in code


def test_what_does_not_go_as_a_page_says_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("""
```bash
echo one two three   # → one … three
NAME=there
echo four
```

```python
print("a 1")
# → a …
# → b
```

```bash
echo $NAME   # → gone
false
```

```text
never run
```
""")
    ending = run(page, tmp_path, "http://127.0.0.1:1", dict(os.environ))
    problems = "\n".join(ending.problems)
    assert ending.code == 1
    assert len(ending.problems) == 3
    assert "line 11: expected 'b', printed 'a 1" in problems
    assert "line 15: expected 'gone', printed 'there" in problems
    assert "exit code 1" in problems


def test_dots_stand_for_anything_in_a_line() -> None:
    assert matches("a … c", "x\na b c\n")
    assert not matches("a … c", "a b\nc\n")
    assert not matches("a.c", "abc")
