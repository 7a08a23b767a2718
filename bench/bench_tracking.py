"""The tracker against ``trackers``' BoTSORTTracker, on the same detections, on one core.

::

    make bench-tracking DATA=MOT17 OUT=out/bench

``DATA`` is laid out as MOTChallenge has it: ``<sequence>/det/det.txt``, ``seqinfo.ini`` and, to be scored,
``gt/gt.txt``. Writes ``OUT/tracking.json``, ``OUT/online/<sequence>.txt``, ``OUT/offline/<sequence>.txt``, and the
other's tracks into ``OUT/botsort`` and ``OUT/botsort_filled``. Frames per second are of association alone; ``offline``
is the tracker with the refinement. Scores are those of ``trackers``' evaluation, whose figures equal TrackEval's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import supervision
from mot import Sequence, read_sequences, write_tracks
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from trackers import BoTSORTTracker
from trackers.eval import evaluate_mot_sequences

from kinemesh.results.tracks import TrackRows
from kinemesh_detect_track.domain.motion import NOMINAL_RATE
from kinemesh_detect_track.domain.refine import Refinement, refined
from kinemesh_detect_track.domain.state import fresh_state
from kinemesh_detect_track.domain.tracker import Detections, Parameters, step

Rows = NDArray[np.float64]

CHOSEN_ON: Final = ("MOT17-02", "MOT17-05", "MOT17-11")
"""Where the parameters were chosen; the other sequences have not been looked at for that."""
ONLINE: Final = Parameters()
OFFLINE: Final = Parameters(lost_frames=45)
"""A recording is looked at again: tracklets that end sooner are joined better."""
_BUFFER: Final = 60
_LONGEST_GAP: Final = 60
_FEWEST_BOXES: Final = 5


def main() -> None:
    parser = argparse.ArgumentParser(description="The tracker against BoTSORTTracker, on one core.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sequences = read_sequences(arguments.data)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = {
        "frames": sum(sequence.frames for sequence in sequences),
        **measure(sequences, arguments.out, arguments.rounds),
        "scores": scores(arguments.data, arguments.out, [sequence.name for sequence in sequences]),
    }
    (arguments.out / "tracking.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def measure(sequences: list[Sequence], out: Path, rounds: int) -> dict[str, Any]:
    """Track everything several times in turn; files are of the last time."""
    seconds: dict[str, list[float]] = {"online": [], "offline": [], "botsort": []}
    for _ in range(rounds):
        seconds["botsort"].append(sum(_timed(botsort, one, out / "botsort") for one in sequences))
        seconds["online"].append(sum(_timed(online, one, out / "online") for one in sequences))
        seconds["offline"].append(sum(_timed(offline, one, out / "offline") for one in sequences))
    for one in sequences:
        rows = np.loadtxt(out / "botsort" / f"{one.name}.txt", delimiter=",", ndmin=2)
        write_tracks(out / "botsort_filled" / f"{one.name}.txt", filled(rows))
    frames = sum(one.frames for one in sequences)
    fps = {name: round(frames / statistics.median(taken), 1) for name, taken in seconds.items()}
    ratios = [theirs / ours for ours, theirs in zip(seconds["online"], seconds["botsort"], strict=True)]
    return {"fps": fps, "ratio": round(statistics.median(ratios), 3)}


def _timed(track: Callable[[Sequence], tuple[Rows, float]], sequence: Sequence, folder: Path) -> float:
    rows, seconds = track(sequence)
    write_tracks(folder / f"{sequence.name}.txt", rows)
    return seconds


def online(sequence: Sequence) -> tuple[Rows, float]:
    """Tracks [R, 7] and seconds of the tracker that only looks back."""
    given = _given(sequence)
    started = time.perf_counter()
    answers, _ = _follow(given, ONLINE)
    seconds = time.perf_counter() - started
    return _rows(given, answers), seconds


def offline(sequence: Sequence) -> tuple[Rows, float]:
    """Tracks [R, 7] and seconds of the tracker and the refinement over its tracks."""
    given = _given(sequence)
    started = time.perf_counter()
    answers, camera = _follow(given, OFFLINE)
    rows = _rows(given, answers)
    times = np.arange(sequence.frames) / NOMINAL_RATE  # one set of parameters for all frame rates, as the other has it
    frame = rows[:, 0].astype(np.int64)
    tracks = TrackRows(
        frame,
        times[frame],
        rows[:, 1].astype(np.int32),
        rows[:, 2:6].astype(np.float32),
        rows[:, 6].astype(np.float32),
        np.zeros(len(rows), np.int16),
        np.zeros(len(rows), np.bool_),
    )
    out = refined(tracks, times, camera, Refinement())
    seconds = time.perf_counter() - started
    return np.column_stack([out.frame_index, out.track_id, out.box, out.score]), seconds


def _given(sequence: Sequence) -> list[Detections]:
    return [
        Detections(boxes, scores, np.zeros(len(scores), np.int64))
        for boxes, scores in zip(sequence.boxes, sequence.scores, strict=True)
    ]


def _follow(given: list[Detections], parameters: Parameters) -> tuple[list[NDArray[np.int64]], Rows]:
    """The track of every detection, and where the camera was after every frame, float64 [F, 2]."""
    state = fresh_state()
    answers, cameras = [], []
    for detections in given:
        state, ids = step(state, detections, parameters)
        answers.append(ids)
        cameras.append(state.camera)
    return answers, np.array(cameras)


def _rows(given: list[Detections], answers: list[NDArray[np.int64]]) -> Rows:
    parts = [
        np.column_stack([np.full(len(ids), frame), ids, detections.boxes, detections.scores])[ids > 0]
        for frame, (detections, ids) in enumerate(zip(given, answers, strict=True))
    ]
    return np.concatenate(parts)


def botsort(sequence: Sequence) -> tuple[Rows, float]:
    """Tracks [R, 7] and seconds of the other tracker, tuned; it has no pictures to see a camera's motion in."""
    given = [
        supervision.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(scores), int))
        for boxes, scores in zip(sequence.boxes, sequence.scores, strict=True)
    ]
    tracker = BoTSORTTracker(lost_track_buffer=_BUFFER, enable_cmc=False)
    started = time.perf_counter()
    answers: list[Any] = [tracker.update(detections) for detections in given]
    seconds = time.perf_counter() - started
    parts = [
        np.column_stack([np.full(len(found), frame), found.tracker_id, found.xyxy, found.confidence])[
            np.asarray(found.tracker_id) >= 0
        ]
        for frame, found in enumerate(answers)
    ]
    return np.concatenate(parts), seconds


def filled(lines: Rows) -> Rows:
    """Lines of a result file as tracks [R, 7] with short gaps filled in a straight line and short tracks dropped."""
    rows = lines[:, :7].copy()
    rows[:, 0] -= 1
    rows[:, 4:6] += rows[:, 2:4]
    parts = []
    for number in np.unique(rows[:, 1]):
        track = rows[rows[:, 1] == number]
        if len(track) < _FEWEST_BOXES:
            continue
        frame = np.arange(track[0, 0], track[-1, 0] + 1)
        before = np.searchsorted(track[:, 0], frame, side="right") - 1
        gap = np.append(np.diff(track[:, 0]), 0)[before]
        frame = frame[(track[before, 0] == frame) | (gap <= _LONGEST_GAP)]
        values = [np.interp(frame, track[:, 0], track[:, column]) for column in range(2, 7)]
        parts.append(np.column_stack([frame, np.full(len(frame), number), *values]))
    return np.concatenate(parts)


def scores(data: Path, out: Path, names: list[str]) -> dict[str, Any]:
    """HOTA, MOTA, IDF1 in per cent and identity switches, of all sequences and each; nothing without ground truth."""
    names = [name for name in names if (data / name / "gt/gt.txt").is_file()]
    groups = {
        "all": names,
        "chosen_on": [name for name in names if name.startswith(CHOSEN_ON)],
        "not_looked_at": [name for name in names if not name.startswith(CHOSEN_ON)],
    }
    result: dict[str, Any] = {}
    for tracker in ("online", "offline", "botsort", "botsort_filled"):
        of_tracker = {}
        for group, members in groups.items():
            if not members:
                continue
            seqmap = out / f"{group}.seqmap"
            seqmap.write_text("name\n" + "\n".join(members) + "\n")
            found = evaluate_mot_sequences(data, out / tracker, seqmap, ["CLEAR", "HOTA", "Identity"])
            seqmap.unlink()
            of_tracker[group] = _figures(found.aggregate)
            if group == "all":
                of_tracker |= {name: _figures(one) for name, one in found.sequences.items()}
        result[tracker] = of_tracker
    return result


def _figures(found: Any) -> dict[str, float]:
    return {
        "HOTA": round(100 * found.HOTA.HOTA, 2),
        "MOTA": round(100 * found.CLEAR.MOTA, 2),
        "IDF1": round(100 * found.Identity.IDF1, 2),
        "IDSW": int(found.CLEAR.IDSW),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table(title=f"{result['frames']} frames on one core", box=None)
    for column in ("", "frames/s", "HOTA", "MOTA", "IDF1", "IDSW", "chosen on: HOTA IDF1", "others: HOTA IDF1"):
        table.add_column(column, justify="right" if column else "left")
    for name, found in result["scores"].items():
        figures = [str(value) for value in found.get("all", {}).values()] or ["", "", "", ""]
        groups = [
            f"{found[g]['HOTA']} {found[g]['IDF1']}" if g in found else "" for g in ("chosen_on", "not_looked_at")
        ]
        table.add_row(name, str(result["fps"].get(name, "")), *figures, *groups)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"online is {result['ratio']:.2f} times as fast as BoTSORTTracker")


if __name__ == "__main__":
    main()
