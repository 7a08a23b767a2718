from __future__ import annotations

import pytest

from kinemesh.recordings import camera_of, position_of, recording_name


@pytest.mark.parametrize(("position", "name"), [(0, "c09"), (1, "c09.2"), (11, "c09.12")])
def test_a_recordings_name_tells_its_camera_and_its_place(position: int, name: str) -> None:
    assert recording_name("c09", position) == name
    assert (camera_of(name), position_of(name)) == ("c09", position)
