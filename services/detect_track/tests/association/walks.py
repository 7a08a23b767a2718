"""Made-up sites: cameras over one floor, and people who walk through their views, as a perfect tracker sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry import homography
from kinemesh_detect_track.domain.association.associate import step
from kinemesh_detect_track.domain.association.clock import Recorded, schedule_of
from kinemesh_detect_track.domain.association.decisions import Decision
from kinemesh_detect_track.domain.association.people import People, nobody
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.association.views import Shown, View, seen_by

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 800, 600
TALL, WIDE = 1.72, 0.5
SIZE = 16
"""Length of embeddings."""


@dataclass(frozen=True)
class Camera:
    """A camera at ``stands`` that looks at ``looks_at`` on the floor; without ``calibrated`` it has no homography."""

    stands: tuple[float, float, float]
    looks_at: tuple[float, float]
    rate: float = 10.0
    start_sec: float = 0.0
    calibrated: bool = True
    focal: float = 600.0

    def project(self, points: Floats) -> Floats:
        """Pixels and depth [N, 3] of points [N, 3] in metres."""
        eye = np.array(self.stands)
        forward = np.array([*self.looks_at, 0.0]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        seen = (points - eye) @ np.stack([right, down, forward], axis=1)
        depth = seen[:, 2:]
        return np.concatenate([self.focal * seen[:, :2] / depth + (WIDTH / 2, HEIGHT / 2), depth], axis=1)

    @property
    def view(self) -> View:
        around = np.array([[-1.0, -1.0], [1, -1], [1, 1], [-1, 1]]) + self.looks_at
        pixels = self.project(np.concatenate([around, np.zeros((4, 1))], axis=1))[:, :2]
        return View(HEIGHT, homography.fit(pixels, around) if self.calibrated else None)

    def box(self, place: Floats) -> Floats | None:
        """The whole box of a person, not cut at the picture's border; None if nothing of it is in the picture."""
        ends = self.project(np.array([[*place, 0.0], [*place, TALL]]))
        (x, y, depth), (top_x, top, _) = ends
        half = self.focal * WIDE / depth / 2
        box = np.array([min(x, top_x) - half, min(top, y), max(x, top_x) + half, max(top, y)])
        visible = depth > 0.5 and box[2] > 20 and box[0] < WIDTH - 20 and box[3] > 20 and box[1] < HEIGHT - 20
        return box if visible else None


Way = Callable[[float], tuple[float, float] | None]
"""Where somebody is at a second; None while away."""


def straight(start: tuple[float, float], velocity: tuple[float, float], begin: float = 0.0, end: float = 1e9) -> Way:
    def way(second: float) -> tuple[float, float] | None:
        if not begin <= second < end:
            return None
        return start[0] + velocity[0] * (second - begin), start[1] + velocity[1] * (second - begin)

    return way


def wandering(seed: int, low: float = 1.0, high: float = 9.0) -> Way:
    """Somebody who walks to one place after the other, at 0.7 to 1.4 metres per second."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(low, high, (80, 2))
    lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
    times = np.concatenate([[0.0], np.cumsum(lengths / rng.uniform(0.7, 1.4, len(lengths)))])

    def way(second: float) -> tuple[float, float]:
        return float(np.interp(second, times, places[:, 0])), float(np.interp(second, times, places[:, 1]))

    return way


@dataclass
class Walks:
    """People who walk through views.

    :ivar dropped: share of boxes that are missed.
    :ivar swaps: by camera, seconds from which on the tracks of the first two people are exchanged there.
    :ivar pushed: by camera, until which second its picture is off, and by how many pixels to the right.
    :ivar likeness: how alike two looks of one person are, 0 to 1; None if nobody is looked at.
    """

    cameras: Sequence[Camera]
    ways: Sequence[Way]
    seconds: float = 30.0
    noise_px: float = 1.0
    dropped: float = 0.0
    swaps: dict[int, float] = field(default_factory=dict)
    pushed: dict[int, tuple[float, float]] = field(default_factory=dict)
    likeness: float | None = None
    seed: int = 0
    known: Sequence[int] = ()
    rules: Rules | None = None
    site: Site | None = None

    def face(self, person: int) -> NDArray[np.float32]:
        look = np.random.default_rng(1000 + person).normal(size=SIZE)
        return (look / np.linalg.norm(look)).astype(np.float32)

    @property
    def where(self) -> Site:
        count = len(self.cameras)
        return self.site or Site(1.0, 100.0, np.zeros((count, count)), np.full((count, count), np.inf))


@dataclass(frozen=True)
class Row:
    """A box with who it was and who it was thought to be."""

    step: int
    time_sec: float
    camera: int
    track: int
    truth: int
    person: int
    miss: float


@dataclass
class Told:
    """What the association made of it."""

    rows: list[Row]
    decisions: list[Decision]
    people: People
    states: list[bytes]

    def numbers_of(self, truth: int, camera: int | None = None, after: float = 0.0) -> list[int]:
        """Every number that a person got in turn."""
        numbers = [
            row.person
            for row in self.rows
            if row.truth == truth and row.person and row.time_sec >= after and camera in (None, row.camera)
        ]
        return list(dict.fromkeys(numbers))

    @property
    def purity(self) -> float:
        """Share of decided boxes whose number mostly stands for their person, and their person for it."""
        decided = [row for row in self.rows if row.person]
        pairs = [(row.truth, row.person) for row in decided]
        table = np.zeros((max(t for t, _ in pairs) + 1, max(p for _, p in pairs) + 1))
        for truth, person in pairs:
            table[truth, person] += 1
        best = table.argmax(axis=1)
        return float(np.mean([best[truth] == person for truth, person in pairs]))


def tell(walks: Walks, *, shuffle: bool = False, through_bytes: bool = False, backwards: bool = False) -> Told:
    """Go through all steps.

    :param shuffle: mix the rows of each picture.
    :param through_bytes: write and read the state after each step.
    :param backwards: name the cameras in the opposite order.
    """
    rng = np.random.default_rng(walks.seed)
    mixing = np.random.default_rng(5)
    times = [np.arange(int(walks.seconds * one.rate)) / one.rate for one in walks.cameras]
    schedule = schedule_of(
        [
            (str(i), Recorded(0, one.start_sec, time))
            for i, (one, time) in enumerate(zip(walks.cameras, times, strict=True))
        ]
    )
    at: dict[int, list[tuple[int, float]]] = {}
    for camera, (steps, moments) in enumerate(zip(schedule.steps, schedule.moments, strict=True)):
        for number, moment in zip(steps.tolist(), moments.tolist(), strict=True):
            at.setdefault(number, []).append((camera, moment))
    views = [one.view for one in walks.cameras]
    tracks: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], float] = {}
    known = [walks.face(person) * 5 for person in walks.known]
    size = 0 if walks.likeness is None else SIZE
    people = nobody(len(walks.cameras), np.array(known, np.float32).reshape(len(known), size))
    rows: list[Row] = []
    decisions: list[Decision] = []
    states: list[bytes] = []
    for number in sorted(at):
        shown: list[Shown] = []
        truths: list[list[int]] = []
        for camera, moment in at[number]:
            one = walks.cameras[camera]
            found = []
            for person, way in enumerate(walks.ways):
                place = way(moment)
                box = None if place is None else one.box(np.array(place))
                missed, error, blur = rng.random(), rng.normal(0, walks.noise_px, 4), rng.normal(size=SIZE)
                if box is None or missed < walks.dropped:
                    continue
                until, by = walks.pushed.get(camera, (-np.inf, 0.0))
                error[[0, 2]] += by * (moment < until)
                box = np.clip(box + error, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
                shape = person
                if moment >= walks.swaps.get(camera, np.inf) and person < 2:
                    shape = 1 - person  # the tracker follows the other one from now on
                key = camera, shape
                if moment - last.get(key, -np.inf) > 1.5:
                    tracks[key] = max((t for (c, _), t in tracks.items() if c == camera), default=0) + 1
                last[key] = moment
                likeness = walks.likeness or 0.0
                look = likeness * walks.face(person) + np.sqrt(1 - likeness**2) * blur / np.sqrt(SIZE)
                look = (look / np.linalg.norm(look)).astype(np.float32)
                looked = size > 0 and round(moment * one.rate) % 5 == 0
                found.append((tracks[key], box, look * looked, float(looked), person))
            if shuffle:
                mixing.shuffle(found)
            truths.append([person for *_, person in found])
            shown.append(
                Shown(
                    camera,
                    views[camera],
                    np.array([track for track, *_ in found], np.int64),
                    np.array([box for _, box, *_ in found], np.float64).reshape(-1, 4),
                    np.array([look for _, _, look, *_ in found], np.float32).reshape(-1, SIZE)[:, :size],
                    np.array([worth for *_, worth, _ in found], np.float32),
                )
            )
        if backwards:
            shown, truths = shown[::-1], truths[::-1]
        now = float(schedule.clock.time_of(np.array(number)))
        if through_bytes:
            people = People.from_bytes(people.to_bytes())
        seen = seen_by(people, shown, walks.where)
        rules = walks.rules or (Rules() if size else Rules(patience_s=0.0))
        people, persons, decided = step(people, seen, now, walks.where, rules)
        decisions += decided
        states.append(people.to_bytes())
        flat = [person for picture in truths for person in picture]
        for i, truth in enumerate(flat):
            place = walks.ways[truth](now)
            miss = float(np.linalg.norm(seen.position[i] - place)) if place is not None else np.nan
            rows.append(Row(number, now, int(seen.camera[i]), int(seen.track[i]), truth, int(persons[i]), miss))
    return Told(rows, decisions, people, states)
