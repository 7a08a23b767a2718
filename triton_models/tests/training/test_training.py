"""The training code of the person detector, in the converter's environment, which has PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

_HERE = Path(__file__).parent
Lesson = Callable[..., dict[str, Any]]


@pytest.fixture
def lesson(converter: Path, tmp_path: Path) -> Lesson:
    def learn(name: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(_HERE.parents[1] / "training"), "OMP_NUM_THREADS": "1"}
        command = [str(converter), str(_HERE / "lessons.py"), name, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return learn


def test_boxes(lesson: Lesson) -> None:
    answer = lesson("geometry")
    assert answer["last of each"] == [[40, 24, 8], [32, 16, 16], [32, 0, 32]]
    assert answer["box"] == pytest.approx([48, 32, 112, 128], abs=1e-3)
    assert answer["overlaps"] == pytest.approx([1, 1 / 3, 0])
    assert answer["generalised"] == pytest.approx([1, 1 / 3, -1 / 3])


def test_who_answers_for_whom(lesson: Lesson) -> None:
    answer = lesson("assignment")
    large, small = answer["cells"]
    assert 3 <= large <= 11, "ten, and the nearest"
    assert small >= 1, "nobody is left without a cell"
    assert answer["inside"]
    assert answer["most"][0] > answer["most"][1] > 0
    assert answer["nobody"] == 0


def test_losses_are_least_where_the_answer_is_right(lesson: Lesson) -> None:
    answer = lesson("values")
    assert answer["alike"] == pytest.approx(0, abs=1e-5)
    assert answer["opposite"] == pytest.approx(2, abs=1e-5)
    assert answer["right box"] == pytest.approx(0, abs=1e-6)
    assert answer["right score"] == pytest.approx(0, abs=1e-6)
    # Cross entropy with two bins cannot be less than their own entropy: ln 2, and that of a quarter.
    assert answer["right side"] == pytest.approx((0.6931 + 0.5623) / 2, abs=1e-3)
    assert answer["wrong side"] > 10


def test_the_network_is_small_and_answers_on_three_grids(lesson: Lesson) -> None:
    answer = lesson("answers")
    assert 1_000_000 < answer["parameters"] < 2_000_000
    assert answer["shapes"] == answer["wanted"]


def test_as_many_boxes_are_sure_as_the_teachers(lesson: Lesson) -> None:
    assert lesson("calibration") == {"kept": 3, "alike": 0, "refused": 2}


def test_a_run_that_is_broken_off_goes_on_to_the_same_weights(lesson: Lesson, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    labels: dict[str, list[list[float]]] = {}
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number in range(6):
            pixels = random.integers(0, 90, (80, 70, 3), np.uint8)
            pixels[10:60, 20:45] = 230
            name = f"train/made/{number}.png"
            labels[name] = [[32.5 / 70, 35 / 80, 25 / 70, 50 / 80]] if number else []
            archive.writestr(name, cv2.imencode(".png", pixels)[1].tobytes())
        archive.writestr("labels.json", json.dumps(labels))
    answer = lesson("training")
    assert answer["broken off after"] == 1
    assert answer["broken"] == answer["whole"]
    assert "another recipe" in answer["other recipe"]
    first, *_, last = answer["losses"]
    assert sum(last.values()) < sum(first.values())
