"""Pictures to learn from: read, scaled, cut, joined; boxes stay where their people are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinemesh_training.augment import sample
from kinemesh_training.pictures import PAD, Picture, letterbox, read

SIZE = 320


def shown(left: int, top: int, right: int, bottom: int) -> Picture:
    """A dark picture with one bright "person"."""
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    return Picture("train/made/a.png", pixels, np.array([[left, top, right, bottom]], np.float32))


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_follow_their_people(mosaic: float) -> None:
    pictures = [shown(100, 50, 180, 250), shown(250, 120, 300, 200), shown(20, 20, 90, 60)]
    found = 0
    for seed in range(60):
        made = sample(pictures, seed % 3, SIZE, np.random.default_rng(seed), mosaic=mosaic)
        bright = made.clean.min(axis=2) > 200
        uncut = bright.copy()
        for x1, y1, x2, y2 in made.boxes.round().astype(int):
            # The whole of the box is bright, and nothing around it.
            assert bright[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all()
            uncut[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = False
            found += 1
        # Only people who are cut off, for the most part, may be without a box.
        cut = bright[0].any() or bright[-1].any() or bright[:, 0].any() or bright[:, -1].any()
        assert mosaic or cut or not uncut.any()
        assert ((made.boxes >= 0) & (made.boxes <= SIZE)).all()
    assert found > 40


def test_what_is_seen_is_another_view_of_the_same() -> None:
    pictures = [shown(100, 50, 180, 250)]
    made = [sample(pictures, 0, SIZE, np.random.default_rng(seed), mosaic=0.5) for seed in range(20)]
    assert any((one.clean != one.seen).any() for one in made)
    again = sample(pictures, 0, SIZE, np.random.default_rng(7), mosaic=0.5)
    np.testing.assert_array_equal(again.seen, made[7].seen)
    np.testing.assert_array_equal(again.boxes, made[7].boxes)


def test_letterbox_scales_to_fit_at_the_top_left() -> None:
    canvas, scale = letterbox(np.full((100, 200, 3), 9, np.uint8), 64)
    assert scale == pytest.approx(0.32)
    assert (canvas[:32] == 9).all()
    assert (canvas[32:] == PAD).all()


def test_an_archive_is_read_in_order_with_what_is_labelled(tmp_path: Path) -> None:
    archive = tmp_path / "some.zip"
    png = cv2.imencode(".png", np.zeros((40, 80, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("val/b/2.png", png)
        files.writestr("val/a/1.png", png)
        files.writestr("labels.json", json.dumps({"val/a/1.png": [[0.5, 0.5, 0.25, 0.5]]}))
    first, second = read(archive, "val")
    assert (first.name, first.labelled, first.boxes.tolist()) == ("val/a/1.png", True, [[30, 10, 50, 30]])
    assert (second.name, second.labelled, second.boxes.shape) == ("val/b/2.png", False, (0, 4))
    with pytest.raises(ValueError, match="nothing under train/"):
        read(archive, "train")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("val/a/1.png", b"not one")
    with pytest.raises(ValueError, match=r"labels\.json"):
        read(archive, "val")
    with zipfile.ZipFile(archive, "a") as files:
        files.writestr("labels.json", "{}")
    with pytest.raises(ValueError, match=r"val/a/1\.png is no picture"):
        read(archive, "val")
