"""A job's way through its stages, one bar each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from kinemesh_client.cli.output import err
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Job, JobEvent
from kinemesh_client.stages import StageTimes


@contextmanager
def bars() -> Iterator[Progress]:
    """Where bars are shown: on standard error, and without a terminal only how they end."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(32), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, refresh_per_second=8) as progress:
        yield progress


@contextmanager
def transfer_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar for the bytes of a file; to be told how many more have gone."""
    with bars() as progress:
        task = progress.add_task(escape(name), total=size)
        yield lambda count: progress.advance(task, count)


class StageBars:
    """Bars of a job's stages."""

    def __init__(self, progress: Progress, times: StageTimes) -> None:
        self._progress = progress
        self._times = times
        self._bars: dict[str, TaskID] = {
            stage: progress.add_task(stage, total=1.0, start=False) for stage in times.fractions
        }

    def show(self, event: JobEvent) -> None:
        """Take note of an event."""
        self._times.note(event)
        if event.kind == "log" and event.payload["level"] != "INFO":
            self._progress.console.print(f"[yellow]{escape(event.payload['text'])}[/]")
        for stage, bar in self._bars.items():
            if self._times.started(stage):
                self._progress.start_task(bar)
            self._progress.update(bar, completed=self._times.fractions[stage])
            if self._times.over:
                self._progress.stop_task(bar)


async def follow(client: KinemeshClient, job: Job, progress: Progress) -> tuple[Job, dict[str, float]]:
    """Show a job until it is over; returns it and the seconds that each stage took."""
    # A job tells only of the stages that it has; a pipeline's may be more.
    stages = tuple(row.stage for row in job.stages)
    if not stages:
        pipelines = (await client.list_pipelines()).items
        stages = next((tuple(pipeline.stages) for pipeline in pipelines if pipeline.name == job.pipeline), ())
    times = StageTimes(stages)
    bars = StageBars(progress, times)
    async for event in client.watch(job.job_id):
        bars.show(event)
    return await client.get_job(job.job_id), times.seconds()
