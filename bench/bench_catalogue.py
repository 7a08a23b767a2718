"""A large route catalogue: what its tree, pages and search take over REST.

::

    make bench-catalogue OUT=out/bench

A mesh of ingest and gateway alone gets 10,000 routes in 50 areas over gRPC. Then the tree is read over REST, again and
again in turn: first after a change, which makes ingest build it anew; then as ingest keeps it; then with the tag of a
copy that is the current one. Writes ``OUT/catalogue.json``, medians of each in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from kinemesh.embedded.mesh import Mesh, MeshConfig, mesh
from kinemesh.route.v1 import catalogue_pb2, route_pb2, route_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.testing.rest import Rest

_SERVICES: Final = ("ingest", "gateway")
_PATH: Final = "/api/v1/routes"
_OWNER: Final = "local"
_AT_ONCE: Final = 32
_CALL_S: Final = 60.0
_PAGE: Final = 100
_GRADES: Final = ("5c", "6a", "6a+", "6b", "6c+", "7a", "7b+", "8a")


def main() -> None:
    parser = argparse.ArgumentParser(description="A large route catalogue over REST.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--areas", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(measure(arguments.routes, arguments.areas, arguments.rounds))
    (arguments.out / "catalogue.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


async def measure(routes: int, areas: int, rounds: int) -> dict[str, Any]:
    """Fill a catalogue and read it."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-") as folder:
        config = MeshConfig(data_dir=Path(folder), services=_SERVICES, http_port=0, durable=False)
        async with mesh(config) as running, httpx.AsyncClient(timeout=_CALL_S) as http:
            started = time.perf_counter()
            last = await fill(running, routes, areas)
            seconds = time.perf_counter() - started
            return {
                "routes": routes,
                "areas": areas,
                "rounds": rounds,
                "fill_sec": round(seconds, 1),
                **await read(Rest(http, running.http_url, _OWNER), last, routes, rounds),
            }


async def fill(running: Mesh, routes: int, areas: int) -> catalogue_pb2.Route:
    """Create areas and routes, a bounded number at once; answers with the last route."""
    address = next(row.address for row in running.status() if row.name == "ingest")
    free = asyncio.Semaphore(_AT_ONCE)
    async with open_channel(address) as channel:
        stub: Any = route_pb2_grpc.RouteServiceStub(channel)

        async def create(number: int) -> catalogue_pb2.Route:
            route = catalogue_pb2.Route(
                area_id=halls[number % areas],
                display_name=f"Route {number:05d}",
                grade=_GRADES[number % len(_GRADES)],
                description=f"Line {number % 97} of the wall",
            )
            async with free:
                request = route_pb2.CreateRouteRequest(route=route)
                made: catalogue_pb2.Route = (
                    await call(stub.CreateRoute, request, owner=_OWNER, timeout_s=_CALL_S)
                ).route
                return made

        halls = []
        for number in range(areas):
            area = route_pb2.CreateAreaRequest(area=catalogue_pb2.Area(display_name=f"Hall {number:02d}"))
            halls.append((await call(stub.CreateArea, area, owner=_OWNER)).area.area_id)
        return (await asyncio.gather(*(create(number) for number in range(routes))))[-1]


async def read(rest: Rest, changed: catalogue_pb2.Route, routes: int, rounds: int) -> dict[str, Any]:
    """Medians of what is asked in turn; every answer is checked to be what it should be."""
    taken: dict[str, list[float]] = {name: [] for name in ("first", "cached", "unchanged", "page", "search")}

    async def ask(name: str, path: str, status: int = 200, **how: Any) -> httpx.Response:
        started = time.perf_counter()
        answer = await rest.call("GET", _PATH + path, **how)
        taken[name].append(1000 * (time.perf_counter() - started))
        if answer.status_code != status:
            raise SystemExit(f"{name} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer

    for number in range(rounds):
        grade = {"grade": _GRADES[number % len(_GRADES)]}
        (await rest.call("PATCH", f"{_PATH}/{changed.route_id}", json=grade)).raise_for_status()
        tree = await ask("first", "/tree")
        whole = sum(len(area["routes"]) for area in tree.json()["areas"])
        again = await ask("cached", "/tree")
        if whole != routes or again.content != tree.content:
            raise SystemExit(f"The tree has {whole} of {routes} routes, or is another one when it is read again.")
        await ask("unchanged", "/tree", 304, headers={"If-None-Match": tree.headers["ETag"]})
        page = await ask("page", "", params={"limit": _PAGE, "offset": routes // 2})
        found = await ask("search", "/search", params={"q": f"route {routes - 1 - number:05d}"})
        if len(page.json()["routes"]) != min(_PAGE, routes - routes // 2) or found.json()["total"] != 1:
            raise SystemExit("A page or a search has not what it should have.")
    ms = {name: round(statistics.median(values), 2) for name, values in taken.items()}
    return {
        "first_ms": ms["first"],
        "cached_ms": ms["cached"],
        "ratio": round(ms["first"] / ms["cached"], 2),
        "unchanged_ms": ms["unchanged"],
        "page_ms": ms["page"],
        "search_ms": ms["search"],
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['routes']} routes in {result['areas']} areas", box=None)
    for column in ("what", "ms"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, key in (
        ("tree after a change", "first_ms"),
        ("tree again", "cached_ms"),
        ("tree with If-None-Match", "unchanged_ms"),
        ("page of the list", "page_ms"),
        ("search", "search_ms"),
    ):
        table.add_row(what, f"{result[key]:.1f}")
    Console(highlight=False).print(table)
    Console(highlight=False).print(f"again: {result['ratio']} times as fast")


if __name__ == "__main__":
    main()
