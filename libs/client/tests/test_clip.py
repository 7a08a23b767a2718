"""The clip that the demonstration runs on."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kinemesh.media.synthetic import numbered_image
from kinemesh_client.clip import write_clip


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), numbered_image(5, 96, 128))
    return path


def test_the_clip_has_moving_pictures_and_sound_and_is_always_the_same(photo: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    for out in (first, second):
        write_clip(photo, out, seconds=1, size=(320, 180))
    assert first.read_bytes() == second.read_bytes()
    with av.open(str(first)) as container:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        times = container.streams.video[0].average_rate
    assert len(pictures) == 30
    assert times == 30
    assert all(np.abs(a - b).mean() > 0.5 for a, b in zip(pictures, pictures[5:], strict=False))
    with av.open(str(first)) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(samples) == pytest.approx(48_000, abs=2048)
    assert 0.01 < float(np.abs(samples).max()) < 0.2


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match="is not a picture"):
        write_clip(tmp_path / "text.png", tmp_path / "out.mp4")
