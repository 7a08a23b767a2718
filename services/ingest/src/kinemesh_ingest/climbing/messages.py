"""Rows of the route catalogue as messages."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict

from kinemesh.route.v1 import catalogue_pb2, reference_pb2
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.messages import to_timestamp


def to_area(row: AnyRow, route_count: int) -> catalogue_pb2.Area:
    return catalogue_pb2.Area(
        area_id=row.area_id,
        owner=row.owner,
        display_name=row.display_name,
        description=row.description,
        route_count=route_count,
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )


def to_route(row: AnyRow, attempt_count: int) -> catalogue_pb2.Route:
    return catalogue_pb2.Route(
        route_id=row.route_id,
        area_id=row.area_id,
        owner=row.owner,
        display_name=row.display_name,
        description=row.description,
        grade=row.grade,
        reference_id=row.reference_id or "",
        attempt_count=attempt_count,
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )


def to_attempt(row: AnyRow) -> catalogue_pb2.Attempt:
    attempt = catalogue_pb2.Attempt(
        attempt_id=row.attempt_id,
        route_id=row.route_id,
        area_id=row.area_id,
        owner=row.owner,
        display_name=row.display_name or f"{row.attempt_time:%Y-%m-%d %H:%M}",
        notes=row.notes,
        asset_id=row.asset_id,
        attempt_time=to_timestamp(row.attempt_time),
        topped=row.topped,
        has_poses=row.has_poses,
        has_features=row.has_features,
        job_id=row.job_id or "",
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )
    if row.metrics is not None:
        ParseDict(row.metrics, attempt.metrics)
    return attempt


def to_reference(row: AnyRow) -> reference_pb2.ReferenceImage:
    return reference_pb2.ReferenceImage(
        reference_id=row.reference_id,
        owner=row.owner,
        display_name=row.display_name,
        source=reference_pb2.ReferenceSource.Value(f"REFERENCE_SOURCE_{row.source}"),
        asset_id=row.asset_id,
        route_id=row.route_id or "",
        width=row.width,
        height=row.height,
        features=row.features,
        create_time=to_timestamp(row.create_time),
    )
