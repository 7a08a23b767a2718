"""A child reads and writes what its parent lets it, through its parent, and nothing beside."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kinemesh.confined.files import BinaryFile, Target
from kinemesh.confined.parent import Budget, Confinement
from kinemesh.errors import UnsupportedMedia

WORK = "kinemesh.testing.hostile_work"
PATIENT = Budget(memory_mb=256, total_s=60, silent_s=60, cpu_s=60)
SOURCE = b"0123456789"
BESIDE = 10
MOST = 2 * len(SOURCE) + BESIDE


@pytest.fixture(scope="module")
def confinement() -> Iterator[Confinement]:
    made = Confinement([WORK])
    yield made
    made.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[io.BufferedRandom]:
    with (tmp_path / "target").open("w+b") as file:
        yield file


def test_what_is_written_can_be_read_and_written_again(confinement: Confinement, target: io.BufferedRandom) -> None:
    rng = random.Random(1)
    model = io.BytesIO()
    writes = [(rng.randrange(3_000_000), chr(65 + number) * rng.randrange(200_000)) for number in range(26)]
    for offset, text in writes:
        model.seek(offset)
        model.write(text.encode())
    with confinement.child(PATIENT) as child:
        answer = child.call(f"{WORK}:scribble", {"writes": writes}, target=Target(target, 4_000_000))
    assert answer.data == model.getvalue()
    target.seek(0)
    assert target.read() == b"again" + model.getvalue()[5:]


OPEN = [{"size": 0}, 0]


@pytest.mark.parametrize(
    "wishes",
    [
        [[{"write": -1}, 1]],
        [[{"write": BESIDE}, 1]],
        [OPEN, [{"write": MOST - 1}, 2]],
        [OPEN, [{"write": 1 << 70}, 1]],
        [OPEN, *[[{"write": 0}, MOST]] * 4],
        [[{"write": "0"}, 1]],
        [[{"read": [0, 0, 1]}, 0]],
        [OPEN, [{"read": [0, -1, 1]}, 0]],
        [OPEN, [{"read": [0, 0, -1]}, 0]],
        [OPEN, [{"read": [0, len(SOURCE) + 1, 1]}, 0]],
        [OPEN, [{"read": [1, 0, 1]}, 0]],
        [[{"read": [None, 1, 1]}, 0]],
        [[{"read": [None]}, 0]],
        [[{"size": 1}, 0]],
        [[{"size": -1}, 0]],
        [[{"size": "/etc/passwd"}, 0]],
        [[{"open": 0}, 0]],
    ],
)
def test_a_child_that_wishes_what_it_may_not_have_is_given_up(
    confinement: Confinement, target: io.BufferedRandom, wishes: list[Any]
) -> None:
    with confinement.child(PATIENT) as child, pytest.raises(UnsupportedMedia) as caught:
        child.call(f"{WORK}:wish", {"wishes": wishes}, sources=[io.BytesIO(SOURCE)], target=Target(target, BESIDE))
    assert caught.value.reason == "DECODER_CRASHED"
    assert target.seek(0, io.SEEK_END) <= MOST


def test_wishes_up_to_the_bounds_are_granted(confinement: Confinement, target: io.BufferedRandom) -> None:
    wishes = [
        *([{"write": 0}, BESIDE], OPEN, [{"write": 0}, MOST], [{"write": MOST}, 0]),
        *([{"read": [None, 1, 99]}, 0], [{"read": [0, 3, 99]}, 0], [{"read": [0, 10, 1]}, 0]),
    ]
    with confinement.child(PATIENT) as child:
        answer = child.call(
            f"{WORK}:wish", {"wishes": wishes}, sources=[io.BytesIO(SOURCE)], target=Target(target, BESIDE)
        )
    assert answer.facts["answers"] == [0, MOST - 1, 7, 0]


def test_without_a_target_nothing_is_written(confinement: Confinement) -> None:
    for wish in ({"write": 0}, {"read": [None, 0, 0]}):
        with confinement.child(PATIENT) as child, pytest.raises(UnsupportedMedia):
            child.call(f"{WORK}:wish", {"wishes": [[wish, 0]]})


def test_sources_are_opened_when_they_are_reached(confinement: Confinement) -> None:
    asked = []

    class Late(Sequence[BinaryFile]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> BinaryFile:  # type: ignore[override]
            asked.append(number)
            return io.BytesIO(SOURCE)

    with confinement.child(PATIENT) as child:
        child.call(f"{WORK}:wish", {"wishes": [[{"size": 2}, 0], [{"read": [2, 0, 1]}, 0]]}, sources=Late())
    assert asked == [2, 2]
