"""RouteService: who calls, and which part of the route catalogue answers."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.media.confined import Decoder
from kinemesh.route.v1 import browse_pb2, reference_pb2, route_pb2, route_pb2_grpc
from kinemesh.serving.interceptor import caller
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.climbing.areas import Areas
from kinemesh_ingest.climbing.attempts import Attempts
from kinemesh_ingest.climbing.browsing import Search, Trees
from kinemesh_ingest.climbing.cleaning import Cleaning
from kinemesh_ingest.climbing.references import References
from kinemesh_ingest.climbing.routes import Routes
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.settings import UploadSettings


class RouteRpc(route_pb2_grpc.RouteServiceServicer):
    """Keeps the route catalogue."""

    def __init__(
        self, engine: AsyncEngine, store: ObjectStore, conductor: Conductor, settings: UploadSettings, decoder: Decoder
    ) -> None:
        self._areas = Areas(engine, conductor)
        self._routes = Routes(engine, conductor)
        self._attempts = Attempts(engine, store, conductor)
        self._references = References(engine, store, conductor, settings, decoder)
        self._trees = Trees(engine)
        self._search = Search(engine)
        self._cleaning = Cleaning(engine, store)

    async def CreateArea(  # noqa: N802
        self, request: route_pb2.CreateAreaRequest, context: Any
    ) -> route_pb2.CreateAreaResponse:
        return await self._areas.create(request, caller(context))

    async def GetArea(  # noqa: N802
        self, request: route_pb2.GetAreaRequest, context: Any
    ) -> route_pb2.GetAreaResponse:
        return await self._areas.get(request, caller(context))

    async def ListAreas(  # noqa: N802
        self, request: route_pb2.ListAreasRequest, context: Any
    ) -> route_pb2.ListAreasResponse:
        return await self._areas.list(request, caller(context))

    async def UpdateArea(  # noqa: N802
        self, request: route_pb2.UpdateAreaRequest, context: Any
    ) -> route_pb2.UpdateAreaResponse:
        return await self._areas.update(request, caller(context))

    async def DeleteArea(  # noqa: N802
        self, request: route_pb2.DeleteAreaRequest, context: Any
    ) -> route_pb2.DeleteAreaResponse:
        return await self._areas.delete(request, caller(context))

    async def CreateRoute(  # noqa: N802
        self, request: route_pb2.CreateRouteRequest, context: Any
    ) -> route_pb2.CreateRouteResponse:
        return await self._routes.create(request, caller(context))

    async def GetRoute(  # noqa: N802
        self, request: route_pb2.GetRouteRequest, context: Any
    ) -> route_pb2.GetRouteResponse:
        return await self._routes.get(request, caller(context))

    async def ListRoutes(  # noqa: N802
        self, request: route_pb2.ListRoutesRequest, context: Any
    ) -> route_pb2.ListRoutesResponse:
        return await self._routes.list(request, caller(context))

    async def UpdateRoute(  # noqa: N802
        self, request: route_pb2.UpdateRouteRequest, context: Any
    ) -> route_pb2.UpdateRouteResponse:
        return await self._routes.update(request, caller(context))

    async def DeleteRoute(  # noqa: N802
        self, request: route_pb2.DeleteRouteRequest, context: Any
    ) -> route_pb2.DeleteRouteResponse:
        return await self._routes.delete(request, caller(context))

    async def CreateAttempt(  # noqa: N802
        self, request: route_pb2.CreateAttemptRequest, context: Any
    ) -> route_pb2.CreateAttemptResponse:
        return await self._attempts.create(request, caller(context))

    async def GetAttempt(  # noqa: N802
        self, request: route_pb2.GetAttemptRequest, context: Any
    ) -> route_pb2.GetAttemptResponse:
        return await self._attempts.get(request, caller(context))

    async def ListAttempts(  # noqa: N802
        self, request: route_pb2.ListAttemptsRequest, context: Any
    ) -> route_pb2.ListAttemptsResponse:
        return await self._attempts.list(request, caller(context))

    async def UpdateAttempt(  # noqa: N802
        self, request: route_pb2.UpdateAttemptRequest, context: Any
    ) -> route_pb2.UpdateAttemptResponse:
        return await self._attempts.update(request, caller(context))

    async def DeleteAttempt(  # noqa: N802
        self, request: route_pb2.DeleteAttemptRequest, context: Any
    ) -> route_pb2.DeleteAttemptResponse:
        return await self._attempts.delete(request, caller(context))

    async def ListRecentAttempts(  # noqa: N802
        self, request: browse_pb2.ListRecentAttemptsRequest, context: Any
    ) -> browse_pb2.ListRecentAttemptsResponse:
        return await self._attempts.recent(request, caller(context))

    async def CreateAttemptDownload(  # noqa: N802
        self, request: route_pb2.CreateAttemptDownloadRequest, context: Any
    ) -> route_pb2.CreateAttemptDownloadResponse:
        return await self._attempts.download(request, caller(context))

    async def CompareAttempts(  # noqa: N802
        self, request: browse_pb2.CompareAttemptsRequest, context: Any
    ) -> browse_pb2.CompareAttemptsResponse:
        return await self._attempts.compare(request, caller(context))

    async def GetTree(  # noqa: N802
        self, request: browse_pb2.GetTreeRequest, context: Any
    ) -> browse_pb2.GetTreeResponse:
        return await self._trees.get(request, caller(context))

    async def SearchCatalogue(  # noqa: N802
        self, request: browse_pb2.SearchCatalogueRequest, context: Any
    ) -> browse_pb2.SearchCatalogueResponse:
        return await self._search.find(request, caller(context))

    async def CreateReferenceImage(  # noqa: N802
        self, request: reference_pb2.CreateReferenceImageRequest, context: Any
    ) -> reference_pb2.CreateReferenceImageResponse:
        return await self._references.create(request, caller(context))

    async def GetReferenceImage(  # noqa: N802
        self, request: reference_pb2.GetReferenceImageRequest, context: Any
    ) -> reference_pb2.GetReferenceImageResponse:
        return await self._references.get(request, caller(context))

    async def ListReferenceImages(  # noqa: N802
        self, request: reference_pb2.ListReferenceImagesRequest, context: Any
    ) -> reference_pb2.ListReferenceImagesResponse:
        return await self._references.list(request, caller(context))

    async def DeleteReferenceImage(  # noqa: N802
        self, request: reference_pb2.DeleteReferenceImageRequest, context: Any
    ) -> reference_pb2.DeleteReferenceImageResponse:
        return await self._references.delete(request, caller(context))

    async def CreateReferenceImageDownload(  # noqa: N802
        self, request: reference_pb2.CreateReferenceImageDownloadRequest, context: Any
    ) -> reference_pb2.CreateReferenceImageDownloadResponse:
        return await self._references.download(request, caller(context))

    async def DeleteTemporaryFiles(  # noqa: N802
        self, request: route_pb2.DeleteTemporaryFilesRequest, context: Any
    ) -> route_pb2.DeleteTemporaryFilesResponse:
        return await self._cleaning.delete(request, caller(context))
