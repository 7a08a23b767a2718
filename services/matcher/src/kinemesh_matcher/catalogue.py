"""Reference images as ingest tells them, in the caller's name: what belongs to others is not there."""

from __future__ import annotations

from typing import Any

import grpc

from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.route.v1 import reference_pb2, route_pb2_grpc
from kinemesh.serving.channel import call


class Catalogue:
    """Asks ingest."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._assets: Any = asset_pb2_grpc.AssetServiceStub(channel)
        self._routes: Any = route_pb2_grpc.RouteServiceStub(channel)
        self._timeout_s = timeout_s

    async def picture_of(self, reference_id: str, owner: str) -> str:
        """The asset of a reference image.

        :raises NotFound: REFERENCE_NOT_FOUND
        """
        request = reference_pb2.GetReferenceImageRequest(reference_id=reference_id)
        answer = await call(self._routes.GetReferenceImage, request, owner=owner, timeout_s=self._timeout_s)
        return str(answer.reference_image.asset_id)

    async def require_picture(self, asset_id: str, owner: str) -> None:
        """That an asset is a picture that the caller may use.

        :raises NotFound: ASSET_NOT_FOUND
        :raises InvalidArgument: WRONG_ASSET_KIND
        :raises FailedPrecondition: ASSET_NOT_READY
        """
        request = asset_pb2.GetAssetRequest(asset_id=asset_id)
        answer = await call(self._assets.GetAsset, request, owner=owner, timeout_s=self._timeout_s)
        asset: asset_pb2.Asset = answer.asset
        if asset.kind != asset_pb2.ASSET_KIND_IMAGE:
            raise InvalidArgument(
                "WRONG_ASSET_KIND", "The asset is no picture.", field="reference.asset_id", asset_id=asset_id
            )
        if asset.state != asset_pb2.ASSET_STATE_READY:
            raise FailedPrecondition("ASSET_NOT_READY", "The asset is not ready.", asset_id=asset_id)
