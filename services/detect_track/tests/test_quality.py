"""What a look at a person is worth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kinemesh_detect_track.domain.quality import hidden, sharpness, shown, worth

WIDTH, HEIGHT = 640, 480
STANDING = np.array([[100, 100, 180, 300]], float)


def pictures(blur: float = 0.0, contrast: float = 1.0) -> np.ndarray:
    """One picture of stripes and noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (32, 16, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1).astype(np.float32)
    image = 128 + contrast * (coarse + rng.normal(0, 20, coarse.shape) - 128)
    shot = cv2.GaussianBlur(image, (0, 0), blur) if blur else image
    return np.clip(shot, 0, 255).astype(np.uint8)[None]


def of(box: np.ndarray, blur: float = 0.0, score: float = 0.9) -> np.ndarray:
    looked = np.repeat(pictures(blur), len(box), axis=0)
    return worth(looked, box, np.full(len(box), score, np.float32), WIDTH, HEIGHT)


def test_the_best_look_is_worth_nearly_all() -> None:
    quality = of(STANDING, score=1.0)
    assert quality.dtype == np.float32
    assert 0.8 < quality[0] <= 1


def test_nobody_has_no_worth() -> None:
    assert worth(np.zeros((0, 256, 128, 3), np.uint8), np.zeros((0, 4)), np.zeros(0), WIDTH, HEIGHT).shape == (0,)


def test_blur_small_size_and_doubt_take_from_it() -> None:
    [best] = of(STANDING)
    [small] = of(np.array([[100, 100, 120, 150]], float))
    [doubted] = of(STANDING, score=0.3)
    [blurred] = of(STANDING, blur=3)
    assert max(small, doubted, blurred) < 0.7 * best


def test_sharpness_falls_with_blur_whatever_the_contrast() -> None:
    by_blur = [sharpness(pictures(blur))[0] for blur in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert by_blur == sorted(by_blur, reverse=True)
    assert sharpness(pictures(contrast=0.3)) == pytest.approx(sharpness(pictures()), abs=0.1)
    assert sharpness(np.full((1, 256, 128, 3), 77, np.uint8))[0] == 0


def test_hidden_is_what_nearer_ones_cover_together() -> None:
    behind = [100.0, 100.0, 180.0, 300.0]
    left, right = [80.0, 120.0, 120.0, 320.0], [160.0, 120.0, 220.0, 310.0]
    assert hidden(np.array([behind, left]))[0] == pytest.approx(0.25 * 0.9, abs=0.03)
    assert hidden(np.array([behind, left, right]))[0] == pytest.approx(0.5 * 0.9, abs=0.03)
    assert hidden(np.array([behind, left, left]))[0] == pytest.approx(0.25 * 0.9, abs=0.03)  # not counted twice
    assert hidden(np.array([behind, left, right]))[1:].tolist() == [0, 0]
    assert hidden(np.array([behind, [80.0, 90.0, 200.0, 301.0]]))[0] == 1


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ([100, 100, 180, 300], 1.0),
        ([100, 280, 180, 480], 1.0),  # at the border, and yet a whole person
        ([100, 380, 180, 480], 0.5),  # the legs are missing
        ([100, 0, 180, 50], 0.25),
        ([0, 100, 20, 300], 0.25),
        ([600, 100, 640, 300], 0.5),
        ([100, 100, 180, 200], 1.0),  # somebody who sits is not cut
    ],
)
def test_shown_is_what_the_border_leaves(box: list[float], share: float) -> None:
    assert shown(np.array([box], float), WIDTH, HEIGHT)[0] == pytest.approx(share)


def test_who_is_cut_at_two_sides_is_worth_little() -> None:
    assert shown(np.array([[0, 280, 80, 480]], float), WIDTH, HEIGHT)[0] <= 0.5
