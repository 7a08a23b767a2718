"""Identities over segments: the cut must not matter, and nobody may change name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh_pose.domain.snapshot import Snapshot, empty_snapshot, same_snapshot
from kinemesh_pose.domain.stitch import DUPLICATE, SegmentRows, StitchOptions, stitch

ASPECT = 16 / 9
FPS = 30.0

# A standing body, feet at y = 1, head at y = 0, in body heights around x = 0: [33, 2].
_HALF = {11: (0.12, 0.2), 13: (0.15, 0.37), 15: (0.16, 0.52), 17: (0.16, 0.56), 19: (0.16, 0.57), 21: (0.15, 0.55)}
_HALF |= {23: (0.08, 0.5), 25: (0.08, 0.74), 27: (0.08, 0.95), 29: (0.08, 0.98), 31: (0.1, 1.0)}
_HALF |= {1: (0.01, 0.06), 2: (0.02, 0.06), 3: (0.03, 0.06), 7: (0.05, 0.08), 9: (0.02, 0.1)}
_MIRROR = {1: 4, 2: 5, 3: 6, 7: 8, 9: 10} | {i: i + 1 for i in range(11, 33, 2)}
BODY = np.zeros((33, 2))
BODY[0] = (0.0, 0.08)
for _i, (_x, _y) in _HALF.items():
    BODY[_i], BODY[_MIRROR[_i]] = (_x, _y), (-_x, _y)


@dataclass(frozen=True)
class Walker:
    """Somebody who walks along x (picture heights) with swinging limbs."""

    x: float
    speed: float
    height: float = 0.6
    feet: float = 0.9
    phase: float = 0.0
    seen: tuple[tuple[int, int], ...] = ((0, 10**6),)
    """Half-open ranges of frames in which the estimator sees the walker."""

    def visible(self, frame: int) -> bool:
        x = self.x + self.speed * frame / FPS
        return 0.0 < x < ASPECT and any(a <= frame < b for a, b in self.seen)

    def landmarks(self, frame: int, rng: np.random.Generator, noise: float) -> NDArray[np.float32]:
        time = frame / FPS
        body = BODY.copy()
        swing = 0.12 * np.sin(2 * np.pi * 0.9 * time + self.phase)
        for left, share in ((13, 0.5), (15, 1), (17, 1), (19, 1), (21, 1), (25, 0.5), (27, 1), (29, 1), (31, 1)):
            sign = 1 if left < 23 else -1
            body[left, 0] += sign * share * swing
            body[left + 1, 0] -= sign * share * swing
        plane = body * self.height + (self.x + self.speed * time, self.feet - self.height)
        plane += rng.normal(0, noise * self.height, plane.shape)
        rows = np.zeros((33, 5), np.float32)
        rows[:, 0], rows[:, 1] = plane[:, 0] / ASPECT, plane[:, 1]
        rows[:, 2] = rng.normal(0, noise * self.height, 33)
        rows[:, 3:] = 0.95
        return rows


def segment(
    walkers: list[Walker], start: int, end: int, warmup: int, seed: int, noise: float = 0.003
) -> tuple[SegmentRows, NDArray[np.int64]]:
    """Rows as an estimator would give them, its local ids shuffled anew after each gap; and the truth."""
    rng = np.random.default_rng([seed, start])
    names = rng.permutation(10_000)
    rows: list[tuple[int, int, NDArray[np.float32]]] = []
    truth: list[int] = []
    local: dict[int, int] = {}
    last: dict[int, int] = {}
    tracks = 0
    for frame in range(max(0, start - warmup), end):
        for k in rng.permutation(len(walkers)).tolist():
            if not walkers[k].visible(frame):
                continue
            if last.get(k) != frame - 1:
                local[k], tracks = int(names[tracks]), tracks + 1
            last[k] = frame
            # Estimates of one frame in two segments differ a little, as real ones do.
            rows.append((frame, local[k], walkers[k].landmarks(frame, rng, noise)))
            truth.append(k)
    frames = np.array([r[0] for r in rows], np.int64)
    packed = SegmentRows(
        frame=frames,
        time_s=frames / FPS,
        local_id=np.array([r[1] for r in rows], np.int64),
        landmarks=np.stack([r[2] for r in rows]) if rows else np.zeros((0, 33, 5), np.float32),
        overlap=frames < start,
    )
    return packed, np.array(truth, np.int64)


def run(
    walkers: list[Walker], frames: int, length: int, warmup: int = 10, seed: int = 0, noise: float = 0.003
) -> NDArray[np.int64]:
    """Stitch a clip cut every ``length`` frames: (frame, walker, person) per row."""
    snapshot: Snapshot | None = None
    out = []
    for start in range(0, frames, length):
        rows, truth = segment(walkers, start, min(start + length, frames), warmup, seed, noise)
        person, snapshot = stitch(rows, snapshot, ASPECT)
        fresh = ~rows.overlap
        out.append(np.stack([rows.frame[fresh], truth[fresh], person], axis=1))
        snapshot = Snapshot.from_bytes(snapshot.to_bytes())
    table = np.concatenate(out)
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def ids_of(table: NDArray[np.int64], walker: int) -> list[int]:
    return sorted(set(table[table[:, 1] == walker, 2].tolist()))


LENGTHS = [300, 150, 61, 30, 7, 1]


@pytest.mark.parametrize("length", LENGTHS)
def test_two_who_cross_keep_their_ids(length: int) -> None:
    walkers = [Walker(0.1, 0.15), Walker(1.6, -0.15, height=0.55, phase=1.5)]
    table = run(walkers, 300, length)
    assert ids_of(table, 0) == [1]
    assert ids_of(table, 1) == [2]


@pytest.mark.parametrize("length", LENGTHS)
def test_who_enters_late_is_named_next(length: int) -> None:
    walkers = [
        Walker(0.9, 0.0, seen=((120, 300),)),
        Walker(0.3, 0.02),
        Walker(1.75, -0.1, phase=2.0, seen=((200, 300),)),
    ]
    table = run(walkers, 300, length)
    assert [ids_of(table, k) for k in range(3)] == [[2], [1], [3]]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("gap", [1, 12, 45])
def test_an_occlusion_does_not_end_a_person(length: int, gap: int) -> None:
    walkers = [Walker(0.2, 0.12, seen=((0, 140), (140 + gap, 300))), Walker(0.5, 0.0, height=0.5)]
    table = run(walkers, 300, length)
    assert ids_of(table, 0) == [1]
    assert ids_of(table, 1) == [2]


@pytest.mark.parametrize("length", LENGTHS)
def test_who_comes_back_too_late_is_somebody_new(length: int) -> None:
    walkers = [Walker(0.5, 0.0, seen=((0, 60), (155, 220))), Walker(1.2, 0.0)]
    table = run(walkers, 220, length)
    assert ids_of(table, 0) == [1, 3]
    assert ids_of(table, 1) == [2]


@pytest.mark.parametrize("length", LENGTHS)
def test_without_warmup_frames_motion_alone_names_people(length: int) -> None:
    walkers = [Walker(0.1, 0.15), Walker(1.6, -0.15, height=0.55, phase=1.5), Walker(1.0, 0.02, height=0.7)]
    assert np.array_equal(run(walkers, 240, length, warmup=0)[:, 2], run(walkers, 240, 240, warmup=0)[:, 2])


@settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 4),
    length=st.integers(1, 90),
    warmup=st.integers(0, 24),
    noise=st.sampled_from([0.0, 0.003, 0.01]),
)
def test_the_cut_does_not_matter(seed: int, count: int, length: int, warmup: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    walkers = []
    for k in range(count):
        hidden = int(rng.integers(20, 80))
        walkers.append(
            Walker(
                x=(k + rng.uniform(0.1, 0.9)) * ASPECT / count,
                speed=rng.uniform(-0.25, 0.25),
                height=rng.uniform(0.35, 0.75),
                feet=rng.uniform(0.85, 1.0),
                phase=rng.uniform(0, 6),
                seen=((int(rng.integers(0, 15)), hidden), (hidden + int(rng.integers(1, 20)), 120)),
            )
        )
    whole = run(walkers, 120, 120, 0, seed, noise)
    parts = run(walkers, 120, length, warmup, seed, noise)
    # Rows that were dropped as duplicates (people in one place) may differ by a frame; names may not.
    kept, kept_in_parts = whole[:, 2] != DUPLICATE, parts[:, 2] != DUPLICATE
    both = kept & kept_in_parts
    assert (kept == kept_in_parts).mean() > 0.97
    assert both.mean() > 0.85
    assert np.array_equal(whole[both], parts[both])


def test_a_second_track_on_one_body_is_dropped() -> None:
    rows, truth = segment([Walker(0.3, 0.05), Walker(1.2, 0.0)], 0, 60, 0, seed=3)
    twin = rows.frame >= 20
    twin &= truth == 0
    rng = np.random.default_rng(5)
    doubled = rows.landmarks[twin] + rng.normal(0, 0.003, rows.landmarks[twin].shape).astype(np.float32)
    order = np.argsort(np.concatenate([rows.frame, rows.frame[twin]]), kind="stable")
    mixed = SegmentRows(
        frame=np.concatenate([rows.frame, rows.frame[twin]])[order],
        time_s=np.concatenate([rows.time_s, rows.time_s[twin]])[order],
        local_id=np.concatenate([rows.local_id, np.full(twin.sum(), 5)])[order],
        landmarks=np.concatenate([rows.landmarks, doubled])[order],
        overlap=np.zeros(len(order), bool),
    )
    person, snapshot = stitch(mixed, None, ASPECT)
    assert snapshot.ids.tolist() == [1, 2]
    assert (person == DUPLICATE).sum() == twin.sum()
    assert set(person[mixed.local_id == 5].tolist()) == {DUPLICATE}


def test_a_local_track_that_hops_to_another_body_does_not_take_the_name_along() -> None:
    walkers = [Walker(0.3, 0.0), Walker(1.3, 0.0)]
    rows, truth = segment(walkers, 0, 60, 0, seed=1)
    first, second = (int(rows.local_id[truth == k][0]) for k in (0, 1))
    swapped = np.where(rows.local_id == first, second, first)
    hopping = replace(rows, local_id=np.where(rows.frame < 30, rows.local_id, swapped))
    person, _ = stitch(hopping, None, ASPECT)
    assert np.array_equal(person, truth + 1)


def test_overlap_decides_where_motion_would_err() -> None:
    """Somebody who jumps between two frames far apart in time is known by the warm-up frames."""
    rows, _ = segment([Walker(0.3, 0.0)], 0, 30, 0, seed=1)
    _, snapshot = stitch(rows, None, ASPECT)
    moved = rows.landmarks.copy()
    moved[..., 0] += 0.12
    both = SegmentRows(
        frame=np.concatenate([rows.frame[-10:], rows.frame + 30]),
        time_s=np.concatenate([rows.time_s[-10:], rows.time_s + 1.0]),
        local_id=np.full(40, 9),
        landmarks=np.concatenate([rows.landmarks[-10:], moved]),
        overlap=np.arange(40) < 10,
    )
    with_warmup, _ = stitch(both, snapshot, ASPECT)
    cold = SegmentRows(both.frame[10:], both.time_s[10:], both.local_id[10:], both.landmarks[10:], both.overlap[10:])
    without, _ = stitch(cold, snapshot, ASPECT)
    assert set(with_warmup.tolist()) == {1}
    assert set(without.tolist()) == {2}


def test_same_input_same_bytes_and_the_bytes_hold_everything() -> None:
    rows, _ = segment([Walker(0.3, 0.1), Walker(1.3, -0.1)], 0, 50, 0, seed=2)
    _, one = stitch(rows, None, ASPECT)
    _, two = stitch(rows, empty_snapshot(), ASPECT)
    assert one.to_bytes() == two.to_bytes()
    assert same_snapshot(Snapshot.from_bytes(one.to_bytes()), one)
    assert len(one.to_bytes()) < 2 * 8000


def test_an_empty_segment_changes_nothing() -> None:
    rows, _ = segment([], 0, 50, 0, seed=2)
    person, snapshot = stitch(rows, None, ASPECT)
    assert len(person) == 0
    assert same_snapshot(snapshot, empty_snapshot())


def test_bad_input_has_a_reason() -> None:
    rows, _ = segment([Walker(0.3, 0.1)], 0, 5, 0, seed=2)
    _, snapshot = stitch(rows, None, ASPECT)
    with pytest.raises(FailedPrecondition) as again:
        stitch(rows, snapshot, ASPECT)
    assert again.value.reason == "SEGMENT_OUT_OF_ORDER"
    for wrong in (
        replace(rows, frame=rows.frame[::-1].copy()),
        replace(rows, time_s=rows.time_s[:-1]),
        replace(rows, frame=np.zeros_like(rows.frame)),
        replace(rows, landmarks=rows.landmarks * np.float32(np.nan)),
    ):
        with pytest.raises(InvalidArgument) as error:
            stitch(wrong, None, ASPECT)
        assert error.value.reason == "ROWS_INVALID"
    for data in (b"", b"pickle", snapshot.to_bytes()[:-1]):
        with pytest.raises(InvalidArgument) as corrupt:
            Snapshot.from_bytes(data)
        assert corrupt.value.reason == "SNAPSHOT_CORRUPT"
    data = snapshot.to_bytes()
    with pytest.raises(FailedPrecondition) as version:
        Snapshot.from_bytes(data[:4] + b"\x63\x00" + data[6:])
    assert version.value.reason == "SNAPSHOT_VERSION"


def test_the_gap_is_a_parameter() -> None:
    rows, _ = segment([Walker(0.5, 0.0, seen=((0, 20), (50, 80)))], 0, 80, 0, seed=4)
    assert set(stitch(rows, None, ASPECT)[0].tolist()) == {1}
    assert set(stitch(rows, None, ASPECT, StitchOptions(max_gap_s=0.5))[0].tolist()) == {1, 2}
