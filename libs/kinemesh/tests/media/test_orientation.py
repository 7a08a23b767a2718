"""All eight ways in which stored pixels may lie."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinemesh import media
from kinemesh.media.synthetic import is_upright, numbered_image

_EIGHT = [media.Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


@pytest.mark.parametrize("orientation", _EIGHT, ids=str)
def test_apply_transposes_then_mirrors(orientation: media.Orientation) -> None:
    image = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    expected = image.transpose(1, 0, 2) if orientation.transpose else image
    expected = expected[:, ::-1] if orientation.mirror_x else expected
    expected = expected[::-1] if orientation.mirror_y else expected
    upright = orientation.apply(image)
    assert np.array_equal(upright, expected)
    assert upright.flags.c_contiguous


def test_rotation_is_clockwise() -> None:
    image = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    plain = [orientation for orientation in _EIGHT if not orientation.mirrored]
    assert sorted(orientation.rotation for orientation in plain) == [0, 90, 180, 270]
    for orientation in plain:
        assert np.array_equal(orientation.apply(image), np.rot90(image, -orientation.rotation // 90))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_display_matrix_of_a_file_is_obeyed(tmp_path: Path, rotation: int, mirror: bool) -> None:
    """As front cameras write it: turned, then mirrored."""
    path = tmp_path / "clip.mov"
    upright = numbered_image(9, 128, 96)
    stored = np.rot90(upright[:, ::-1] if mirror else upright, rotation // 90)
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = stored.shape[1], stored.shape[0], "yuv420p"
        stream.set_display_rotation(-rotation, hflip=mirror)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), "rgb24")))
        container.mux(stream.encode(None))
    index = media.build_index(path)
    assert index.orientation.mirrored is mirror
    image = next(media.decode(path, index)).image
    assert image.shape == upright.shape
    assert is_upright(image)
