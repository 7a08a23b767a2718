"""Areas and routes kept for real, and what hangs on them when they go."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.route.v1 import catalogue_pb2, route_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until

Area = catalogue_pb2.Area
Route = catalogue_pb2.Route


async def update_area(ingest: Any, area: Area, *paths: str, owner: str = "ada", **more: Any) -> Area:
    request = route_pb2.UpdateAreaRequest(area=area, update_mask=FieldMask(paths=paths), **more)
    answer: Area = (await call(ingest.routes.UpdateArea, request, owner=owner)).area
    return answer


async def update_route(ingest: Any, route: Route, *paths: str, owner: str = "ada", **more: Any) -> Route:
    request = route_pb2.UpdateRouteRequest(route=route, update_mask=FieldMask(paths=paths), **more)
    answer: Route = (await call(ingest.routes.UpdateRoute, request, owner=owner)).route
    return answer


async def get_area(ingest: Any, area_id: str, owner: str = "ada") -> Area:
    answer: Area = (await call(ingest.routes.GetArea, route_pb2.GetAreaRequest(area_id=area_id), owner=owner)).area
    return answer


async def get_route(ingest: Any, route_id: str, owner: str = "ada") -> Route:
    request = route_pb2.GetRouteRequest(route_id=route_id)
    answer: Route = (await call(ingest.routes.GetRoute, request, owner=owner)).route
    return answer


async def reason_of(awaited: Any) -> tuple[str, str]:
    """Why a call is refused, and which field it names."""
    with pytest.raises(errors.KinemeshError) as refused:
        await awaited
    return refused.value.reason, refused.value.metadata.get("field", "")


async def test_areas_are_kept_changed_and_deleted(ingest: Any) -> None:
    for _ in range(2):
        area = await ingest.area(" Rifugio ", request_id="new", description="granite\nhigh")
    assert (area.display_name, area.owner, area.route_count) == ("Rifugio", "ada", 0)
    assert await get_area(ingest, area.area_id) == area
    await ingest.route(area.area_id, "Crack")
    for _ in range(2):
        changed = await update_area(
            ingest, Area(area_id=area.area_id, display_name="Hut", description="x"), "display_name", request_id="u"
        )
    assert (changed.display_name, changed.description, changed.route_count) == ("Hut", "granite\nhigh", 1)
    assert (await update_area(ingest, Area(area_id=area.area_id), "description")).description == ""
    assert (await update_area(ingest, changed)).description == "granite\nhigh"
    delete = route_pb2.DeleteAreaRequest(area_id=area.area_id, request_id="bye")
    for _ in range(2):
        await call(ingest.routes.DeleteArea, delete, owner="ada")
    assert await reason_of(get_area(ingest, area.area_id)) == ("AREA_NOT_FOUND", "")


async def test_routes_are_kept_changed_and_deleted(ingest: Any) -> None:
    area = await ingest.area("Routes")
    for _ in range(2):
        route = await ingest.route(
            area.area_id, "Nose", request_id="n", grade=" 6b+ ", description="long", reference_id="wall-vertical"
        )
    assert (route.grade, route.reference_id, route.area_id, route.attempt_count) == (
        "6b+", "wall-vertical", area.area_id, 0
    )  # fmt: skip
    assert await get_route(ingest, route.route_id) == route
    changed = await update_route(ingest, Route(route_id=route.route_id, grade="7a"), request_id="u")
    assert (changed.grade, changed.display_name, changed.reference_id) == ("7a", "Nose", "wall-vertical")
    bare = Route(route_id=route.route_id)
    assert (await update_route(ingest, bare, "reference_id")).reference_id == ""
    assert (await update_route(ingest, Route(route_id=route.route_id, grade="9a"), request_id="u")).grade == "7a"
    delete = route_pb2.DeleteRouteRequest(route_id=route.route_id, request_id="bye")
    for _ in range(2):
        await call(ingest.routes.DeleteRoute, delete, owner="ada")
    assert await reason_of(get_route(ingest, route.route_id)) == ("ROUTE_NOT_FOUND", "")


async def test_names_are_taken_once(ingest: Any) -> None:
    first, second = await ingest.area("One"), await ingest.area("Two")
    assert await reason_of(ingest.area("One ")) == ("AREA_EXISTS", "display_name")
    renamed = update_area(ingest, Area(area_id=second.area_id, display_name="One"))
    assert await reason_of(renamed) == ("AREA_EXISTS", "display_name")
    await ingest.area("One", owner="eve")
    route = await ingest.route(first.area_id, "A")
    await ingest.route(second.area_id, "A")
    other = await ingest.route(first.area_id, "B")
    assert await reason_of(ingest.route(first.area_id, "A")) == ("ROUTE_EXISTS", "display_name")
    moved = update_route(ingest, Route(route_id=other.route_id, display_name="A"))
    assert await reason_of(moved) == ("ROUTE_EXISTS", "display_name")
    assert (await update_route(ingest, route)).display_name == "A"


async def test_what_is_somebody_elses_is_unknown(ingest: Any) -> None:
    area = await ingest.area("Mine")
    route = await ingest.route(area.area_id, "Mine")
    for refused, reason in (
        (get_area(ingest, area.area_id, "eve"), "AREA_NOT_FOUND"),
        (update_area(ingest, area, owner="eve"), "AREA_NOT_FOUND"),
        (
            call(ingest.routes.DeleteArea, route_pb2.DeleteAreaRequest(area_id=area.area_id), owner="eve"),
            "AREA_NOT_FOUND",
        ),
        (ingest.route(area.area_id, "Hers", owner="eve"), "AREA_NOT_FOUND"),
        (
            call(ingest.routes.ListRoutes, route_pb2.ListRoutesRequest(area_id=area.area_id), owner="eve"),
            "AREA_NOT_FOUND",
        ),
        (get_route(ingest, route.route_id, "eve"), "ROUTE_NOT_FOUND"),
        (update_route(ingest, route, owner="eve"), "ROUTE_NOT_FOUND"),
        (
            call(ingest.routes.DeleteRoute, route_pb2.DeleteRouteRequest(route_id=route.route_id), owner="eve"),
            "ROUTE_NOT_FOUND",
        ),
        (update_route(ingest, Route(route_id=route.route_id, reference_id="no")), "REFERENCE_NOT_FOUND"),
        (ingest.route(area.area_id, "New", reference_id="no"), "REFERENCE_NOT_FOUND"),
    ):
        assert (await reason_of(refused))[0] == reason


async def test_what_may_not_be_said_of_them(ingest: Any) -> None:
    area = await ingest.area("Checked")
    route = await ingest.route(area.area_id, "Checked")
    for refused, reason, field in (
        (ingest.area("  "), "MISSING_FIELD", "display_name"),
        (ingest.area("a\nb"), "INVALID_TEXT", "display_name"),
        (ingest.area("n" * 201), "OUT_OF_RANGE", "display_name"),
        (ingest.area("n", description="d" * 10_001), "OUT_OF_RANGE", "description"),
        (update_area(ingest, Area(area_id=area.area_id), "display_name"), "MISSING_FIELD", "display_name"),
        (update_area(ingest, area, "owner"), "INVALID_MASK", "update_mask"),
        (ingest.route(area.area_id, ""), "MISSING_FIELD", "display_name"),
        (ingest.route(area.area_id, "r", grade="g" * 33), "OUT_OF_RANGE", "grade"),
        (ingest.route(area.area_id, "r", description="\0"), "INVALID_TEXT", "description"),
        (update_route(ingest, route, "area_id"), "INVALID_MASK", "update_mask"),
        (get_area(ingest, "\0"), "INVALID_TEXT", "area_id"),
        (call(ingest.routes.ListRoutes, route_pb2.ListRoutesRequest(area_id="\0")), "INVALID_TEXT", "area_id"),
    ):
        assert await reason_of(refused) == (reason, field)


async def test_they_are_listed_by_name_page_by_page(ingest: Any) -> None:
    areas = [await ingest.area(f"n{number}", owner="lea") for number in (2, 0, 1)]
    for number in (1, 0):
        await ingest.route(areas[0].area_id, f"r{number}", owner="lea")
    await ingest.route(areas[1].area_id, "r9", owner="lea")
    listed, token = [], ""
    while True:
        request = route_pb2.ListAreasRequest(page_size=2, page_token=token)
        page = await call(ingest.routes.ListAreas, request, owner="lea")
        assert page.total_size == 3
        listed += [(one.display_name, one.route_count) for one in page.areas]
        if not (token := page.next_page_token):
            break
    assert listed == [("n0", 1), ("n1", 0), ("n2", 2)]
    page = await call(ingest.routes.ListRoutes, route_pb2.ListRoutesRequest(skip=1), owner="lea")
    assert ([one.display_name for one in page.routes], page.total_size) == (["r1", "r9"], 3)
    of_area = route_pb2.ListRoutesRequest(area_id=areas[0].area_id, page_size=1)
    page = await call(ingest.routes.ListRoutes, of_area, owner="lea")
    assert ([one.display_name for one in page.routes], page.total_size) == (["r0"], 2)
    for token in ("?", page.next_page_token[:-4], "WyJhIl0=", "WyJcdWQ4MDAiLCAiYSJd", "WyJhIiwgIlx1MDAwMCJd"):
        wrong = route_pb2.ListRoutesRequest(page_token=token)
        assert await reason_of(call(ingest.routes.ListRoutes, wrong, owner="lea")) == (
            "INVALID_PAGE_TOKEN", "page_token"
        )  # fmt: skip


async def test_an_area_goes_with_its_attempts_their_videos_data_and_jobs(
    ingest: Any, clip: bytes, idle_workers: Any, s3_store: ObjectStore
) -> None:
    area = await ingest.area("Doomed")
    route = await ingest.route(area.area_id, "Doomed", reference_id="wall-vertical")
    own, shared = [(await ingest.upload(clip)).asset_id for _ in range(2)]
    other = await ingest.route((await ingest.area("Stays")).area_id, "Stays")
    first = await ingest.attempt(route.route_id, own)
    second = await ingest.attempt(route.route_id, shared)
    third = await ingest.attempt(other.route_id, shared)
    job = await ingest.match(attempt_ids=[first.attempt_id, second.attempt_id])
    prefixes = [one.data_prefix for one in job.parameters.route_match.attempts]
    assert prefixes[0].split("/")[:4] == ["routes", "ada", area.area_id, route.route_id]
    for prefix in prefixes:
        await s3_store.put_bytes(keys.attempt_poses(prefix), b"poses")
    await call(ingest.routes.DeleteArea, route_pb2.DeleteAreaRequest(area_id=area.area_id), owner="ada")
    with pytest.raises(errors.NotFound):
        await ingest.get_job(job.job_id)
    with pytest.raises(errors.NotFound):
        await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=own), owner="ada")
    await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=shared), owner="ada")
    found = route_pb2.GetAttemptRequest(attempt_id=third.attempt_id)
    assert (await call(ingest.routes.GetAttempt, found, owner="ada")).attempt == third

    async def is_swept() -> bool:
        left = [await s3_store.list_objects(prefix) for prefix in (*prefixes, keys.asset_prefix(own))]
        return not any(left)

    await until(is_swept)
    assert await s3_store.list_objects(keys.asset_prefix(shared))


async def test_a_route_goes_while_its_job_runs(ingest: Any, clip: bytes, workers: Any) -> None:
    route = await ingest.route((await ingest.area("Running")).area_id, "Running", reference_id="wall-vertical")
    attempt = await ingest.attempt(route.route_id, (await ingest.upload(clip)).asset_id)

    async def delete(task: task_pb2.Task) -> None:
        if task.stage == "retarget":
            request = route_pb2.DeleteRouteRequest(route_id=route.route_id)
            await call(ingest.routes.DeleteRoute, request, owner="ada")

    workers.on_task = delete
    job = await ingest.match(attempt_id=attempt.attempt_id)

    async def is_gone() -> bool:
        try:
            await ingest.get_job(job.job_id)
        except errors.NotFound:
            return True
        return False

    await until(is_gone)
    gone = job_pb2.GetJobRequest(job_id=job.job_id)
    assert (await reason_of(call(ingest.jobs.GetJob, gone, owner="ada")))[0] == "JOB_NOT_FOUND"
    assert (await reason_of(get_route(ingest, route.route_id)))[0] == "ROUTE_NOT_FOUND"
