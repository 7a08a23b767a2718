"""What a job of the pipeline route_match reads: attempts or bare recordings, and the picture of a wall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh import errors
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh_ingest.catalogue import assets, attempts, references
from kinemesh_ingest.catalogue.tables import AnyRow, routes
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.domain.validation import check_id
from kinemesh_ingest.parameters import MOST_ATTEMPTS, attempts_of

_RESERVED: Final = frozenset({"all"})  # results of the whole job lie under this name


@dataclass(frozen=True, slots=True)
class Wall:
    """What a job draws on.

    :ivar reference_id: of the catalogue, empty for a bare picture.
    """

    image_asset_id: str
    reference_id: str


def bare_inputs(asked: parameters_pb2.RouteMatchParameters, sources: Sequence[job_pb2.JobInput]) -> list[Input]:
    """The recordings that a request names itself; none if it names attempts.

    :raises InvalidArgument: INPUTS_NOT_TAKEN, WRONG_INPUTS, INVALID_ID, DUPLICATE_INPUT, SUBJECT_AMBIGUOUS.
    """
    if attempts_of(asked):
        if sources:
            raise errors.InvalidArgument(
                "INPUTS_NOT_TAKEN", "This job reads the videos of its attempts.", field="inputs"
            )
        return []
    if not 1 <= len(sources) <= MOST_ATTEMPTS:
        raise errors.InvalidArgument(
            "WRONG_INPUTS", f"This pipeline reads attempts, or 1 to {MOST_ATTEMPTS} assets.", field="inputs"
        )
    if len(sources) > 1 and asked.HasField("subject_point"):
        raise errors.InvalidArgument(
            "SUBJECT_AMBIGUOUS", "subject_point is for jobs over one recording.", field="subject_point"
        )
    names = cameras(len(sources))
    inputs = [
        Input(check_id("camera", source.camera or name), source.asset_id)
        for source, name in zip(sources, names, strict=True)
    ]
    for position, given in enumerate(inputs):
        if given.camera in _RESERVED or given.camera.startswith("-"):
            raise errors.InvalidArgument(
                "INVALID_ID", f"No recording may be called {given.camera}.", field="camera", camera=given.camera
            )
        before = inputs[:position]
        if any(given.camera == one.camera or given.asset_id == one.asset_id for one in before):
            raise errors.InvalidArgument(
                "DUPLICATE_INPUT", "Cameras and assets of a job must differ.", field=f"inputs[{position}]"
            )
    return inputs


def cameras(count: int) -> list[str]:
    """What the recordings of a job are called."""
    return ["main"] if count == 1 else [f"attempt{number}" for number in range(1, count + 1)]


def complete(asked: parameters_pb2.RouteMatchParameters) -> None:
    """Set what was left open."""
    asked.ClearField("attempts")
    asked.mode = asked.mode or parameters_pb2.MATCH_MODE_SINGLE
    if not asked.transform_model:
        is_single = asked.mode == parameters_pb2.MATCH_MODE_SINGLE
        asked.transform_model = (
            matcher_pb2.TRANSFORM_MODEL_AFFINE if is_single else matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY
        )
    asked.alignment = asked.alignment or parameters_pb2.TIME_ALIGNMENT_MOVEMENT_START


async def fill_in(
    connection: AsyncConnection, asked: parameters_pb2.RouteMatchParameters, owner: str, inputs: Sequence[Input]
) -> tuple[Wall, list[Input]]:
    """Resolve attempts and reference into ``asked``; answers with what the job draws on and what it reads.

    All of it is held until the transaction ends, so that nothing vanishes before the job is known to read it.

    :raises NotFound: ATTEMPT_NOT_FOUND, REFERENCE_NOT_FOUND, ASSET_NOT_FOUND.
    :raises InvalidArgument: DIFFERENT_ROUTES, WRONG_ASSET_KIND.
    :raises FailedPrecondition: NO_REFERENCE, ASSET_NOT_READY.
    """
    named = attempts_of(asked)
    tried = await attempts.find_all(connection, named, owner, hold=True) if named else []
    require_one_route(tried)
    if tried:
        names = cameras(len(tried))
        inputs = [Input(name, row.asset_id) for name, row in zip(names, tried, strict=True)]
    reference_id = asked.reference
    if not (reference_id or asked.image_asset_id):
        reference_id = await _reference_of(connection, tried[0])
    if reference_id:
        image = await references.find(connection, reference_id, owner, hold=True)
        wall = Wall(image.asset_id, reference_id)
        found = await _videos(connection, inputs, owner)
    else:
        found = await _videos(connection, inputs, owner, picture=asked.image_asset_id)
        of_it = await references.of_asset(connection, asked.image_asset_id)
        wall = Wall(asked.image_asset_id, of_it or "")
    asked.image_asset_id, asked.reference = wall.image_asset_id, wall.reference_id
    asked.ClearField("attempts")
    for position, given in enumerate(inputs):
        attempt = asked.attempts.add(camera=given.camera, display_name=found[given.asset_id].filename)
        if tried:
            row = tried[position]
            attempt.attempt_id, attempt.data_prefix = row.attempt_id, row.data_prefix
            attempt.display_name = row.display_name or attempt.display_name
    return wall, list(inputs)


def require_one_route(rows: Iterable[AnyRow]) -> None:
    """Refuse attempts at several routes.

    :raises InvalidArgument: DIFFERENT_ROUTES.
    """
    if len({row.route_id for row in rows}) > 1:
        raise errors.InvalidArgument(
            "DIFFERENT_ROUTES", "Only attempts at one route can be laid over one another.", field="attempt_ids"
        )


async def _reference_of(connection: AsyncConnection, attempt: AnyRow) -> str:
    query = select(routes.c.reference_id).where(routes.c.route_id == attempt.route_id)
    reference_id = await connection.scalar(query)
    if reference_id is None:
        raise errors.FailedPrecondition(
            "NO_REFERENCE", "The route has no reference image: name one.", field="reference", route_id=attempt.route_id
        )
    return str(reference_id)


async def _videos(
    connection: AsyncConnection, inputs: Sequence[Input], owner: str, picture: str = ""
) -> Mapping[str, AnyRow]:
    """The recordings, and the picture if it is a bare one, locked in one order."""
    named = {given.asset_id for given in inputs}
    found = await assets.find_all(connection, sorted(named | ({picture} if picture else set())), owner, lock=True)
    for asset_id in sorted(named):
        assets.require_ready(found[asset_id], assets.VIDEO, "inputs")
    if picture:
        assets.require_ready(found[picture], assets.IMAGE, "image_asset_id")
    return found
