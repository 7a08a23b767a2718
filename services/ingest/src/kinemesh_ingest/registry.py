"""Which models there are: what the model server serves, and what the catalogue knows of users' own."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.inference.client import TritonClient
from kinemesh.inference.detector import TASK, Detector, detector
from kinemesh.inference.embedder import TASK as EMBEDDER
from kinemesh.inference.served import default_model, facts_of
from kinemesh.model.v1 import model_pb2
from kinemesh_ingest.catalogue import models
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.messages import to_timestamp

NETWORK: Final = ".network"
"""Behind a detector's name, that of the part of it that a GPU runs. Users' names have no dot."""

_TASKS: Final = {
    "detector": model_pb2.MODEL_TASK_DETECTOR,
    "embedder": model_pb2.MODEL_TASK_EMBEDDER,
    "pose": model_pb2.MODEL_TASK_POSE,
    "face": model_pb2.MODEL_TASK_FACE,
}
_CHOSEN: Final = (model_pb2.MODEL_TASK_DETECTOR, model_pb2.MODEL_TASK_EMBEDDER)
_SOURCES: Final = {
    "embedded": model_pb2.MODEL_SOURCE_EMBEDDED,
    "manifest": model_pb2.MODEL_SOURCE_MANIFEST,
    "imported": model_pb2.MODEL_SOURCE_IMPORTED,
}


@dataclass(frozen=True, slots=True)
class Registry:
    """Knows the models."""

    engine: AsyncEngine
    triton: TritonClient

    async def all(self, owner: str) -> list[model_pb2.Model]:
        """The models that a caller may use, or has tried to bring, by name.

        :raises Unavailable: MODEL_UNAVAILABLE.
        """
        loaded = await self.triton.loaded()
        served = {name: ready for name, ready in loaded.items() if not name.endswith(NETWORK)}
        async with self.engine.connect() as connection:
            rows = {row.model: row for row in await models.visible(connection, owner)}
            hidden = await models.names(connection) - rows.keys()
        defaults = set()
        for task in (TASK, EMBEDDER):
            with suppress(errors.FailedPrecondition):
                defaults.add(await default_model(self.triton, task))
        names = sorted((served.keys() | rows.keys()) - hidden)
        return list(
            await asyncio.gather(
                *(self._describe(name, served.get(name, False), rows.get(name), defaults) for name in names)
            )
        )

    async def find(self, name: str, owner: str) -> model_pb2.Model:
        """One of them.

        :raises NotFound: MODEL_NOT_FOUND.
        """
        for model in await self.all(owner):
            if model.model == name:
                return model
        raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=name)

    async def require(self, name: str, owner: str, task: str) -> model_pb2.Model:
        """One that a caller can use for a task.

        :raises NotFound: MODEL_NOT_FOUND.
        :raises FailedPrecondition: MODEL_NOT_READY.
        :raises InvalidArgument: WRONG_MODEL_TASK.
        """
        model = await self.find(name, owner)
        if model.state != model_pb2.MODEL_STATE_READY:
            state = model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_")
            raise errors.FailedPrecondition(
                "MODEL_NOT_READY", f"The model is not served: it is {state}.", field="model", model=name, state=state
            )
        if model.task != _TASKS[task]:
            raise errors.InvalidArgument(
                "WRONG_MODEL_TASK", f"This takes a {task}; the model is none.", field="model", model=name
            )
        return model

    async def default(self, task: str) -> str:
        """The model for a task of jobs that name none.

        :raises FailedPrecondition: MODEL_REQUIRED.
        """
        return await default_model(self.triton, task)

    async def detector(self, name: str) -> Detector:
        """What a detector takes.

        :raises NotFound: MODEL_NOT_FOUND.
        """
        return await detector(self.triton, name)

    async def _describe(self, name: str, ready: bool, row: AnyRow | None, defaults: set[str]) -> model_pb2.Model:
        """A model as the model server describes it, and else as the catalogue does."""
        if ready and (row is None or row.state == models.READY):
            with suppress(errors.NotFound, errors.Unavailable):  # it is being unloaded
                model = to_model(name, await self.triton.config(name))
                model.is_default = name in defaults
                if model.task not in _CHOSEN:
                    model.is_default = model.source == model_pb2.MODEL_SOURCE_EMBEDDED
                return _with_row(model, row) if row is not None else model
        if row is None:
            return model_pb2.Model(model=name, state=model_pb2.MODEL_STATE_MISSING)
        return from_row(row)


def from_row(row: AnyRow) -> model_pb2.Model:
    """A model that the model server does not serve."""
    state = models.MISSING if row.state == models.READY else row.state
    model = model_pb2.Model(
        model=row.model,
        task=_TASKS.get(row.task, model_pb2.MODEL_TASK_UNSPECIFIED),
        state=model_pb2.ModelState.Value(f"MODEL_STATE_{state}"),
        license=row.licence,
        labels=row.labels,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
    )
    if row.failure:
        ParseDict(row.failure, model.failure)
    return _with_row(model, row)


def to_model(name: str, config: dict[str, Any]) -> model_pb2.Model:
    """A model that is served, by what its builder wrote into its configuration."""
    facts = facts_of(config)
    image = next((entry["dims"] for entry in config.get("input", ()) if len(entry["dims"]) == 3), (0, 0, 0))
    height, width = (max(0, int(size)) for size in image[:2])
    task = _TASKS.get(facts.get("task", ""), model_pb2.MODEL_TASK_UNSPECIFIED)
    vectors = task == model_pb2.MODEL_TASK_EMBEDDER
    return model_pb2.Model(
        model=name,
        state=model_pb2.MODEL_STATE_READY,
        task=task,
        source=_SOURCES.get(facts.get("source", ""), model_pb2.MODEL_SOURCE_EMBEDDED),
        description=facts.get("description", ""),
        license=facts.get("licence", ""),
        labels=json.loads(facts.get("labels") or "[]"),
        input_width=width,
        input_height=height,
        embedding_size=int(config["output"][0]["dims"][-1]) if vectors else 0,
        runtime=facts.get("runtime", ""),
        sha256=facts.get("sha256", ""),
        size_bytes=int(facts.get("size_bytes") or 0),
    )


def _with_row(model: model_pb2.Model, row: AnyRow) -> model_pb2.Model:
    model.source = model_pb2.ModelSource.Value(f"MODEL_SOURCE_{row.source}")
    if row.source == models.IMPORTED:
        model.owner = row.owner
    model.create_time.CopyFrom(to_timestamp(row.create_time))
    model.update_time.CopyFrom(to_timestamp(row.update_time))
    return model
