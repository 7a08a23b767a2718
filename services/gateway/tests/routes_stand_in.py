"""The route catalogue as the gateway sees it, and jobs over it."""

from __future__ import annotations

import zlib
from typing import Any, cast

import grpc

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, reference_pb2, route_pb2, route_pb2_grpc
from kinemesh.storage import keys

from .catalogue import Catalogue, now

BUILT_IN = "builtin-wall"
_FIGURES = (("path_length", "heights"), ("moves", ""))


class Routes(route_pb2_grpc.RouteServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    def _mine(self, kind: str, given: str, owner: str) -> Any:
        """A thing by its id; everybody may use what nobody owns."""
        found: Any = getattr(self.c, f"{kind}s").get(given)
        if found is None or found.owner not in ("", owner):
            message = f"The {kind} does not exist."
            raise errors.NotFound(f"{kind.upper()}_NOT_FOUND", message, **{f"{kind}_id": given})
        return found

    def _keep(self, kind: str, owner: str, given: Any, request_id: str) -> Any:
        """A copy with what the server sets; that of the first call when it is repeated."""
        kept, store = type(given)(), getattr(self.c, f"{kind}s")
        kept.CopyFrom(given)
        new_id = f"{kind}-{next(self.c.ids)}"
        if request_id:
            new_id = self.c.requests.setdefault(request_id, new_id)
            if new_id in store:
                return store[new_id]
        setattr(kept, f"{kind}_id", new_id)
        kept.owner = owner
        kept.create_time.CopyFrom(now())
        store[new_id] = kept
        return kept

    def _unique(self, kind: str, owner: str, given: Any, repeated: str) -> None:
        if repeated in self.c.requests:
            return
        for one in getattr(self.c, f"{kind}s").values():
            if one.owner == owner and one.display_name == given.display_name:
                raise errors.AlreadyExists(f"{kind.upper()}_EXISTS", "There is one of that name.", field="display_name")

    def _change(self, kept: Any, given: Any, mask: Any) -> None:
        for path in mask.paths:
            kept.ClearField(path)
        mask.MergeMessage(given, kept)

    async def CreateArea(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateArea", context)
        self._unique("area", owner, request.area, request.request_id)
        return route_pb2.CreateAreaResponse(area=self._keep("area", owner, request.area, request.request_id))

    async def GetArea(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetArea", context)
        return route_pb2.GetAreaResponse(area=self._mine("area", request.area_id, owner))

    async def ListAreas(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListAreas", context)
        items, token, total = self.c.page([a for a in self.c.areas.values() if a.owner == owner], request)
        return route_pb2.ListAreasResponse(areas=items, next_page_token=token, total_size=total)

    async def UpdateArea(self, request: Any, context: Any) -> Any:  # noqa: N802
        area = self._mine("area", request.area.area_id, await self.c.heard("UpdateArea", context))
        self._change(area, request.area, request.update_mask)
        return route_pb2.UpdateAreaResponse(area=area)

    async def DeleteArea(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._mine("area", request.area_id, await self.c.heard("DeleteArea", context))
        del self.c.areas[request.area_id]
        return route_pb2.DeleteAreaResponse()

    async def CreateRoute(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateRoute", context)
        self._mine("area", request.route.area_id, owner)
        if request.route.reference_id:
            self._mine("reference", request.route.reference_id, owner)
        self._unique("route", owner, request.route, request.request_id)
        return route_pb2.CreateRouteResponse(route=self._keep("route", owner, request.route, request.request_id))

    async def GetRoute(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetRoute", context)
        return route_pb2.GetRouteResponse(route=self._mine("route", request.route_id, owner))

    async def ListRoutes(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListRoutes", context)
        mine = [r for r in self.c.routes.values() if r.owner == owner and request.area_id in ("", r.area_id)]
        items, token, total = self.c.page(mine, request)
        return route_pb2.ListRoutesResponse(routes=items, next_page_token=token, total_size=total)

    async def UpdateRoute(self, request: Any, context: Any) -> Any:  # noqa: N802
        route = self._mine("route", request.route.route_id, await self.c.heard("UpdateRoute", context))
        self._change(route, request.route, request.update_mask)
        return route_pb2.UpdateRouteResponse(route=route)

    async def DeleteRoute(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._mine("route", request.route_id, await self.c.heard("DeleteRoute", context))
        del self.c.routes[request.route_id]
        return route_pb2.DeleteRouteResponse()

    async def CreateAttempt(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateAttempt", context)
        route = self._mine("route", request.attempt.route_id, owner)
        if self.c.asset(request.attempt.asset_id, owner).state != asset_pb2.ASSET_STATE_READY:
            raise errors.FailedPrecondition("ASSET_NOT_READY", "The asset has not been accepted.", field="asset_id")
        attempt = self._keep("attempt", owner, request.attempt, request.request_id)
        attempt.area_id = route.area_id
        if not attempt.HasField("attempt_time"):
            attempt.attempt_time.CopyFrom(now())
        return route_pb2.CreateAttemptResponse(attempt=attempt)

    async def GetAttempt(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetAttempt", context)
        return route_pb2.GetAttemptResponse(attempt=self._mine("attempt", request.attempt_id, owner))

    async def ListAttempts(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._mine("route", request.route_id, await self.c.heard("ListAttempts", context))
        found = [a for a in reversed(self.c.attempts.values()) if a.route_id == request.route_id]
        items, token, total = self.c.page(found, request)
        return route_pb2.ListAttemptsResponse(attempts=items, next_page_token=token, total_size=total)

    async def UpdateAttempt(self, request: Any, context: Any) -> Any:  # noqa: N802
        attempt = self._mine("attempt", request.attempt.attempt_id, await self.c.heard("UpdateAttempt", context))
        self._change(attempt, request.attempt, request.update_mask)
        return route_pb2.UpdateAttemptResponse(attempt=attempt)

    async def DeleteAttempt(self, request: Any, context: Any) -> Any:  # noqa: N802
        attempt = self._mine("attempt", request.attempt_id, await self.c.heard("DeleteAttempt", context))
        del self.c.attempts[attempt.attempt_id], self.c.assets[attempt.asset_id]
        return route_pb2.DeleteAttemptResponse()

    async def ListRecentAttempts(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListRecentAttempts", context)
        mine = [a for a in reversed(self.c.attempts.values()) if a.owner == owner]
        items, token, total = self.c.page(mine, request)
        named = [
            browse_pb2.RecentAttempt(
                attempt=a,
                route_name=self.c.routes[a.route_id].display_name,
                area_name=self.c.areas[a.area_id].display_name,
            )
            for a in items
        ]
        return browse_pb2.ListRecentAttemptsResponse(attempts=named, next_page_token=token, total_size=total)

    async def CreateAttemptDownload(self, request: Any, context: Any) -> Any:  # noqa: N802
        attempt = self._mine("attempt", request.attempt_id, await self.c.heard("CreateAttemptDownload", context))
        what = route_pb2.AttemptData.Name(request.data).removeprefix("ATTEMPT_DATA_")
        prefix, kind = attempt_prefix(attempt), "application/octet-stream"
        if what == "VIDEO":
            key = keys.asset_source(attempt.asset_id)
            kind = self.c.asset(attempt.asset_id, attempt.owner).content_type
        elif not getattr(attempt, f"has_{what.lower()}"):
            raise errors.FailedPrecondition(f"NO_{what}", "No job has read this attempt yet.")
        else:
            key = keys.attempt_poses(prefix) if what == "POSES" else keys.attempt_features(prefix)
        download = common_pb2.Download(content_type=kind)
        return route_pb2.CreateAttemptDownloadResponse(download=download, object_key=key)

    async def CompareAttempts(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CompareAttempts", context)
        found = [self._mine("attempt", attempt_id, owner) for attempt_id in request.attempt_ids]
        if len(set(request.attempt_ids)) < len(found):
            raise errors.InvalidArgument("DUPLICATE_ATTEMPT", "An attempt is named twice.", field="attempt_ids")
        rows = [
            browse_pb2.ComparisonRow(
                metric=name,
                unit=unit,
                values=[getattr(a.metrics, name) if a.HasField("metrics") else float("nan") for a in found],
            )
            for name, unit in _FIGURES
        ]
        return browse_pb2.CompareAttemptsResponse(attempts=found, rows=rows)

    async def GetTree(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetTree", context)
        areas = [
            browse_pb2.TreeArea(
                area_id=area.area_id,
                display_name=area.display_name,
                routes=[
                    browse_pb2.TreeRoute(route_id=r.route_id, display_name=r.display_name, grade=r.grade)
                    for r in self.c.routes.values()
                    if r.area_id == area.area_id
                ],
            )
            for area in self.c.areas.values()
            if area.owner == owner
        ]
        etag = f"{zlib.crc32(b''.join(area.SerializeToString(deterministic=True) for area in areas)):08x}"
        if etag == request.etag:
            return browse_pb2.GetTreeResponse(etag=etag, unchanged=True)
        return browse_pb2.GetTreeResponse(areas=areas, etag=etag)

    async def SearchCatalogue(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("SearchCatalogue", context)
        hits = [
            browse_pb2.SearchHit(**{kind: one}, path=f"Somewhere / {one.display_name}")
            for kind in ("area", "route", "attempt")
            for one in getattr(self.c, f"{kind}s").values()
            if one.owner == owner and request.query.lower() in one.display_name.lower()
        ]
        items, token, total = self.c.page(hits, request)
        return browse_pb2.SearchCatalogueResponse(hits=items, next_page_token=token, total_size=total)

    async def CreateReferenceImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateReferenceImage", context)
        asset = self.c.asset(request.asset_id, owner)
        if asset.kind != asset_pb2.ASSET_KIND_IMAGE:
            raise errors.InvalidArgument("WRONG_ASSET_KIND", "The asset is no picture.", field="asset_id")
        if asset.state != asset_pb2.ASSET_STATE_READY:
            raise errors.FailedPrecondition("ASSET_NOT_READY", "The asset has not been accepted.", field="asset_id")
        if request.route_id:
            self._mine("route", request.route_id, owner)
        new = reference_pb2.ReferenceImage(
            display_name=request.display_name or asset.filename,
            source=reference_pb2.REFERENCE_SOURCE_UPLOADED,
            asset_id=asset.asset_id,
            route_id=request.route_id,
            width=640,
            height=480,
        )
        image = self._keep("reference", owner, new, request.request_id)
        return reference_pb2.CreateReferenceImageResponse(reference_image=image)

    async def GetReferenceImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetReferenceImage", context)
        image = self._mine("reference", request.reference_id, owner)
        return reference_pb2.GetReferenceImageResponse(reference_image=image)

    async def ListReferenceImages(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListReferenceImages", context)
        wanted = [
            image
            for image in self.c.references.values()
            if image.owner in ("", owner)
            and request.source in (0, image.source)
            and request.route_id in ("", image.route_id)
        ]
        items, token, total = self.c.page(wanted, request)
        return reference_pb2.ListReferenceImagesResponse(
            reference_images=items, next_page_token=token, total_size=total
        )

    async def DeleteReferenceImage(self, request: Any, context: Any) -> Any:  # noqa: N802
        image = self._mine("reference", request.reference_id, await self.c.heard("DeleteReferenceImage", context))
        if not image.owner:
            raise errors.PermissionDenied("REFERENCE_BUILT_IN", "This image is part of the product.")
        if any(route.reference_id == image.reference_id for route in self.c.routes.values()):
            raise errors.FailedPrecondition("REFERENCE_IN_USE", "A route uses this reference image.")
        del self.c.references[image.reference_id]
        return reference_pb2.DeleteReferenceImageResponse()

    async def CreateReferenceImageDownload(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateReferenceImageDownload", context)
        image = self._mine("reference", request.reference_id, owner)
        return reference_pb2.CreateReferenceImageDownloadResponse(
            download=common_pb2.Download(content_type="image/png"), object_key=keys.asset_source(image.asset_id)
        )

    async def DeleteTemporaryFiles(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answers with what it was asked: milliseconds of age as bytes, 0 without, and 2 files when only counting."""
        await self.c.heard("DeleteTemporaryFiles", context)
        age = request.older_than.ToMilliseconds() if request.HasField("older_than") else 0
        return route_pb2.DeleteTemporaryFilesResponse(files=2 if request.validate_only else 1, bytes=age)


def attempt_prefix(attempt: catalogue_pb2.Attempt) -> str:
    """Where what is kept with an attempt lies."""
    time = attempt.attempt_time.ToDatetime()
    return keys.attempt_prefix(attempt.owner, attempt.area_id, attempt.route_id, time, attempt.attempt_id)


def add_match(catalogue: Catalogue, job_id: str, owner: str, request: job_pb2.CreateJobRequest) -> job_pb2.Job:
    """A job over attempts, or over the request's own inputs, completed as ingest does."""
    parameters, asked = request.parameters, request.parameters.route_match
    routes = cast(Any, Routes)(catalogue)
    named = [attempt_id for attempt_id in (asked.attempt_id, *asked.attempt_ids) if attempt_id]
    attempts = [routes._mine("attempt", attempt_id, owner) for attempt_id in named]
    if len({attempt.route_id for attempt in attempts}) > 1:
        raise errors.InvalidArgument("DIFFERENT_ROUTES", "They are at several routes.", field="attempt_ids")
    inputs = list(request.inputs)
    if attempts and inputs:
        raise errors.InvalidArgument("INPUTS_NOT_TAKEN", "The attempts have the videos.", field="inputs")
    for number, attempt in enumerate(attempts, 1):
        camera = f"attempt{number}" if len(attempts) > 1 else "main"
        inputs.append(job_pb2.JobInput(camera=camera, asset_id=attempt.asset_id))
        asked.attempts.add(
            camera=camera,
            attempt_id=attempt.attempt_id,
            display_name=attempt.display_name,
            data_prefix=attempt_prefix(attempt),
        )
    for source in request.inputs:
        asked.attempts.add(camera=source.camera, display_name=catalogue.asset(source.asset_id, owner).filename)
    asked.reference = asked.reference or (
        routes._mine("route", attempts[0].route_id, owner).reference_id if named else ""
    )
    if not asked.reference:
        raise errors.FailedPrecondition("NO_REFERENCE", "Name a reference image.", field="reference")
    asked.image_asset_id = routes._mine("reference", asked.reference, owner).asset_id
    job = catalogue.add_job(job_id, owner, inputs[0].asset_id, parameters)
    del job.inputs[:]
    job.inputs.extend(inputs)
    return job


def add_routes(catalogue: Catalogue, server: grpc.aio.Server) -> None:
    catalogue.references[BUILT_IN] = reference_pb2.ReferenceImage(
        reference_id=BUILT_IN,
        display_name="A wall",
        source=reference_pb2.REFERENCE_SOURCE_BUILT_IN,
        asset_id=BUILT_IN,
        width=1600,
        height=1200,
        features=4000,
    )
    route_pb2_grpc.add_RouteServiceServicer_to_server(cast(Any, Routes)(catalogue), server)
