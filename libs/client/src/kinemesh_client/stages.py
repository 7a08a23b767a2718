"""Which stage a job is at, and how long each took, from its events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from kinemesh_client.resources import TERMINAL, JobEvent


class StageTimes:
    """Progress and seconds of a job's stages.

    :param stages: their names in the pipeline's order.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self.fractions: dict[str, float] = dict.fromkeys(stages, 0.0)
        self._began: dict[str, datetime] = {}
        self._ended: datetime | None = None

    def note(self, event: JobEvent) -> None:
        """Take an event into account. Stages before the current one count as done: it is reported when it leads."""
        moment = datetime.fromisoformat(event.time)
        names = list(self.fractions)
        if not self._began and names:
            self._began[names[0]] = moment
        if event.kind == "progress" and event.payload["stage"] in self.fractions:
            stage = event.payload["stage"]
            self._began.setdefault(stage, moment)
            for name in names[: names.index(stage)]:
                self.fractions[name] = 1.0
            self.fractions[stage] = max(self.fractions[stage], event.payload["stage_progress"])
        elif event.kind == "state" and event.payload["state"] in TERMINAL:
            self._ended = moment
            if event.payload["state"] == "SUCCEEDED":
                self.fractions = dict.fromkeys(names, 1.0)

    def started(self, stage: str) -> bool:
        """Whether anything is known of a stage."""
        return stage in self._began or self.fractions[stage] > 0

    @property
    def over(self) -> bool:
        """Whether the job is."""
        return self._ended is not None

    def seconds(self) -> dict[str, float]:
        """Seconds from the first sign of each stage to that of the next: what each adds, since stages overlap."""
        moments = [*self._began.values(), *([self._ended] if self._ended else [])]
        gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
        return {stage: round(gap, 3) for stage, gap in zip(self._began, gaps, strict=False)}
