"""The tree, right on every replica, and the search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from kinemesh import errors
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, route_pb2
from kinemesh.serving.channel import call
from kinemesh_ingest.catalogue.tables import routes
from kinemesh_ingest.climbing.browsing import Trees

GetTree = browse_pb2.GetTreeRequest


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[Trees]:
    """The trees of another replica."""
    engine = create_async_engine(url)
    try:
        yield Trees(engine)
    finally:
        await engine.dispose()


def shown(tree: browse_pb2.GetTreeResponse) -> list[tuple[str, list[tuple[str, str, int]]]]:
    return [
        (area.display_name, [(route.display_name, route.grade, route.attempt_count) for route in area.routes])
        for area in tree.areas
    ]


async def test_a_tree_is_kept_built_until_it_changes_on_any_replica(
    ingest: Any, clip: bytes, postgres_url: str
) -> None:
    async with replica(postgres_url) as here, replica(postgres_url) as there:
        empty = await here.get(GetTree(), "uma")
        assert (shown(empty), empty.etag, empty.unchanged) == ([], "0", False)
        area = await ingest.area("Crag", owner="uma")
        second = await ingest.route(area.area_id, "B", owner="uma", grade="6b")
        await ingest.route(area.area_id, "A", owner="uma")
        asset_id = (await ingest.upload(clip, owner="uma")).asset_id
        expected = [("Crag", [("A", "", 0), ("B", "6b", 0)])]
        for trees in (here, there):
            tree = await trees.get(GetTree(), "uma")
            assert shown(tree) == expected
            assert await trees.get(GetTree(etag=tree.etag), "uma") == browse_pb2.GetTreeResponse(
                etag=tree.etag, unchanged=True
            )
            assert await trees.get(GetTree(etag="other"), "uma") is tree
        over_grpc = await call(ingest.routes.GetTree, GetTree(), owner="uma")
        assert over_grpc == await here.get(GetTree(), "uma")
        attempt = await ingest.attempt(second.route_id, asset_id, owner="uma")

        async def rename() -> None:
            given = catalogue_pb2.Area(area_id=area.area_id, display_name="Wall")
            request = route_pb2.UpdateAreaRequest(area=given, update_mask=FieldMask(paths=["display_name"]))
            await call(ingest.routes.UpdateArea, request, owner="uma")

        async def regrade() -> None:
            given = catalogue_pb2.Route(route_id=second.route_id, grade="7a")
            await call(ingest.routes.UpdateRoute, route_pb2.UpdateRouteRequest(route=given), owner="uma")

        async def retry() -> None:
            request = route_pb2.DeleteAttemptRequest(attempt_id=attempt.attempt_id)
            await call(ingest.routes.DeleteAttempt, request, owner="uma")

        async def drop() -> None:
            request = route_pb2.DeleteRouteRequest(route_id=second.route_id)
            await call(ingest.routes.DeleteRoute, request, owner="uma")

        async def clear() -> None:
            await call(ingest.routes.DeleteArea, route_pb2.DeleteAreaRequest(area_id=area.area_id), owner="uma")

        etags = {over_grpc.etag}
        for change, then in (
            (None, [("Crag", [("A", "", 0), ("B", "6b", 1)])]),
            (rename, [("Wall", [("A", "", 0), ("B", "6b", 1)])]),
            (regrade, [("Wall", [("A", "", 0), ("B", "7a", 1)])]),
            (retry, [("Wall", [("A", "", 0), ("B", "7a", 0)])]),
            (drop, [("Wall", [("A", "", 0)])]),
            (clear, []),
        ):
            if change is not None:
                await change()
            for trees in (here, there):
                tree = await trees.get(GetTree(), "uma")
                assert shown(tree) == then
            assert tree.etag not in etags
            etags.add(tree.etag)
        assert shown(await here.get(GetTree(), "eve2")) == []


async def test_trees_are_their_owners_alone_and_few_are_kept(ingest: Any, postgres_url: str) -> None:
    await ingest.area("Hers", owner="ida")
    async with replica(postgres_url) as trees:
        for owner in ("ida", *(f"nobody{number}" for number in range(70))):
            tree = await trees.get(GetTree(), owner)
            assert [area.display_name for area in tree.areas] == (["Hers"] if owner == "ida" else [])
        assert len(trees.kept) == 64
        assert "ida" not in trees.kept


async def test_a_large_tree_is_built_once(ingest: Any, postgres_url: str) -> None:
    area = await ingest.area("Huge", owner="max")
    async with replica(postgres_url) as trees:
        rows = [
            {"route_id": f"huge{n:05d}", "area_id": area.area_id, "owner": "max", "display_name": f"r{n:05d}"}
            for n in range(10_000)
        ]
        async with trees.engine.begin() as connection:
            await connection.execute(insert(routes), [{**row, "description": "", "grade": ""} for row in rows])
        first = await trees.get(GetTree(), "max")
        assert len(first.areas[0].routes) == 10_000
        assert await trees.get(GetTree(), "max") is first
        over_grpc = await call(ingest.routes.GetTree, GetTree(), owner="max")
        assert over_grpc == first
        await call(ingest.routes.DeleteArea, route_pb2.DeleteAreaRequest(area_id=area.area_id), owner="max")
        assert shown(await trees.get(GetTree(), "max")) == []


async def find(ingest: Any, query: str, owner: str = "sam", **more: Any) -> browse_pb2.SearchCatalogueResponse:
    request = browse_pb2.SearchCatalogueRequest(query=query, **more)
    answer: browse_pb2.SearchCatalogueResponse = await call(ingest.routes.SearchCatalogue, request, owner=owner)
    return answer


def hits(found: browse_pb2.SearchCatalogueResponse) -> list[tuple[str, str, str]]:
    return [
        (str(hit.WhichOneof("item")), getattr(hit, str(hit.WhichOneof("item"))).display_name, hit.path)
        for hit in found.hits
    ]


async def test_the_catalogue_is_searched_by_words(ingest: Any, clip: bytes) -> None:
    granite = await ingest.area("Granite Dome", owner="sam", description="south face")
    lime = await ingest.area("Lime", owner="sam", description="no granite, 100% limestone")
    dome = await ingest.route(granite.area_id, "Dome Crack", owner="sam", grade="6b+", description="granite")
    await ingest.route(lime.area_id, "A_b", owner="sam", grade="V4")
    await ingest.route(lime.area_id, "Axb", owner="sam")
    asset_id = (await ingest.upload(clip, owner="sam")).asset_id
    await ingest.attempt(dome.route_id, asset_id, owner="sam", display_name="Onsight", notes="wet GRANITE")
    await ingest.area("Granite of eve", owner="eve")
    found = await find(ingest, "granite")
    assert hits(found) == [
        ("area", "Granite Dome", "Granite Dome"),
        ("route", "Dome Crack", "Granite Dome / Dome Crack"),
        ("area", "Lime", "Lime"),
        ("attempt", "Onsight", "Granite Dome / Dome Crack"),
    ]
    assert found.total_size == 4
    assert found.hits[0].area.route_count == 1
    assert found.hits[1].route.attempt_count == 1
    assert [name for _, name, _ in hits(await find(ingest, " crack  6B+ "))] == ["Dome Crack"]
    assert hits(await find(ingest, "granite crack lime")) == []
    assert [name for _, name, _ in hits(await find(ingest, "a_b"))] == ["A_b"]
    assert [name for _, name, _ in hits(await find(ingest, "100%"))] == ["Lime"]
    assert hits(await find(ingest, "\\")) == []
    first = await find(ingest, "granite", page_size=3)
    assert len(first.hits) == 3
    assert hits(await find(ingest, "granite", page_size=3, page_token=first.next_page_token)) == hits(found)[3:]
    assert hits(await find(ingest, "granite", skip=2)) == hits(found)[2:]
    for query, reason in ((" ", "MISSING_FIELD"), ("a" * 201, "OUT_OF_RANGE"), ("a " * 17, "OUT_OF_RANGE")):
        with pytest.raises(errors.InvalidArgument) as refused:
            await find(ingest, query)
        assert (refused.value.reason, refused.value.metadata["field"]) == (reason, "query")
