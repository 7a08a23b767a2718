"""The map in characters."""

from __future__ import annotations

from kinemesh_client.cli.live_map import extent_of, map_zones, positions
from kinemesh_client.map_drawing import Cell, Extent, Marker, draw_map
from kinemesh_client.tracking import TrackingUpdate

FLOOR = Extent(0.0, 0.0, 20.0, 10.0)


def drawn(*markers: Marker, y_up: bool = False, **zones: list[tuple[float, float]]) -> list[str]:
    cells = draw_map(FLOOR, 40, 30, markers, zones, y_up=y_up)
    return ["".join(cell.char for cell in row) for row in cells]


def place_of(letter: str, rows: list[str]) -> tuple[int, int]:
    """Column and row."""
    ((column, row),) = [(line.index(letter), number) for number, line in enumerate(rows) if letter in line]
    return column, row


def test_the_map_keeps_its_shape() -> None:
    rows = drawn()
    assert (len(rows[0]), len(rows)) == (40, 10), "20 × 10 on characters that are twice as high as wide"
    assert set("".join(rows)) == {" "}
    high = draw_map(Extent(0.0, 0.0, 1.0, 100.0), 40, 30, ())
    assert (len(high[0]), len(high)) == (1, 30)


def test_people_stand_where_they_are_with_y_downwards_or_upwards() -> None:
    marker = Marker("A", "red", (15.0, 1.0))
    assert place_of("A", drawn(marker)) == (30, 1)
    assert place_of("A", drawn(marker, y_up=True)) == (30, 9)
    corners = [Marker("A", "", (0.0, 0.0)), Marker("B", "", (20.0, 10.0))]
    rows = drawn(*corners)
    assert (place_of("A", rows), place_of("B", rows)) == ((0, 0), (39, 9))


def test_nobody_is_drawn_who_is_not_on_the_map() -> None:
    assert set("".join(drawn(Marker("A", "", (-5.0, 5.0)), Marker("B", "", (1e9, 5.0))))) == {" "}


def test_trails_lead_to_people_in_their_colour() -> None:
    cells = draw_map(FLOOR, 40, 30, [Marker("A", "red", (15.0, 5.0), [(5.0, 5.0), (10.0, 5.0)])])
    row = cells[5]
    assert [cell.color for cell in row[10:31]] == ["red"] * 21
    assert row[30] == Cell("A", "red")
    assert all(0x2800 < ord(cell.char) <= 0x28FF for cell in row[10:30])
    assert row[9] == row[31] == Cell()


def test_zones_have_outlines_and_names() -> None:
    rows = drawn(door=[(5.0, 2.0), (15.0, 2.0), (15.0, 8.0), (5.0, 8.0)])
    assert "door" in rows[5]
    assert all(rows[number].strip(" ") for number in (2, 8)), "upper and lower edge"
    assert all(row[10] != " " and row[30] != " " for row in rows[3:8]), "left and right edge"
    assert set(rows[4][11:30]) == {" "}, "the inside"


def test_one_position_alone_is_a_map_too() -> None:
    here = Extent(3.0, 4.0, 3.0, 4.0)
    assert [[cell.char for cell in row] for row in draw_map(here, 1, 1, [Marker("A", "", (3.0, 4.0))])] == [["A"]]


def test_a_zone_that_reaches_beyond_the_map_is_cut_off_where_it_crosses() -> None:
    rows = drawn(far=[(10.0, -1e12), (1e12, -1e12), (1e12, 1e12), (10.0, 1e12)])
    assert all(row[20] != " " for row in rows)
    assert set("".join(row[:20] + row[21:] for row in rows)) == {" "}


def test_a_site_says_how_large_its_map_is() -> None:
    corners = [{"x": -1.0, "y": 0.0}, {"x": 2.0, "y": 0.0}, {"x": 2.0, "y": 3.0}]
    zones = [{"zone": "door", "map": {"corners": corners}, "image": None}, {"zone": "till", "map": None, "image": {}}]
    assert extent_of({}) is None
    assert extent_of({"ground_plane": {"width": 10.0, "height": 0.0}}) is None
    assert extent_of({"zones": zones, "ground_plane": {"width": 10.0, "height": 5.0}}) == Extent(0.0, 0.0, 10.0, 5.0)
    assert map_zones({"zones": zones}) == {"door": [(-1.0, 0.0), (2.0, 0.0), (2.0, 3.0)]}


def test_people_in_several_cameras_stand_in_between() -> None:
    def track(number: int, person: str | None, place: list[float] | None) -> dict[str, object]:
        box = {"bbox_xyxy": [0.0, 0.0, 1.0, 1.0], "confidence": 1.0, "class_id": 0}
        return {"track_id": number, "global_id": person, "map_coords": place, **box}

    cameras = {
        "c1": {"tracks": [track(1, "p", [1.0, 2.0]), track(2, None, [5.0, 5.0])]},
        "c2": {"tracks": [track(1, "p", [3.0, 4.0]), track(2, "q", None)]},
    }
    numbers = {"frame_index": 0, "global_frame_index": 0, "scene_id": "s", "timestamp_processed_utc": ""}
    found = positions(TrackingUpdate.of({**numbers, "cameras": cameras}))
    assert found == {"p": (2.0, 3.0), "c1#2": (5.0, 5.0)}
