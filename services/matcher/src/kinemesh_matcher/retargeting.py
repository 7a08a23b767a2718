"""The stage retarget: puts climbers onto the reference, on one clock, and measures how they climb."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import NotFound
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex
from kinemesh.pipelining import in_thread
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import (
    COURSE_SCHEMA,
    HOLD_SCHEMA,
    MATCH_SCHEMA,
    from_parquet,
    to_parquet,
    to_table,
)
from kinemesh.results.matches import MatchRows
from kinemesh.results.poses import concatenate, rows_from_parquet, rows_to_parquet
from kinemesh.results.retargeted import course_key, holds_key, poses_key, showing_key
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_matcher import features_parquet, points
from kinemesh_matcher.attempts import Ascent, Recording, ascent_of, selection_of, shared_holds
from kinemesh_matcher.documents import PARQUET, counts, figures, files_of, who
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.matching import Side
from kinemesh_matcher.lying import Wanted
from kinemesh_matcher.messages import to_model
from kinemesh_matcher.references import References
from kinemesh_matcher.showing import Shown, shown


class Retargeting:
    """Turns poses and matches into climbers on the reference."""

    def __init__(self, store: ObjectStore, references: References) -> None:
        self._store = store
        self._references = references

    async def retarget(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Put all attempts onto the reference, write what render draws and what the user gets.

        :raises FailedPrecondition: NOT_ENOUGH_MATCHES, NO_CLIMBER
        :raises NotFound: NO_PERSON_AT_POINT
        """
        order = task.parameters.route_match
        reference = await self._references.stored(order.image_asset_id)
        wanted = wanted_of(order, reference)
        selection = selection_of(order)
        ascents: list[Ascent] = []
        for number, attempt in enumerate(order.attempts, 1):
            recording = await self._recording(task, attempt, wanted)
            ascents.append(await in_thread(ascent_of, number, recording, selection, wanted))
            await context.report(0.5 * number / len(order.attempts))
        holds = await in_thread(shared_holds, ascents)
        windows = sorted(task.windows, key=lambda window: window.index)
        found = await in_thread(shown, ascents, holds, order, windows, wanted.reference)
        await self._put_shown(task.job_id, windows, found)
        await context.report(0.7)
        features = len(reference.points)
        files = await in_thread(files_of, ascents, holds, found, wanted, features)
        outputs = await put_outputs(self._store, task.job_id, files)
        await context.report(0.9)
        kept = [await self._keep(task, ascent) for ascent in ascents]
        done = task_pb2.TaskDone(frames=found.showing.frame_count, outputs=outputs)
        done.summary.update(
            {
                "attempts": [
                    {
                        **{name: value for name, value in who(ascent).items() if name != "attempt"},
                        "verdict": ascent.lying.verdict.name,
                        **counts(ascent),
                        "metrics": figures(ascent, holds),
                    }
                    for ascent in ascents
                ],
                "reference_features": features,
                "has_poses": True,
                "has_features": all(kept),
            }
        )
        return done

    async def _recording(
        self, task: task_pb2.Task, attempt: parameters_pb2.MatchedAttempt, wanted: Wanted
    ) -> Recording:
        segments = segments_of(task, attempt.camera)
        index = await self._store.get_bytes(keys.asset_index(asset_of(task, attempt.camera)))
        poses, matches, pairs = [], [], []
        for segment in segments:
            poses.append(rows_from_parquet(await self._store.get_bytes(result_key(task, "stitch", segment))))
            data = await self._store.get_bytes(result_key(task, "match", segment))
            matches.append(from_parquet(MatchRows, data, MATCH_SCHEMA))
            if wanted.single:
                data = await self._store.get_bytes(result_key(task, "match", segment, points.SUFFIX))
                pairs.append(points.from_bytes(data))
        return Recording(
            attempt,
            FrameIndex.from_bytes(index),
            concatenate(poses),
            joined(matches),
            joined(pairs) if pairs else points.no_points(),
        )

    async def _put_shown(self, job_id: str, windows: list[task_pb2.Window], found: Shown) -> None:
        for window, (first, stop) in zip(windows, found.showing.windows, strict=True):
            here = slice(*np.searchsorted(found.poses.frame_index, [first, stop]).tolist())
            part = found.poses.where(np.arange(len(found.poses))[here])
            await self._store.put_bytes(poses_key(job_id, window.index), await in_thread(rows_to_parquet, part))
        course = await in_thread(lambda: to_parquet(to_table(found.course, COURSE_SCHEMA)))
        await self._store.put_bytes(course_key(job_id), course)
        await self._store.put_bytes(holds_key(job_id), to_parquet(to_table(found.holds, HOLD_SCHEMA)))
        await self._store.put_bytes(showing_key(job_id), found.showing.to_bytes())

    async def _keep(self, task: task_pb2.Task, ascent: Ascent) -> bool:
        """Leave poses and features with an attempt of the catalogue; whether there are features."""
        attempt = ascent.recording.attempt
        if not attempt.data_prefix:
            return True
        poses = await in_thread(rows_to_parquet, ascent.poses)
        await self._store.put_bytes(keys.attempt_poses(attempt.data_prefix), poses, PARQUET)
        with tempfile.TemporaryDirectory(prefix="kinemesh-retarget-") as folder:
            path = Path(folder, "features.parquet")
            with ExitStack() as closing:
                writer: pq.ParquetWriter | None = None
                async for table in self._features(task, attempt.camera):
                    if writer is None:
                        writer = closing.enter_context(
                            pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False)
                        )
                    await in_thread(writer.write_table, table)
            if writer is None:
                return False
            await self._store.put_file(path, keys.attempt_features(attempt.data_prefix), PARQUET)
        return True

    async def _features(self, task: task_pb2.Task, camera: str) -> AsyncIterator[pa.Table]:
        """The features of a recording's frames, segment by segment, where there are any."""
        for segment in segments_of(task, camera):
            try:
                data = await self._store.get_bytes(result_key(task, "match", segment, features_parquet.SUFFIX))
            except NotFound:
                continue
            table = await in_thread(lambda content: pq.ParquetFile(pa.BufferReader(content)).read(), data)
            if table.num_rows:
                yield table


def wanted_of(order: parameters_pb2.RouteMatchParameters, reference: Side) -> Wanted:
    """What a job looks for."""
    single = order.mode != parameters_pb2.MATCH_MODE_MULTI
    return Wanted(single, to_model(order) is Model.AFFINE, (reference.width, reference.height))
