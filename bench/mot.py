"""Folders and files of MOTChallenge: detections in, tracks out.

A line is ``frame,id,left,top,width,height,score``; frames count from 1 (Dendorfer et al., MOTChallenge, 2021).
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """One sequence's detections, by frame.

    :ivar frames: number of frames, with detections or without.
    :ivar boxes: of every frame, float64 [D, 4], ``x1 y1 x2 y2`` in pixels.
    :ivar scores: of every frame, float64 [D].
    """

    name: str
    frames: int
    boxes: list[NDArray[np.float64]]
    scores: list[NDArray[np.float64]]


def read_sequences(folder: Path) -> list[Sequence]:
    """Every sequence of a folder, by name.

    :raises SystemExit: the folder holds none.
    """
    found = sorted(path.parent.parent for path in folder.glob("*/det/det.txt"))
    if not found:
        raise SystemExit(f"There is no <sequence>/det/det.txt in {folder}.")
    return [_read_sequence(path) for path in found]


def _read_sequence(folder: Path) -> Sequence:
    rows = np.loadtxt(folder / "det/det.txt", delimiter=",", ndmin=2, usecols=range(7))
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    frames = info.getint("Sequence", "seqLength", fallback=int(rows[-1, 0]) if len(rows) else 0)
    borders = np.searchsorted(rows[:, 0], np.arange(2, frames + 1))
    corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    return Sequence(folder.name, frames, np.split(corners, borders), np.split(rows[:, 6], borders))


def write_tracks(path: Path, rows: NDArray[np.float64]) -> None:
    """Write tracks [R, 7]: frame from 0, id, ``x1 y1 x2 y2``, score."""
    out = rows.copy()
    out[:, 0] += 1
    out[:, 4:6] -= out[:, 2:4]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, out, fmt=["%d", "%d", "%.2f", "%.2f", "%.2f", "%.2f", "%.4f"], delimiter=",")
