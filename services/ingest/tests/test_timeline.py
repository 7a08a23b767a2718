"""The clock of a job over cameras, its windows, and the order of its work."""

from __future__ import annotations

from typing import Any

import pytest

from kinemesh import errors
from kinemesh_ingest.domain.pipelines import PIPELINES, pipeline_of
from kinemesh_ingest.domain.planning import Task, first_tasks, later_tasks, progress, ready_tasks
from kinemesh_ingest.domain.schedule import Recorded, schedule
from kinemesh_ingest.domain.timeline import Input, Segment, timeline, window_count

INPUTS = [Input("c09", "a", 0.0), Input("c09.2", "b", 40.0), Input("c12", "c", 2.5)]


def segments(camera: str, seconds: float, length: float = 8.0) -> list[Segment]:
    starts = [i * length for i in range(round(seconds / length))]
    return [
        Segment(camera, i, round(start * 10), round((start + length) * 10), 0, start, start + length)
        for i, start in enumerate(starts)
    ]


SEGMENTS = [*segments("c09", 40), *segments("c09.2", 24), *segments("c12", 48)]


def parameters(**more: Any) -> dict[str, Any]:
    return {"multi_camera": {"environment_id": "e", **more}}


def test_stages_are_those_that_a_job_asks_for() -> None:
    bare = pipeline_of(parameters())
    assert [stage.name for stage in bare.stages] == ["split", "detect", "track", "associate", "resolve"]
    assert bare.stage("associate").after == ("track",)
    whole = pipeline_of(parameters(render=True, environment={"gallery": {"enabled": True}}))
    assert whole == PIPELINES["multi_camera"]
    rendered = pipeline_of(parameters(render=True, environment={"gallery": {"retention_days": 3}}))
    assert [stage.name for stage in rendered.stages][-3:] == ["render", "mosaic", "finalize"]
    assert not rendered.has("recall")
    with pytest.raises(KeyError):
        pipeline_of({"weather": {}})


def test_windows_cover_the_whole_clock_in_equal_parts() -> None:
    count = window_count(INPUTS, SEGMENTS, 10.0)
    assert count == 6
    clock = timeline(INPUTS, SEGMENTS, count)
    assert clock.windows[0].start_sec == 0.0
    assert clock.windows[-1].stop_sec == 64.0
    for before, after in zip(clock.windows[:-1], clock.windows[1:], strict=True):
        assert before.stop_sec == after.start_sec
        assert 5.0 <= after.stop_sec - after.start_sec <= 15.0
    assert window_count(INPUTS[:1], segments("c09", 8), 600.0) == 1
    assert timeline(INPUTS, (), 0).windows == ()


def test_a_window_waits_for_all_that_can_hold_its_frames() -> None:
    clock = timeline(INPUTS, SEGMENTS, 6)
    first = set(clock.before(0))
    # 0 to 10.67 s, and a little more, as frames may belong to a step beside them.
    assert first == {("c09", 0), ("c09", 1), ("c12", 0), ("c12", 1)}
    lapse = [Segment("c1", i, 10 * i, 10 * i + 10, 0, 80.0 * i, 80.0 * i + 80.0) for i in range(4)]
    slow = timeline([Input("c1", "a", 0.0)], lapse, 32)
    # Frames are 8 s apart: that at 80 s may belong to a step before 76 s.
    assert ("c1", 1) in slow.before(7)
    assert ("c1", 1) not in slow.before(5)
    assert set(clock.before(5)) == {(segment.camera, segment.index) for segment in SEGMENTS}


def test_all_work_is_done_once_in_order() -> None:
    pipeline = PIPELINES["multi_camera"]
    clock = timeline(INPUTS, SEGMENTS, 6)
    waiting = [*first_tasks(pipeline, [given.camera for given in INPUTS]), *later_tasks(pipeline, SEGMENTS, 6)]
    done: list[Task] = []
    while waiting:
        ready = ready_tasks(pipeline, done, [], waiting, 3, clock)
        assert 1 <= len(ready) <= 3
        for task in ready:
            waiting.remove(task)
        done += ready
    assert len(done) == len(set(done)) == 3 + 1 + 3 * 14 + 6 + 1 + 1 + 6 + 1
    order = {task.id_in("j"): position for position, task in enumerate(done)}
    for window in range(6):
        place = order[f"j.associate.{window}"]
        assert window == 0 or order[f"j.associate.{window - 1}"] < place
        for camera, index in clock.before(window):
            assert order[f"j.track.{camera}.{index}"] < place
        assert order["j.resolve"] < order[f"j.mosaic.{window}"]
    assert order["j.recall"] < order["j.associate.0"]
    # Association begins before the last segment is looked at, and cameras go on in step.
    assert order["j.associate.0"] < order["j.detect.c09.2.0"]
    assert order["j.detect.c12.0"] < order["j.detect.c09.1"]
    assert order["j.resolve"] < order["j.remember"]


def test_progress_is_whole_without_optional_stages() -> None:
    pipeline = pipeline_of(parameters())
    assert progress(pipeline, {stage.name: [1.0] for stage in pipeline.stages})[1] == 1.0


def test_recordings_follow_one_another() -> None:
    found = schedule("c09", [Recorded("a", 10.0, None), Recorded("b", 5.0, None), Recorded("c", 5.0, 30.0)])
    assert found == [Input("c09", "a", 0.0), Input("c09.2", "b", 10.0), Input("c09.3", "c", 30.0)]
    assert schedule("c09", [Recorded("a", 10.0, -3.0), Recorded("b", 5.0, 7.0)])[1].start_sec == 7.0
    assert schedule("c09", []) == []


@pytest.mark.parametrize(("start", "reason"), [(9.9, "SUB_VIDEOS_OVERLAP"), (-1.0, "OUT_OF_ORDER")])
def test_recordings_that_overlap_are_refused(start: float, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        schedule("c09", [Recorded("a", 10.0, None), Recorded("b", 5.0, start)])
    assert refused.value.reason == reason
    assert refused.value.metadata == {"camera": "c09", "position": "1"}
