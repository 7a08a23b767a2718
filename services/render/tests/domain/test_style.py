from __future__ import annotations

import pytest

from kinemesh.errors import InvalidArgument
from kinemesh_render.domain.style import PALETTE, ink_on, mix, resolve


def test_zero_and_empty_mean_the_default() -> None:
    style = resolve()
    assert len(style.colors) == len(PALETTE)
    assert (style.line_thickness, style.joint_radius, style.trail_sec) == (4, 5, 0)
    assert style.labels
    assert not style.side_by_side


def test_a_radius_of_minus_one_means_no_joints() -> None:
    assert resolve(joint_radius=-1).joint_radius == 0


def test_colors_are_used_in_turn() -> None:
    style = resolve(["#ff0000", "#00FF7f"])
    assert [style.color(person) for person in range(3)] == [(255, 0, 0), (0, 255, 127), (255, 0, 0)]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"colors": ["red"]}, "style.colors"),
        ({"colors": ["#12345"]}, "style.colors"),
        ({"colors": ["#123456\n"]}, "style.colors"),
        ({"colors": ["#000000"] * 65}, "style.colors"),
        ({"line_thickness": 33}, "style.line_thickness"),
        ({"line_thickness": -1}, "style.line_thickness"),
        ({"joint_radius": 33}, "style.joint_radius"),
        ({"joint_radius": -2}, "style.joint_radius"),
        ({"trail_sec": 10.1}, "style.trail_sec"),
        ({"trail_sec": -0.1}, "style.trail_sec"),
        ({"trail_sec": float("nan")}, "style.trail_sec"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve(**options)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_STYLE"
    assert caught.value.metadata["field"] == field


def test_text_is_readable_on_any_color() -> None:
    assert ink_on((255, 255, 255)) != (255, 255, 255)
    assert ink_on((0, 0, 60)) == (255, 255, 255)


def test_mixing_goes_from_one_color_to_the_other() -> None:
    assert mix((10, 20, 30), (110, 120, 130), 0) == (10, 20, 30)
    assert mix((10, 20, 30), (110, 120, 130), 0.5) == (60, 70, 80)
    assert mix((10, 20, 30), (110, 120, 130), 1) == (110, 120, 130)
