"""The route catalogue and matching, called from Python."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound
from kinemesh_client import Area, Attempt, KinemeshClient, Route

from .route_gateway import ETAG, METRICS, RouteGateway


@pytest.fixture
async def client(catalogue: RouteGateway) -> AsyncIterator[KinemeshClient]:
    """Calls a gateway that has a crag with a route and two attempts, of which one is measured."""
    catalogue.add("area", display_name="Crag")
    catalogue.add("route", area_id="area0", display_name="Arete", grade="6b+", attempt_count=2)
    catalogue.add("attempt", route_id="route0", asset_id="a", display_name="Flash", metrics=METRICS)
    catalogue.add("attempt", route_id="route0", asset_id="b")
    async with KinemeshClient(catalogue.url) as client:
        yield client


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_tree_is_not_sent_again_when_it_is_known(client: KinemeshClient, catalogue: RouteGateway) -> None:
    tree = await client.routes.tree()
    (area,) = tree.areas
    (route,) = area.routes
    assert (area.name, route.name, route.grade, route.attempts) == ("Crag", "Arete", "6b+", 2)
    assert tree.etag == ETAG
    assert await client.routes.tree(tree) is tree
    assert catalogue.asked[-1].headers["If-None-Match"] == ETAG


async def test_areas_and_routes_are_made_changed_and_deleted(client: KinemeshClient, catalogue: RouteGateway) -> None:
    area = await client.areas.create("Hall", "Downtown")
    assert (area.area_id, area.name, area.description, area.routes) == ("area1", "Hall", "Downtown", 0)
    route = await client.routes.create(area.area_id, "Slab", grade="V4")
    assert catalogue.last("POST", "routes").body == {
        "area_id": "area1",
        "display_name": "Slab",
        "grade": "V4",
        "description": "",
    }
    assert (await client.routes.update(route.route_id, {"reference_id": "wall"})).reference_id == "wall"
    assert [one.name for one in (await client.routes.list("area1")).items] == ["Arete", "Slab"]
    assert parse_qs(catalogue.asked[-1].query) == {"limit": ["20"], "area_id": ["area1"]}
    await client.routes.delete(route.route_id)
    await client.areas.delete(area.area_id)
    with pytest.raises(NotFound, match="No") as refused:
        await client.areas.get(area.area_id)
    assert refused.value.reason == "AREA_NOT_FOUND"
    with pytest.raises(InvalidArgument):
        await client.routes.get("../assets")


async def test_attempts_know_their_figures_and_stand_side_by_side(
    client: KinemeshClient, catalogue: RouteGateway
) -> None:
    first, second = (await client.attempts.list("route0")).items
    assert first.metrics is not None
    assert (first.metrics.moves, first.metrics.path_length) == (12, 1.625)
    assert second.metrics is None
    found = await client.attempts.compare("route0", [first.attempt_id, second.attempt_id])
    assert parse_qs(catalogue.asked[-1].query) == {"attempt_id": ["attempt0", "attempt1"]}
    assert [(row.metric, row.values) for row in found.rows] == [("moves", (12, None))]
    (recent, _) = (await client.attempts.recent()).items
    assert (recent.attempt.name, recent.route, recent.area) == ("Flash", "Arete", "Crag")


async def test_what_is_found_has_its_kind(client: KinemeshClient, catalogue: RouteGateway) -> None:
    hits = (await client.routes.search("slab & co")).items
    assert [type(hit.item) for hit in hits] == [Area, Route, Attempt, Attempt]
    assert parse_qs(catalogue.asked[-1].query)["q"] == ["slab & co"]


async def test_files_are_written_whole(client: KinemeshClient, catalogue: RouteGateway, tmp_path: Path) -> None:
    poses = await client.attempts.download("attempt0", "poses", tmp_path / "new" / "poses.parquet")
    assert poses.read_bytes() == b"poses"
    catalogue.refused["GET", "/api/v1/routes/references/wall/image"] = "REFERENCE_NOT_FOUND"
    with pytest.raises(FailedPrecondition):
        await client.references.download("wall", tmp_path / "wall.jpg")
    assert names_in(tmp_path) == ["new"]


async def test_temporary_files_are_counted_or_cleared(client: KinemeshClient, catalogue: RouteGateway) -> None:
    assert (await client.routes.clear_temporary(older_than_sec=3600, dry_run=True)).files == 3
    assert parse_qs(catalogue.asked[-1].query) == {"older_than_sec": ["3600"], "dry_run": ["true"]}
    await client.routes.clear_temporary()
    assert catalogue.asked[-1].query == ""


async def test_a_match_is_started_looked_at_and_deleted(client: KinemeshClient, catalogue: RouteGateway) -> None:
    options = {"mode": "multi", "style": {"color": "#ff0000"}}
    started = await client.matching.start(attempt_ids=["attempt0", "attempt1"], options=options)
    assert catalogue.last("POST", "match").body == {"attempt_ids": ["attempt0", "attempt1"], **options}
    assert (started.status, (await client.matching.status(started.job_id)).status) == ("queued", "completed")
    result = await client.matching.result(started.job_id)
    first, second = result.attempts
    assert (result.verdict, result.reference_features, first.verdict, second.verdict) == (
        "WEAK",
        5000,
        "MATCHED",
        "WEAK",
    )
    assert (first.matched_frames, first.interpolated_frames, first.unmatched_frames) == (50, 8, 2)
    assert first.metrics is not None
    assert first.metrics.holds_touched == 9
    assert second.metrics is None
    assert [(hold.number, hold.x, hold.attempts) for hold in result.holds] == [(1, 0.25, (1, 2))]
    (frame,) = (await client.matching.frames(started.job_id)).items
    assert (frame.frame_index, frame.verdict, frame.source) == (7, "CANNOT_MATCH", "interpolated")
    await client.matching.delete(started.job_id)
    assert catalogue.calls()[-1] == "DELETE match/job"


async def test_what_cannot_be_matched_is_an_error_with_its_counts(
    client: KinemeshClient, catalogue: RouteGateway
) -> None:
    catalogue.matches = False
    with pytest.raises(FailedPrecondition) as refused:
        await client.matching.result("job")
    assert refused.value.reason == "NOT_ENOUGH_MATCHES"
    assert refused.value.metadata == {"best_inliers": "5", "matched_frames": "0"}
    assert "shows the reference" in (await client.matching.status("job")).error
