from __future__ import annotations

from collections.abc import Sequence

import pytest

from kinemesh_ingest.domain.pipelines import PIPELINES
from kinemesh_ingest.domain.planning import Task, first_tasks, later_tasks, plan_segments, progress, ready_tasks

POSE = PIPELINES["pose"]


@pytest.mark.parametrize("frames", [1, 9, 10, 47, 230, 1199, 1394, 100_001])
@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("gop", [1, 12, 60, 250, 10**6])
@pytest.mark.parametrize("shortest", [1, 48])
def test_segments_cover_every_frame_once(frames: int, workers: int, gop: int, shortest: int) -> None:
    segments = plan_segments(
        "main", frames, range(0, frames, gop), workers=workers, shortest=shortest, longest=600, warm_up=10
    )
    covered = [frame for s in segments for frame in range(s.start_frame, s.stop_frame)]
    assert covered == list(range(frames))
    assert all(0 < s.stop_frame - s.start_frame <= 600 for s in segments)
    assert all(s.warm_up_frames == min(10, s.start_frame) for s in segments)


def test_segments_keep_all_workers_busy_to_the_end() -> None:
    assert len(plan_segments("main", 230, [0], workers=2, shortest=48, longest=600, warm_up=10)) == 2
    assert len(plan_segments("main", 5000, [0], workers=2, shortest=48, longest=600, warm_up=10)) % 2 == 0


def test_segments_are_equal_with_their_warm_up() -> None:
    for count in (2, 3, 5):
        segments = plan_segments("main", 1000, [0], workers=count, shortest=48, longest=600, warm_up=10)
        work = [segment.stop_frame - segment.start_frame + segment.warm_up_frames for segment in segments]
        assert len(work) == count
        assert max(work) - min(work) <= 1


@pytest.mark.parametrize(
    ("keys", "border"),
    [
        ([0], 300),  # equal work
        ([310, 500], 320),
        ([0, 310], 320),  # nothing is decoded in vain to estimate poses, and little to draw them
        ([0, 285], 300),
        ([0, 260], 300),  # what it saves is less than what it costs
        ([0, 500], 300),  # too far
        (range(590), 300),
    ],
)
def test_borders_move_to_keyframes_that_are_worth_it(keys: Sequence[int], border: int) -> None:
    segments = plan_segments("main", 590, keys, workers=2, shortest=48, longest=600, warm_up=10)
    assert segments[1].start_frame == border


def test_a_short_clip_is_not_cut() -> None:
    assert len(plan_segments("main", 60, [0], workers=8, shortest=48, longest=600, warm_up=10)) == 1


def all_tasks() -> list[Task]:
    segments = plan_segments("main", 300, [0], workers=3, shortest=100, longest=100, warm_up=0)
    return [*first_tasks(POSE, ["main"]), *later_tasks(POSE, segments)]


def test_tasks_become_ready_in_the_pipelines_order_and_all_are_done_once() -> None:
    waiting = all_tasks()
    done: list[Task] = []
    while waiting:
        ready = ready_tasks(POSE, done, [], waiting, window=2)
        assert 1 <= len(ready) <= 2
        for task in ready:
            stage = POSE.stage(task.stage)
            for before in stage.after:
                open_before = [t for t in waiting if t.stage == before and t not in ready]
                same = [t for t in open_before if task.segment is None or t.segment in (None, task.segment)]
                assert not same
            done.append(task)
            waiting.remove(task)
    assert len(done) == len(set(done)) == 1 + 3 * 3 + 2


def test_ordered_stages_take_segments_one_after_another() -> None:
    done = [Task("split", "main"), *(Task("pose", "main", i) for i in range(3))]
    waiting = [task for task in all_tasks() if task not in done]
    assert ready_tasks(POSE, done, [], waiting, window=9) == (Task("stitch", "main", 0),)
    queued = [Task("stitch", "main", 0)]
    rest = [task for task in waiting if task not in queued]
    assert ready_tasks(POSE, done, queued, rest, window=9) == ()


def test_a_full_window_queues_nothing() -> None:
    done = [Task("split", "main")]
    queued = [Task("pose", "main", 0), Task("pose", "main", 1)]
    waiting = [task for task in all_tasks() if task not in (*done, *queued)]
    assert ready_tasks(POSE, done, queued, waiting, window=2) == ()


def test_ids_are_deterministic() -> None:
    assert Task("pose", "main", 3).id_in("j") == "j.pose.main.3"
    assert Task("movement").id_in("j") == "j.movement"


def test_progress_weighs_stages() -> None:
    stages, job = progress(POSE, {"split": [1.0], "pose": [1.0, 0.5]})
    assert stages["pose"] == 0.75
    assert stages["render"] == 0.0
    assert job == pytest.approx((2 + 60 * 0.75) / 100)
