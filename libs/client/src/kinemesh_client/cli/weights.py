"""Weights of a user's own on their way into a mesh, and out of it again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kinemesh.errors import InvalidArgument, KinemeshError
from kinemesh_client.cli.output import err
from kinemesh_client.cli.processing import clear
from kinemesh_client.cli.progress import bars
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Asset, Model

_LET_GO_S = 60.0


class Refused(InvalidArgument):
    """The mesh does not take these weights; the metadata says more."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights.

    :ivar labels: names of its classes, by class id, if the file does not hold them.
    :ivar task: EMBEDDER, or DETECTOR if empty.
    :ivar picture: on which the model must find something; the mesh's own if None.
    :ivar color_order: of an embedder's channels, RGB or BGR; what is usual if empty, as ``mean`` and ``scale``.
    """

    path: Path
    labels: Sequence[str] = ()
    licence: str = ""
    picture: Path | None = None
    task: str = ""
    color_order: str = ""
    mean: Sequence[float] = ()
    scale: Sequence[float] = ()


async def bring(client: KinemeshClient, weights: Weights, name: str, *, lasting: bool = True) -> Model:
    """Upload weights and have them converted, checked and served. Cut off on the way, they are taken back.

    :param lasting: whether there is a mesh afterwards on which nothing must be left.
    :raises Refused: with the mesh's reason.
    """
    uploaded: list[Asset] = []
    with bars() as progress:
        upload = progress.add_task("weights", total=weights.path.stat().st_size)
        try:
            asset = await client.upload(
                weights.path,
                kind="WEIGHTS",
                keep_refused=False,
                progress=lambda count: progress.advance(upload, count),
            )
            uploaded.append(asset)
            if weights.picture is not None:
                uploaded.append(await client.upload(weights.picture, kind="IMAGE", keep_refused=False))
            check_image = uploaded[1].asset_id if len(uploaded) > 1 else ""
            work = progress.add_task("import", total=None)
            await client.import_model(
                asset.asset_id,
                name,
                task=weights.task,
                labels=weights.labels,
                licence=weights.licence,
                check_image=check_image,
                color_order=weights.color_order,
                mean=weights.mean,
                scale=weights.scale,
            )
            try:
                model = await client.wait_for_model(name)
            except asyncio.CancelledError:
                if lasting:
                    await _take_back(client, name)
                raise
            if model.state == "READY":
                progress.update(work, total=1, completed=1)
        finally:
            for one in uploaded if lasting else ():
                await clear(client.delete_asset(one.asset_id), f"the asset {one.asset_id}")
    return accepted(model)


async def _take_back(client: KinemeshClient, name: str) -> None:
    """Delete a model whose import goes on, which the mesh does not let go of before it has ended."""
    err.print("Waiting for the import to end, to take it back; Ctrl-C again leaves it.")
    with suppress(KinemeshError):
        await client.wait_for_model(name, _LET_GO_S)
    await clear(client.delete_model(name), f"the model {name}")


def accepted(model: Model) -> Model:
    """The model, if it is READY.

    :raises Refused: with the mesh's reason.
    """
    if model.state == "READY":
        return model
    if model.failure is None:
        raise Refused("MODEL_NOT_READY", f"The model {model.name} is {model.state}.", model=model.name)
    raise Refused(model.failure.reason, model.failure.message, **model.failure.metadata)


@asynccontextmanager
async def served(client: KinemeshClient, weights: Weights, *, lasting: bool = True) -> AsyncIterator[str]:
    """The name under which weights are served within this block, after which they are gone.

    :param lasting: whether there is a mesh afterwards on which nothing must be left.
    :raises Refused: with the mesh's reason.
    """
    name = f"temporary-{uuid.uuid4().hex[:12]}"
    try:
        await bring(client, weights, name, lasting=lasting)
        yield name
    finally:
        if lasting:
            await clear(client.delete_model(name), f"the model {name}")
