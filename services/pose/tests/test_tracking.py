"""Following people from frame to frame, with networks that see a world of our making."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_pose.domain import roi, tracking
from kinemesh_pose.domain.tracking import NO_TRACKS, CropLandmarks, FramePoses, Options, second_bodies

WIDTH = HEIGHT = 448
DETECTOR_SCALE = WIDTH / roi.DETECTOR_SIZE
SIDE = 100.0


def detections(*people: tuple[float, float], side: float = SIDE) -> NDArray[np.float32]:
    """The detector's answer when upright people of this size have their hips at these frame pixels."""
    rows = np.zeros((16, 13), np.float32)
    for row, (x, y) in zip(rows, people, strict=False):
        row[4:8] = np.array([x, y, x, y - side / 2.5]) / DETECTOR_SCALE
        row[12] = 0.9
    return rows


def still(count: int, score: float = 0.9, shift: float = 0.0) -> CropLandmarks:
    """The landmark network's answer for people who stay where their crops are, or ``shift`` crop pixels right of it."""
    landmarks = np.full((count, 39, 5), roi.CROP_SIZE / 2, np.float32)
    landmarks[:, :, 0] += shift
    landmarks[:, 34, 1] -= roi.CROP_SIZE / 2.5
    return CropLandmarks(landmarks, np.zeros((count, 39, 3), np.float32), np.full(count, score, np.float32))


def regions(*people: tuple[float, float]) -> roi.Rois:
    return np.array([[x, y, SIDE, 0.0] for x, y in people]).reshape(-1, 4)


@dataclass
class World:
    """Both networks. Frame ``n`` has the value ``n`` in its first pixel."""

    people: dict[int, list[tuple[float, float]]]  # who is there from this frame on
    vanish: set[int] = field(default_factory=set)  # frames whose crops show nobody
    detected: list[int] = field(default_factory=list)
    cropped: list[int] = field(default_factory=list)
    now: int = 0

    async def detect(self, image: roi.Image) -> NDArray[np.float32]:
        assert image.shape == (224, 224, 3)
        self.detected.append(self.now)
        return detections(*self.people[max(start for start in self.people if start <= self.now)])

    async def landmarks(self, crops: roi.Image) -> CropLandmarks:
        assert crops.shape[1:] == (256, 256, 3)
        self.cropped.append(self.now)
        return still(len(crops), score=0.1 if self.now in self.vanish else 0.9)


def run(world: World, frames: Iterable[int], options: Options) -> list[FramePoses]:
    """Drive :func:`tracking.estimate` without an event loop: these networks never wait."""
    indices = list(frames)

    async def clip() -> AsyncIterator[roi.Image]:
        for world.now in indices:
            yield np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    async def collect() -> list[FramePoses]:
        return [poses async for poses in tracking.estimate(clip(), world, options, first_index=indices[0])]

    with pytest.raises(StopIteration) as finished:
        collect().send(None)
    result: list[FramePoses] = finished.value.value
    return result


def test_detector_follows_the_clips_schedule() -> None:
    world = World({0: [(100, 100)]})
    poses = run(world, range(6, 17), Options(detect_every=4))
    assert world.detected == [6, 8, 12, 16]  # the first because nobody is followed yet
    assert world.cropped == list(range(6, 17))
    assert [frame.ids.tolist() for frame in poses] == [[0]] * 11


def test_detector_runs_on_every_frame_while_nobody_is_there() -> None:
    world = World({0: [], 3: [(100, 100)]})
    poses = run(world, range(6), Options(detect_every=4))
    assert world.detected == [0, 1, 2, 3, 4]
    assert [len(frame.ids) for frame in poses] == [0, 0, 0, 1, 1, 1]


def test_somebody_lost_is_looked_for_at_once() -> None:
    world = World({0: [(100, 100)]}, vanish={5})
    poses = run(world, range(12), Options(detect_every=8))
    assert world.detected == [0, 6, 8]
    assert [frame.ids.tolist() for frame in poses] == [[0]] * 5 + [[]] + [[1]] * 6


def test_detector_rests_when_enough_are_followed() -> None:
    world = World({0: [(100, 100), (300, 300)], 4: [(100, 100), (300, 300), (100, 300)]})
    poses = run(world, range(12), Options(max_poses=2, detect_every=2))
    assert world.detected == [0]
    assert {len(frame.ids) for frame in poses} == {2}


def test_one_who_enters_gets_a_new_id_and_the_others_keep_theirs() -> None:
    world = World({0: [(100, 100)], 2: [(300, 300), (104, 100)]})
    poses = run(world, range(6), Options(detect_every=4))
    assert [sorted(frame.ids.tolist()) for frame in poses] == [[0]] * 4 + [[0, 1]] * 2
    where = dict(zip(poses[4].ids.tolist(), poses[4].landmarks[:, 0, 0] * WIDTH, strict=True))
    assert where == pytest.approx({0: 104, 1: 300}, abs=1e-3)


def test_a_segment_agrees_with_the_whole_clip_after_its_first_scheduled_detection() -> None:
    def moving() -> World:
        return World({start: [(100 + start, 100), (300, 300 - start)] for start in range(40)})

    whole = run(moving(), range(40), Options(detect_every=4))
    part = run(moving(), range(18, 40), Options(detect_every=4))
    for expected, actual in zip(whole[20:], part[2:], strict=True):
        order, other = np.argsort(expected.landmarks[:, 0, 0]), np.argsort(actual.landmarks[:, 0, 0])
        np.testing.assert_array_equal(expected.landmarks[order], actual.landmarks[other])


@dataclass
class WideWorld:
    """A detector that sees a person of a wide frame in the left closer view only. Pixels are the frame number."""

    enters: int = 0  # in this frame
    looks: list[int] = field(default_factory=list)
    vanish: set[int] = field(default_factory=set)
    now: int = 0

    async def detect(self, image: roi.Image) -> NDArray[np.float32]:
        self.looks.append(self.now)
        black, left = image[0].max() == 0, image[112, 10, 0] == 100
        return (
            detections((100, 100)) if left and not black and self.now >= self.enters else np.zeros((16, 13), np.float32)
        )

    async def landmarks(self, crops: roi.Image) -> CropLandmarks:
        return still(len(crops), score=0.1 if self.now in self.vanish else 0.9)


def run_wide(world: WideWorld, frames: Iterable[int], options: Options) -> list[FramePoses]:
    frame = np.full((450, 800, 3), 200, np.uint8)
    frame[:, :300] = 100

    async def clip() -> AsyncIterator[roi.Image]:
        for world.now in frames:
            yield frame

    async def collect() -> list[FramePoses]:
        return [poses async for poses in tracking.estimate(clip(), world, options, first_index=min(frames))]

    with pytest.raises(StopIteration) as finished:
        collect().send(None)
    result: list[FramePoses] = finished.value.value
    return result


def test_closer_views_are_looked_at_on_schedule_at_the_start_and_after_a_loss() -> None:
    world = WideWorld(vanish={5})
    poses = run_wide(world, range(3, 12), Options(detect_every=8))
    assert world.looks == [3] * 3 + [6] * 3 + [8] * 3
    assert [len(frame.ids) for frame in poses] == [1, 1, 0] + [1] * 6


def test_an_empty_scene_is_looked_at_closely_on_schedule_only() -> None:
    world = WideWorld(enters=4)
    poses = run_wide(world, range(8), Options(detect_every=3))
    assert world.looks == [0] * 3 + [1, 2] + [3] * 3 + [4, 5] + [6] * 3
    assert [len(frame.ids) for frame in poses] == [0] * 6 + [1] * 2
    world = WideWorld()
    assert not any(len(frame.ids) for frame in run_wide(world, range(4), Options(detect_every=3, closer=False)))
    assert world.looks == [0, 1, 2, 3]


def sized(*rows: tuple[float, float, float]) -> roi.Rois:
    return np.array([[*row, 0.0] for row in rows]).reshape(-1, 4)


@pytest.mark.parametrize(
    ("near", "near_score", "expected"),
    [
        ((102.0, 100.0, 100.0), 0.9, [(100.0, 100.0, 100.0)]),  # alike: the whole frame's stays
        ((110.0, 100.0, 60.0), 0.9, [(110.0, 100.0, 60.0)]),  # the more confident one …
        ((110.0, 100.0, 60.0), 0.6, [(100.0, 100.0, 100.0)]),  # … is right
        ((300.0, 100.0, 90.0), 0.6, [(100.0, 100.0, 100.0), (300.0, 100.0, 90.0)]),  # somebody else
    ],
)
def test_what_views_say_is_reconciled(
    near: tuple[float, float, float], near_score: float, expected: list[tuple[float, float, float]]
) -> None:
    whole = sized((100, 100, 100))
    found = tracking.reconcile(whole, np.array([0.8]), sized(near), np.array([near_score]), Options())
    np.testing.assert_array_equal(found, sized(*expected))


def test_one_person_in_two_closer_views_is_one() -> None:
    near = sized((100, 100, 100), (103, 100, 95), (300, 100, 100))
    found = tracking.reconcile(roi.NO_ROIS, np.empty(0), near, np.array([0.7, 0.9, 0.8]), Options())
    np.testing.assert_array_equal(found, near[[1, 2]])


def test_detection_inherits_from_the_region_it_overlaps_most() -> None:
    tracks = replace(
        tracking.associate(NO_TRACKS, regions((100, 100), (130, 130), (300, 300)), Options(min_overlap=0.6)), next_id=7
    )
    merged = tracking.associate(tracks, regions((112, 112)), Options(min_overlap=0.5))
    assert merged.ids.tolist() == [2, 0]
    assert merged.next_id == 7
    np.testing.assert_array_equal(merged.rois[1], regions((112, 112))[0])


def test_followed_regions_on_one_person_become_one() -> None:
    tracks = tracking.associate(NO_TRACKS, regions((100, 100), (300, 300)), Options())
    together = replace(tracks, rois=regions((300, 298), (300, 300)))
    merged = tracking.associate(together, roi.NO_ROIS, Options())
    assert merged.ids.tolist() == [0]  # the older name …
    np.testing.assert_array_equal(merged.rois, regions((300, 300)))  # … where the later region is, as in MediaPipe


def test_followed_people_come_before_new_ones_when_cut() -> None:
    tracks = tracking.associate(NO_TRACKS, regions((100, 100)), Options())
    merged = tracking.associate(tracks, regions((300, 100), (300, 300), (100, 300)), Options(max_poses=2))
    assert merged.ids.tolist() == [0, 1]
    assert merged.next_id == 2


def test_weak_people_are_dropped_and_results_have_their_shapes() -> None:
    tracks = tracking.associate(NO_TRACKS, regions((100, 100), (300, 300)), Options())
    answer = replace(still(2), score=np.array([0.49, 0.5], np.float32))
    poses, after = tracking.conclude(tracks, answer, WIDTH, HEIGHT, Options())
    assert poses.landmarks.shape == (1, 33, 5)
    assert poses.world.shape == (1, 33, 3)
    assert {poses.landmarks.dtype, poses.world.dtype, poses.score.dtype} == {np.dtype(np.float32)}
    assert poses.ids.tolist() == after.ids.tolist() == [1]
    assert after.lost
    np.testing.assert_allclose(poses.landmarks[0, 0, :2] * WIDTH, 300, rtol=1e-6)


def test_the_detectors_view_is_kept_up_until_it_is_due_again() -> None:
    """The landmarks say 5 px further right than the detector: the region stays at the detector's place at first."""
    options = Options(detect_every=3)
    tracks = tracking.associate(NO_TRACKS, regions((100, 100)), options)
    xs = []
    for _ in range(4):
        _, tracks = tracking.conclude(tracks, still(1, shift=12.8), WIDTH, HEIGHT, options)
        xs.append(tracks.rois[0, 0])
    assert xs == pytest.approx([100, 100, 105, 110], abs=1e-4)


def test_of_people_with_one_head_the_oldest_stays() -> None:
    head = np.random.default_rng(1).random((11, 2)) * 20
    heads = np.stack([head + 1, head, head + 200, head + 9, head + 0.5])
    ids = np.array([4, 2, 1, 3, 0], np.int32)
    everyone = np.ones(5, np.bool_)
    assert second_bodies(heads, ids, everyone).tolist() == [True, True, False, False, False]
    without_oldest = np.array([True, True, True, True, False])
    assert second_bodies(heads, ids, without_oldest).tolist() == [True, False, False, False, False]
    assert second_bodies(heads[:0], ids[:0], everyone[:0]).tolist() == []
