"""A job's way through its stages, one bar each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from kinemesh_client.cli.output import err
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import TERMINAL, Job, JobEvent


@contextmanager
def bars() -> Iterator[Progress]:
    """Where bars are shown: on standard error, and without a terminal only how they end."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(32), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, refresh_per_second=8) as progress:
        yield progress


class StageBars:
    """Bars of a job's stages, and how long each stage took."""

    def __init__(self, progress: Progress, stages: list[str]) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {
            stage: progress.add_task(stage, total=1.0, start=False, completed=0) for stage in stages
        }
        self._current: str | None = None
        self._began: dict[str, datetime] = {}
        self._ended: datetime | None = None

    def show(self, event: JobEvent) -> None:
        """Take note of an event."""
        if event.kind == "progress":
            self._advance(event.payload["stage"], event.payload["stage_progress"], _time(event.time))
        elif event.kind == "state":
            self._state(event.payload, _time(event.time))
        elif event.kind == "log" and event.payload["level"] != "INFO":
            self._progress.console.print(f"[yellow]{escape(event.payload['text'])}[/]")

    def seconds(self) -> dict[str, float]:
        """Seconds from the first sign of each stage to that of the next: what each adds, for stages overlap."""
        began = list(self._began.items())
        ends = [moment for _, moment in began[1:]] + ([self._ended] if self._ended else [])
        return {
            stage: round((end - start).total_seconds(), 3) for (stage, start), end in zip(began, ends, strict=False)
        }

    def _advance(self, stage: str, fraction: float, moment: datetime) -> None:
        if stage not in self._bars:
            return
        self._began.setdefault(stage, moment)
        for name, bar in self._bars.items():
            if name == stage:
                self._progress.start_task(bar)
                self._progress.update(bar, completed=fraction)
                return
            self._finish(bar)

    def _state(self, payload: Any, moment: datetime) -> None:
        if payload["state"] not in TERMINAL:
            return
        self._ended = moment
        for bar in self._bars.values():
            if payload["state"] == "SUCCEEDED":
                self._finish(bar)
            else:
                self._progress.stop_task(bar)

    def _finish(self, bar: TaskID) -> None:
        self._progress.start_task(bar)
        self._progress.update(bar, completed=1.0)


async def follow(client: KinemeshClient, job: Job, progress: Progress) -> tuple[Job, dict[str, float]]:
    """Show a job until it is over; returns it and the seconds that each stage took."""
    pipelines = (await client.list_pipelines()).items
    stages = next((list(pipeline.stages) for pipeline in pipelines if pipeline.name == job.pipeline), [])
    shown = StageBars(progress, stages)
    async for event in client.watch(job.job_id):
        shown.show(event)
    return await client.get_job(job.job_id), shown.seconds()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
