"""What is known of each attempt of a job, step by step: its recording, its climber on the reference, its moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats, Ints
from kinemesh.bodies.subject import Selection, Subject, select
from kinemesh.errors import FailedPrecondition
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex
from kinemesh.results.matches import MatchRows
from kinemesh.results.poses import PoseRows
from kinemesh_matcher.domain import climbing
from kinemesh_matcher.domain.climbing import Climb, Metrics, Move, Rest
from kinemesh_matcher.domain.holds import holds_of
from kinemesh_matcher.domain.motion import Motion, motion_of
from kinemesh_matcher.domain.transfer import Body, transferred
from kinemesh_matcher.lying import Lying, Wanted, lying_of
from kinemesh_matcher.points import PointRows

_NO_HOLD: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What the stages before found out about one attempt.

    :ivar attempt: who it is in the job.
    :ivar index: the recording's frames.
    :ivar poses: of everybody, in all frames.
    :ivar matches: of all frames, in order.
    :ivar points: of the frames that were looked at for one transform; none for one per frame.
    """

    attempt: parameters_pb2.MatchedAttempt
    index: FrameIndex
    poses: PoseRows
    matches: MatchRows
    points: PointRows


@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """A climber on the reference.

    :ivar number: of the attempt, from 1.
    :ivar poses: of the climber in the recording.
    :ivar body: the climber on the reference.
    :ivar rests: see :func:`kinemesh_matcher.domain.climbing.rests_of`.
    """

    number: int
    recording: Recording
    lying: Lying
    poses: PoseRows
    body: Body
    motion: Motion
    climb: Climb
    rests: list[Rest]
    moves: list[Move]

    @property
    def end_sec(self) -> float:
        """When the route ends for the climber, in seconds from the recording's first frame."""
        return climbing.end_of_route(self.rests, self.moves, self.climb)


@dataclass(frozen=True, slots=True, eq=False)
class Holds:
    """Holds that the attempts of a job share: H of them.

    :ivar middle: float64 [H, 2], in heights of the reference; number 1 is the first.
    :ivar of_rest: for every attempt int64 [its rests], number of the hold; 0 for rests that are on none.
    """

    middle: Floats
    of_rest: list[Ints]


def ascent_of(number: int, recording: Recording, selection: Selection, wanted: Wanted) -> Ascent:
    """Choose the climber, put them onto the reference, and see what they do there.

    :raises FailedPrecondition: NO_CLIMBER, NOT_ENOUGH_MATCHES
    :raises NotFound: NO_PERSON_AT_POINT
    """
    index, camera = recording.index, recording.attempt.camera
    frame = index.width, index.height
    poses = climber_of(recording.poses, camera, index.width / index.height, selection)
    lying = lying_of(camera, frame, recording.matches, recording.points, wanted)
    transforms = lying.transforms
    image, shown = transferred(poses.image, transforms.matrix[poses.frame_index], frame, wanted.reference)
    body = Body(
        poses.frame_index[shown],
        poses.time_sec[shown] - float(index.times[0]),
        image[shown],
        poses.world[shown],
        poses.score[shown],
        transforms.filled[poses.frame_index[shown]],
    )
    motion = motion_of(body.time_sec, body.image, wanted.reference[0] / wanted.reference[1])
    climb = climbing.climb_of(motion)
    rests = climbing.rests_of(motion, climb)
    moves = climbing.moves_of(rests, climb, motion.size)
    return Ascent(number, recording, lying, poses, body, motion, climb, rests, moves)


def climber_of(poses: PoseRows, camera: str, aspect: float, selection: Selection) -> PoseRows:
    """The climber's poses.

    :param aspect: width / height of the frames.
    :raises FailedPrecondition: NO_CLIMBER
    :raises NotFound: NO_PERSON_AT_POINT
    """
    person = poses.person_id.astype(np.int64)
    chosen = select(person, poses.time_sec, poses.image, aspect, selection) if len(poses) else person
    if not len(chosen):
        raise FailedPrecondition("NO_CLIMBER", f"Nobody is seen in the recording {camera}.", camera=camera)
    return poses.where(person == chosen[0])


def selection_of(wanted: parameters_pb2.RouteMatchParameters) -> Selection:
    """Whom a job is about: the person who is clicked on, or is seen for longest and largest."""
    if not wanted.HasField("subject_point"):
        return Selection(Subject.MAIN)
    point = wanted.subject_point
    return Selection(Subject.AT_POINT, point.time_sec, point.point.x, point.point.y)


def shared_holds(ascents: list[Ascent]) -> Holds:
    """The holds that climbers touched, from all attempts together."""
    touches = [climbing.touches_of(ascent.rests, ascent.climb) for ascent in ascents]
    places = np.array(
        [
            (ascent.rests[row].x, ascent.rests[row].y)
            for ascent, rows in zip(ascents, touches, strict=True)
            for row in rows
        ],
        np.float64,
    ).reshape(-1, 2)
    size = float(np.median([ascent.motion.size for ascent in ascents]))
    number, middle = holds_of(places, climbing.PLACE * size)
    of_rest = []
    for ascent, rows in zip(ascents, touches, strict=True):
        own = np.full(len(ascent.rests), _NO_HOLD, np.int64)
        own[rows], number = number[: len(rows)], number[len(rows) :]
        of_rest.append(own)
    return Holds(middle, of_rest)


def metrics_of(ascent: Ascent, holds: Holds) -> Metrics:
    """The figures of an attempt."""
    own = holds.of_rest[ascent.number - 1]
    touched = len(np.unique(own[own != _NO_HOLD]))
    return climbing.metrics_of(ascent.motion, ascent.climb, ascent.rests, ascent.moves, touched)
