"""Draw ``docs/images/architecture.svg`` and ``pipelines.svg`` from the sources."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diagram_facts import ROOT, gather
from diagram_mesh import draw_mesh
from diagram_pipelines import draw_pipelines
from kinemesh_ingest.domain.pipelines import PIPELINES

IMAGES = ROOT / "docs/images"


def pictures() -> dict[str, str]:
    """SVG by name of file. The same sources give the same bytes."""
    return {"architecture.svg": draw_mesh(gather()).svg(), "pipelines.svg": draw_pipelines(PIPELINES).svg()}


def stale(folder: Path) -> list[str]:
    """Names of the pictures that a folder lacks or has otherwise."""
    return [
        name
        for name, svg in pictures().items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != svg
    ]


def main() -> int:
    """Write the pictures, or say which are not what the sources say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=IMAGES, help="folder of the pictures; that of the documents without it"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if they are not what the sources say")
    given = parser.parse_args()
    if given.check:
        for name in (left := stale(given.out)):
            sys.stderr.write(f"{name} is not what the sources say: run make diagram\n")
        return 1 if left else 0
    given.out.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures().items():
        (given.out / name).write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
