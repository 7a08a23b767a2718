"""Ingest as this service sees it, over real gRPC: assets and reference images that a test puts there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.route.v1 import reference_pb2, route_pb2_grpc
from kinemesh.serving.interceptor import caller
from kinemesh.testing.serving import served
from kinemesh_matcher.catalogue import Catalogue


class Ingest(asset_pb2_grpc.AssetServiceServicer, route_pb2_grpc.RouteServiceServicer):
    """Answers from two dictionaries."""

    def __init__(self) -> None:
        self.assets: dict[str, asset_pb2.Asset] = {}
        self.references: dict[str, reference_pb2.ReferenceImage] = {}

    def add_asset(self, asset_id: str, kind: str = "IMAGE", state: str = "READY", owner: str = "local") -> None:
        self.assets[asset_id] = asset_pb2.Asset(
            asset_id=asset_id,
            owner=owner,
            kind=asset_pb2.AssetKind.Value(f"ASSET_KIND_{kind}"),
            state=asset_pb2.AssetState.Value(f"ASSET_STATE_{state}"),
        )

    def add_reference(self, reference_id: str, asset_id: str, owner: str = "local") -> None:
        self.references[reference_id] = reference_pb2.ReferenceImage(
            reference_id=reference_id, asset_id=asset_id, owner=owner
        )

    async def GetAsset(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        asset = self.assets.get(request.asset_id)
        if asset is None or asset.owner != caller(context):
            raise errors.NotFound("ASSET_NOT_FOUND", "There is no such asset.", asset_id=request.asset_id)
        return asset_pb2.GetAssetResponse(asset=asset)

    async def GetReferenceImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        image = self.references.get(request.reference_id)
        if image is None or image.owner not in ("", caller(context)):
            raise errors.NotFound("REFERENCE_NOT_FOUND", "There is no such reference image.")
        return reference_pb2.GetReferenceImageResponse(reference_image=image)


@asynccontextmanager
async def ingest_and_catalogue() -> AsyncIterator[tuple[Ingest, Catalogue]]:
    """The stand-in, and a client of it."""
    ingest: Ingest = cast(Any, Ingest)()  # whose other methods nobody calls
    channel_to = served(
        ingest,
        asset_pb2_grpc.add_AssetServiceServicer_to_server,
        route_pb2_grpc.add_RouteServiceServicer_to_server,
    )
    async with channel_to as channel:
        yield ingest, Catalogue(channel, timeout_s=10)
