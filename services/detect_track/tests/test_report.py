"""What the tracks of a pit stop tell: a made-up stop whose course is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinemesh.results.tracks import TrackRows, concatenate, empty_rows
from kinemesh_detect_track.domain.recording import Recording
from kinemesh_detect_track.domain.report import EventType, Report, report
from kinemesh_detect_track.domain.zones import Zone

WIDTH, HEIGHT, RATE, FRAMES = 1000, 500, 10, 300
VIDEO = Recording(np.arange(FRAMES) / RATE, FRAMES / RATE, WIDTH, HEIGHT)
BOX = Zone("box", np.array([[0.4, 0.5], [0.7, 0.5], [0.7, 1.0], [0.4, 1.0]]))
EMPTY = Zone("empty", np.array([[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]]))
CAR, CREW = 0, 1


def track(
    track_id: int, class_id: int, frames: range, left: np.ndarray | float, width: float, height: float
) -> TrackRows:
    """An object whose box stands on line 400."""
    frame = np.arange(frames.start, frames.stop)
    x = np.broadcast_to(np.asarray(left, np.float64), frame.shape)
    box = np.stack([x, np.full(len(x), 400 - height), x + width, np.full(len(x), 400.0)], axis=1)
    count = len(frame)
    return TrackRows(
        frame,
        VIDEO.times[frame],
        np.full(count, track_id, np.int32),
        box.astype(np.float32),
        np.full(count, 0.8, np.float32),
        np.full(count, class_id, np.int16),
        np.zeros(count, np.bool_),
    )


def ordered(*parts: TrackRows) -> TrackRows:
    rows = concatenate(parts)
    return rows.where(np.lexsort((rows.track_id, rows.frame_index)))


def pit_stop() -> TrackRows:
    """A car that comes from 5 s on, stands from 10 s to 14 s in the box (feet at 0.55), and is gone at 20 s; two of
    the crew, one always there."""
    frame = np.arange(50, 200)
    left = 450.0 + np.where(frame < 100, 12.0 * (frame - 100), np.where(frame > 140, 9.0 * (frame - 140), 0.0))
    car = track(3, CAR, range(50, 200), left, 200, 100)
    waiting = track(1, CREW, range(FRAMES), 460, 40, 100)
    running = track(2, CREW, range(110, 130), 560, 40, 100)
    return ordered(car, waiting, running)


def timeline(found: Report) -> list[tuple[str, float, int, str]]:
    return [(event.type.value, round(event.time_sec, 3), event.track_id, event.zone) for event in found.events]


def test_a_pit_stop_is_told_from_beginning_to_end() -> None:
    found = report(pit_stop(), VIDEO, [BOX, EMPTY])
    assert timeline(found) == [
        ("APPEAR", 0.0, 1, ""),
        ("OCCUPIED", 0.0, 0, "box"),
        ("ENTER", 0.0, 1, "box"),
        ("STOP", 0.0, 1, ""),
        ("APPEAR", 5.0, 3, ""),
        ("ENTER", 8.8, 3, "box"),
        ("STOP", 10.0, 3, ""),
        ("APPEAR", 11.0, 2, ""),
        ("ENTER", 11.0, 2, "box"),
        ("STOP", 11.0, 2, ""),
        ("LEAVE", 13.0, 2, "box"),
        ("DISAPPEAR", 13.0, 2, ""),
        ("GO", 14.1, 3, ""),
        ("LEAVE", 15.7, 3, "box"),
        ("DISAPPEAR", 20.0, 3, ""),
    ]
    for event in found.events:
        assert VIDEO.times[event.frame] == event.time_sec
    durations = {(event.type, event.track_id): event.duration_sec for event in found.events}
    assert durations[EventType.STOP, 3] == durations[EventType.GO, 3] == pytest.approx(4.1)
    assert durations[EventType.LEAVE, 3] == pytest.approx(6.9)
    assert durations[EventType.OCCUPIED, 0] == pytest.approx(30)


def test_objects_classes_and_dwell_times_add_up() -> None:
    found = report(pit_stop(), VIDEO, [BOX, EMPTY])
    waiting, running, car = found.objects
    assert [one.track_id for one in found.objects] == [1, 2, 3]
    assert (car.class_id, car.first_frame, car.last_frame) == (CAR, 50, 199)
    assert [car.first_sec, car.last_sec, car.seen_sec] == pytest.approx([5, 20, 15])
    assert car.stationary_sec == pytest.approx(4.1)
    assert [waiting.seen_sec, running.seen_sec] == pytest.approx([30, 2])
    assert car.mean_score == pytest.approx(0.8)
    assert {span.track_id: span.complete for span in found.stops} == {1: False, 2: False, 3: True}

    cars, crew = found.classes
    assert (cars.class_id, cars.objects, cars.most_at_once) == (CAR, 1, 1)
    assert (crew.class_id, crew.objects, crew.most_at_once) == (CREW, 2, 2)
    assert [cars.present_sec, crew.present_sec] == pytest.approx([15, 30])

    everyone, cars_dwell, crew_dwell, nobody = found.dwells
    assert (everyone.class_id, everyone.visits, everyone.most_at_once) == (None, 3, 3)
    assert everyone.total_sec == pytest.approx(30 + 2 + 6.9)
    assert everyone.occupied_sec == pytest.approx(30)
    assert [cars_dwell.total_sec, cars_dwell.occupied_sec] == pytest.approx([6.9, 6.9])
    assert [crew_dwell.mean_sec, crew_dwell.max_sec, crew_dwell.most_at_once] == pytest.approx([16, 30, 2])
    assert (nobody.zone, nobody.visits, nobody.mean_sec, nobody.occupied_sec) == ("empty", 0, 0, 0)


def test_a_zone_is_clear_when_the_last_has_left() -> None:
    rows = ordered(track(1, CREW, range(50, 100), 460, 40, 100), track(2, CREW, range(80, 150), 460, 40, 100))
    found = report(rows, VIDEO, [BOX])
    assert [each for each in timeline(found) if each[0] in ("OCCUPIED", "CLEAR")] == [
        ("OCCUPIED", 5.0, 0, "box"),
        ("CLEAR", 15.0, 0, "box"),
    ]


def test_boxes_that_were_filled_in_are_present_but_not_seen() -> None:
    rows = track(1, CAR, range(0, 100), 450, 200, 100)
    rows = replace(rows, interpolated=rows.frame_index >= 60)
    found = report(rows, VIDEO, [BOX])
    assert found.objects[0].seen_sec == pytest.approx(6)
    assert found.classes[0].present_sec == pytest.approx(10)
    assert found.visits[0].end_sec == pytest.approx(10)
    filled = report(replace(rows, interpolated=np.ones(100, np.bool_)), VIDEO, [])
    assert (filled.objects[0].seen_sec, filled.objects[0].mean_score) == (0, 0)


def test_a_long_absence_is_told_and_does_not_end_a_stop_at_the_same_place() -> None:
    rows = track(1, CAR, range(0, 200), 450, 200, 100)
    rows = rows.where((rows.frame_index < 80) | (rows.frame_index >= 120))
    found = report(rows, VIDEO, [])
    assert timeline(found) == [
        ("APPEAR", 0.0, 1, ""),
        ("STOP", 0.0, 1, ""),
        ("DISAPPEAR", 8.0, 1, ""),
        ("APPEAR", 12.0, 1, ""),
        ("DISAPPEAR", 20.0, 1, ""),
    ]


def test_an_object_has_the_class_of_most_of_its_boxes() -> None:
    rows = track(1, CAR, range(0, 100), 450, 200, 100)
    found = report(replace(rows, class_id=(rows.frame_index % 3 == 0).astype(np.int16)), VIDEO, [BOX])
    assert [one.class_id for one in found.objects] == [CAR]
    assert [one.class_id for one in found.classes] == [CAR]


def test_nothing_at_all_and_boxes_without_a_track() -> None:
    loose = replace(track(1, CAR, range(10), 450, 200, 100), track_id=np.zeros(10, np.int32))
    for rows in (empty_rows(), loose):
        found = report(rows, VIDEO, [BOX])
        assert (found.objects, found.classes, found.visits, found.stops, found.events) == ([], [], [], [], [])
        assert [dwell.visits for dwell in found.dwells] == [0]


def test_uneven_frames_count_by_their_time() -> None:
    times = np.concatenate([np.arange(10), 10 + np.arange(100) / 100])
    video = Recording(times, 11.0, WIDTH, HEIGHT)
    frame = np.arange(10, 110)
    rows = replace(track(1, CAR, range(100), 450, 200, 100), frame_index=frame, time_sec=times[frame])
    found = report(rows, video, [BOX])
    assert found.objects[0].seen_sec == pytest.approx(1)
    assert found.dwells[0].total_sec == pytest.approx(1)
    assert found.objects[0].stationary_sec == pytest.approx(1)
