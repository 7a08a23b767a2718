"""Attempts of the route catalogue, as RouteService keeps them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import and_
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.results.climbs import UNITS
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, route_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import OCTETS, ObjectStore
from kinemesh_ingest.catalogue import areas, assets, attempts, browsing, requests
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import newest_first, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import attempts as attempts_table
from kinemesh_ingest.climbing.areas import LONGEST_NAME, LONGEST_TEXT
from kinemesh_ingest.climbing.matching import require_one_route
from kinemesh_ingest.climbing.messages import to_attempt
from kinemesh_ingest.climbing.removal import remove_attempts, remove_videos
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.validation import check_text
from kinemesh_ingest.downloads import DOWNLOAD_S
from kinemesh_ingest.masks import changed_fields
from kinemesh_ingest.parameters import MOST_ATTEMPTS

_CHANGEABLE: Final = ("display_name", "notes", "attempt_time", "topped")
_YEAR_2200: Final = 7_258_118_400
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Attempts:
    """Keeps attempts."""

    engine: AsyncEngine
    store: ObjectStore
    conductor: Conductor

    async def create(self, request: route_pb2.CreateAttemptRequest, owner: str) -> route_pb2.CreateAttemptResponse:
        given = request.attempt
        values = _checked(given, ("display_name", "notes", "topped"))
        time = _time_of(given.attempt_time) if given.HasField("attempt_time") else datetime.now(UTC)
        attempt_id = uuid.uuid4().hex
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateAttempt", request.request_id, attempt_id)
            if first is not None:
                row = await attempts.find(connection, first, owner)
            else:
                route = await areas.find_route(connection, given.route_id, owner, hold=True)
                asset = await assets.find(connection, given.asset_id, owner, lock=True)
                assets.require_ready(asset, assets.VIDEO, "asset_id")
                row = await attempts.add(
                    connection,
                    attempt_id=attempt_id,
                    route_id=route.route_id,
                    area_id=route.area_id,
                    owner=owner,
                    asset_id=asset.asset_id,
                    attempt_time=time,
                    data_prefix=keys.attempt_prefix(owner, route.area_id, route.route_id, time, attempt_id),
                    **values,
                )
                await browsing.bump(connection, owner)
        return route_pb2.CreateAttemptResponse(attempt=to_attempt(row))

    async def get(self, request: route_pb2.GetAttemptRequest, owner: str) -> route_pb2.GetAttemptResponse:
        async with self.engine.connect() as connection:
            row = await attempts.find(connection, request.attempt_id, owner)
        return route_pb2.GetAttemptResponse(attempt=to_attempt(row))

    async def list(self, request: route_pb2.ListAttemptsRequest, owner: str) -> route_pb2.ListAttemptsResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        condition = belongs_to(attempts_table, owner)
        async with self.engine.connect() as connection:
            if request.area_id:
                await areas.find_area(connection, request.area_id, owner)
                condition = and_(condition, attempts_table.c.area_id == request.area_id)
            if request.route_id:
                await areas.find_route(connection, request.route_id, owner)
                condition = and_(condition, attempts_table.c.route_id == request.route_id)
            page = await newest_first(connection, attempts_table, "attempt_id", condition, wanted, time="attempt_time")
        return route_pb2.ListAttemptsResponse(
            attempts=[to_attempt(row) for row in page.rows], next_page_token=page.next_token, total_size=page.total
        )

    async def update(self, request: route_pb2.UpdateAttemptRequest, owner: str) -> route_pb2.UpdateAttemptResponse:
        given = request.attempt
        values = _checked(given, changed_fields(given, request.update_mask.paths, _CHANGEABLE))
        async with self.engine.begin() as connection:
            row = await attempts.find(connection, given.attempt_id, owner, lock=True)
            first = await requests.claim(connection, owner, "UpdateAttempt", request.request_id, row.attempt_id)
            if first is None and values:
                row = await attempts.change(connection, row.attempt_id, **values)
        return route_pb2.UpdateAttemptResponse(attempt=to_attempt(row))

    async def delete(self, request: route_pb2.DeleteAttemptRequest, owner: str) -> route_pb2.DeleteAttemptResponse:
        async with self.engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteAttempt", request.request_id):
                return route_pb2.DeleteAttemptResponse()
            row = await attempts.find(connection, request.attempt_id, owner)
            await requests.claim(connection, owner, "DeleteAttempt", request.request_id, row.attempt_id)
            condition = attempts_table.c.attempt_id == row.attempt_id
            await remove_videos(connection, await remove_attempts(connection, self.conductor, condition))
            await browsing.bump(connection, owner)
        self.conductor.wake()
        return route_pb2.DeleteAttemptResponse()

    async def recent(
        self, request: browse_pb2.ListRecentAttemptsRequest, owner: str
    ) -> browse_pb2.ListRecentAttemptsResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        async with self.engine.connect() as connection:
            page = await newest_first(
                connection, attempts_table, "attempt_id", belongs_to(attempts_table, owner), wanted
            )
            names = await areas.names_of(connection, {row.route_id for row in page.rows})
        response = browse_pb2.ListRecentAttemptsResponse(next_page_token=page.next_token, total_size=page.total)
        for row in page.rows:
            area, route = names[row.route_id]
            response.attempts.add(attempt=to_attempt(row), route_name=route, area_name=area)
        return response

    async def download(
        self, request: route_pb2.CreateAttemptDownloadRequest, owner: str
    ) -> route_pb2.CreateAttemptDownloadResponse:
        async with self.engine.connect() as connection:
            row = await attempts.find(connection, request.attempt_id, owner)
            asset = await assets.find(connection, row.asset_id, owner)
        key = _key_of(row, request.data)
        found = await self.store.stat(key)
        is_video = key == keys.asset_source(row.asset_id)
        download = common_pb2.Download(
            url=self.store.presign_get(key),
            expires_in_sec=DOWNLOAD_S,
            content_type=asset.content_type if is_video else OCTETS,
            size_bytes=found.size,
        )
        return route_pb2.CreateAttemptDownloadResponse(download=download, object_key=key)

    async def compare(
        self, request: browse_pb2.CompareAttemptsRequest, owner: str
    ) -> browse_pb2.CompareAttemptsResponse:
        named = list(request.attempt_ids)
        if not 2 <= len(named) <= MOST_ATTEMPTS:
            raise errors.InvalidArgument(
                "OUT_OF_RANGE", f"attempt_ids takes 2 to {MOST_ATTEMPTS}.", field="attempt_ids"
            )
        if len(set(named)) < len(named):
            raise errors.InvalidArgument("DUPLICATE_ATTEMPT", "An attempt is named twice.", field="attempt_ids")
        async with self.engine.connect() as connection:
            rows = await attempts.find_all(connection, named, owner)
        require_one_route(rows)
        for row in rows:
            if row.metrics is None:
                raise errors.FailedPrecondition(
                    "NO_METRICS",
                    "An attempt has not been measured yet: match it first.",
                    field="attempt_ids",
                    attempt_id=row.attempt_id,
                )
        response = browse_pb2.CompareAttemptsResponse(attempts=[to_attempt(row) for row in rows])
        for name, unit in UNITS.items():
            values = [float(row.metrics[name]) for row in rows]
            response.rows.add(metric=name, unit=unit, values=values)
        return response


def _key_of(row: AnyRow, data: route_pb2.AttemptData.ValueType) -> str:
    """Where what is asked for lies.

    :raises InvalidArgument: UNKNOWN_VALUE.
    :raises FailedPrecondition: NO_POSES, NO_FEATURES.
    """
    if data in (route_pb2.ATTEMPT_DATA_UNSPECIFIED, route_pb2.ATTEMPT_DATA_VIDEO):
        return keys.asset_source(row.asset_id)
    if data == route_pb2.ATTEMPT_DATA_POSES:
        if not row.has_poses:
            raise errors.FailedPrecondition("NO_POSES", "No poses are kept with this attempt: match it first.")
        return keys.attempt_poses(row.data_prefix)
    if data == route_pb2.ATTEMPT_DATA_FEATURES:
        if not row.has_features:
            raise errors.FailedPrecondition("NO_FEATURES", "No features are kept with this attempt: match it first.")
        return keys.attempt_features(row.data_prefix)
    raise errors.InvalidArgument("UNKNOWN_VALUE", "There is no such data of an attempt.", field="data", value=data)


def _checked(given: catalogue_pb2.Attempt, fields: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """The columns that ``fields`` set."""
    values: dict[str, Any] = {field: getattr(given, field) for field in fields}
    if "display_name" in values:
        check_text("display_name", given.display_name, LONGEST_NAME)
        values["display_name"] = given.display_name.strip()
    if "notes" in values:
        check_text("notes", given.notes, LONGEST_TEXT, lines=True)
    if "attempt_time" in values:
        if not given.HasField("attempt_time"):
            raise errors.InvalidArgument("MISSING_FIELD", "attempt_time is needed.", field="attempt_time")
        values["attempt_time"] = _time_of(given.attempt_time)
    return values


def _time_of(stamp: Timestamp) -> datetime:
    """A time of which there is a calendar on both sides.

    :raises InvalidArgument: OUT_OF_RANGE.
    """
    if not (0 <= stamp.seconds < _YEAR_2200 and 0 <= stamp.nanos < _NANOS):
        raise errors.InvalidArgument(
            "OUT_OF_RANGE", "attempt_time must be of the years 1970 to 2199.", field="attempt_time"
        )
    return stamp.ToDatetime(UTC)
