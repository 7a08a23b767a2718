"""Where a job's recordings and segments lie on the environment's clock, and how that is cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_LEAST_SLACK_SEC: Final = 1.0


@dataclass(frozen=True, slots=True)
class Input:
    """A recording that a job reads.

    :ivar start_sec: time of its first frame on the environment's clock, where there is one.
    """

    camera: str
    asset_id: str
    start_sec: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames ``[start_frame, stop_frame)`` of a camera's asset, and how many before them to read first.

    :ivar start_sec: when its first frame is shown, in seconds from the first of the asset.
    :ivar stop_sec: when the frame after its last is shown, or when its last ends.
    """

    camera: str
    index: int
    start_frame: int
    stop_frame: int
    warm_up_frames: int
    start_sec: float = 0.0
    stop_sec: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the clock, over all cameras."""

    index: int
    start_sec: float
    stop_sec: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """A job's segments and windows, once they are known."""

    segments: tuple[Segment, ...] = ()
    windows: tuple[Window, ...] = ()
    starts: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def slack_sec(self) -> float:
        """How far after a window a frame can be shown that belongs to a step in it: half a step, generously."""
        return _LEAST_SLACK_SEC + max(
            ((one.stop_sec - one.start_sec) / (one.stop_frame - one.start_frame) for one in self.segments), default=0.0
        )

    def before(self, window: int) -> list[tuple[str, int]]:
        """Camera and index of the segments that can hold frames of a window, or of one before it."""
        stop = self.windows[window].stop_sec + self.slack_sec
        last = window == len(self.windows) - 1
        return [unit for unit, start in self.starts.items() if last or start < stop]

    def begin(self, camera: str, index: int) -> float:
        """When a segment or, without a camera, a window begins."""
        if camera:
            return self.starts.get((camera, index), 0.0)
        return self.windows[index].start_sec if index < len(self.windows) else 0.0


def window_count(inputs: Sequence[Input], segments: Sequence[Segment], window_sec: float) -> int:
    """How many windows of about ``window_sec`` a job has."""
    start, stop = _extent(inputs, segments)
    return max(1, round((stop - start) / window_sec))


def timeline(inputs: Sequence[Input], segments: Sequence[Segment], windows: int) -> Timeline:
    """The clock of a job, cut into so many windows of equal length: none is shorter than the others."""
    if not segments:
        return Timeline()
    offsets = {given.camera: given.start_sec or 0.0 for given in inputs}
    start, stop = _extent(inputs, segments)
    borders = [start + (stop - start) * i / windows for i in range(windows)] if windows else []
    ends = [*borders[1:], stop]
    return Timeline(
        tuple(segments),
        tuple(Window(i, border, end) for i, (border, end) in enumerate(zip(borders, ends, strict=False))),
        {(segment.camera, segment.index): offsets[segment.camera] + segment.start_sec for segment in segments},
    )


def _extent(inputs: Sequence[Input], segments: Sequence[Segment]) -> tuple[float, float]:
    """The first and the last moment of all recordings."""
    offsets = {given.camera: given.start_sec or 0.0 for given in inputs}
    return (
        min(offsets[segment.camera] + segment.start_sec for segment in segments),
        max(offsets[segment.camera] + segment.stop_sec for segment in segments),
    )
