"""The call graph of a made-up repository with every kind of call, and known ways through the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import callgraph_ast
from callgraph_edges import Graph, connect
from callgraph_index import Index, read

ROOT = Path(__file__).parents[2]

SHOP = {
    "lib/src/shop/__init__.py": "from shop.prices import price as cost\n",
    "lib/src/shop/prices.py": """
def price(name: str) -> int:
    return round(len(name))

def taxed(function):
    return function
""",
    "lib/src/shop/goods/__init__.py": "",
    "lib/src/shop/goods/things.py": """
from __future__ import annotations
from typing import Self
from ..prices import price as what_it_costs
from . import boxes

class Thing:
    def __init__(self, name: str) -> None:
        self.name = name
        self.box = boxes.Box()

    def worth(self) -> int:
        return self.own() + what_it_costs(self.name)

    def own(self) -> int:
        return 0

    @property
    def packed(self) -> boxes.Box:
        return self.box

    @classmethod
    def made(cls) -> Self:
        return cls("made")

class Jewel(Thing):
    def own(self) -> int:
        return super().own() + self.polish()

    def polish(self) -> int:
        return 1
""",
    "lib/src/shop/goods/boxes.py": """
class Box:
    def open(self) -> None: ...
    async def __aenter__(self): return self
    async def __aexit__(self, *_): ...
""",
    "till/src/till/main.py": """
import asyncio, math
import shop.prices
import shop.goods.things as goods
from dataclasses import dataclass
from shop import cost
from shop.goods.boxes import Box
from shop.prices import taxed

@dataclass
class Basket:
    thing: goods.Thing

@taxed
def total(things: list[goods.Thing]) -> float:
    def one(thing):
        return thing.worth()
    for thing in things:
        thing.box.open()
    return math.fsum(map(one, things))

async def checkout(jewel: goods.Jewel | None) -> None:
    basket = Basket(goods.Thing.made())
    basket.thing.packed.open()
    jewel.polish()
    async with Box() as box:
        box.open()
    await later(cost)
    shop.prices.price("x")
    (lambda: total([]))()
    unknown.thing()

async def later(function): function("y")
""",
    "mesh/src/mesh/topology.py": """
STAGES = ("cut", "sew")
def task_subject(stage): return f"task.{stage}"
def outcome_subject(job): return f"outcome.{job}"
DONE = consumer(outcome_subject("*"))
""",
    "mesh/src/mesh/asking.py": """
from typing import Any
from tailor.v1 import tailor_pb2_grpc
from mesh.topology import task_subject

class Remote:
    def __init__(self, channel) -> None:
        self._tailor: Any = tailor_pb2_grpc.TailorServiceStub(channel)

    async def ask(self, bus) -> None:
        await call(self._tailor.Measure)
        await bus.publish(task_subject("sew"), b"")

async def all_stages(bus, stage): await bus.publish(task_subject(stage), b"")
async def call(method): return await method()
""",
    "mesh/src/mesh/answering.py": """
from tailor.v1 import tailor_pb2_grpc
from mesh.topology import DONE, outcome_subject

class TailorRpc(tailor_pb2_grpc.TailorServiceServicer):
    async def Measure(self, request, context): ...

class Worker:
    async def cut(self, task): ...
    async def sew(self, task): await task.bus.publish(outcome_subject(task.job), b"")

def wire(bus):
    worker = Worker()
    work(bus, (("cut", worker.cut, 2), ("sew", worker.sew, 1)))
    async def on_done(message): ...
    consume(bus, DONE, on_done)
""",
    "tests/test_shop.py": "from shop.prices import price\ndef test_price(): price('')\n",
}


def write(folder: Path) -> Path:
    for name, text in SHOP.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, Graph]:
    index = read(write(tmp_path_factory.mktemp("shop")))
    return index, connect(index)


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    return {(edge.caller, edge.callee, edge.kind) for edge in graph.lines}


@pytest.mark.parametrize(
    ("caller", "callee", "kind"),
    [
        pytest.param("shop.goods.things.Thing.worth", "shop.prices.price", "call", id="relative import, renamed"),
        pytest.param("shop.goods.things.Thing.worth", "shop.goods.things.Thing.own", "call", id="method of self"),
        pytest.param(
            "shop.goods.things.Thing.worth", "shop.goods.things.Jewel.own", "call", id="method that overrides"
        ),
        pytest.param("shop.goods.things.Jewel.own", "shop.goods.things.Thing.own", "call", id="super"),
        pytest.param("shop.goods.things.Thing.made", "shop.goods.things.Thing.__init__", "call", id="cls"),
        pytest.param("till.main", "shop.prices.taxed", "reference", id="decorator"),
        pytest.param("till.main.total", "shop.goods.boxes.Box.open", "call", id="element, field of another class"),
        pytest.param("till.main.total", "till.main.total.one", "reference", id="nested function, handed on"),
        pytest.param("till.main.checkout", "shop.goods.things.Jewel.polish", "call", id="optional parameter"),
        pytest.param("till.main.checkout", "shop.goods.things.Thing.made", "call", id="class method by module alias"),
        pytest.param("till.main.checkout", "till.main.Basket", "call", id="class without a method for it"),
        pytest.param("till.main.checkout", "shop.goods.boxes.Box.open", "call", id="property, async with"),
        pytest.param("till.main.checkout", "shop.prices.price", "reference", id="handed on by a package"),
        pytest.param("till.main.checkout", "shop.prices.price", "call", id="dotted import"),
        pytest.param("till.main.checkout", "till.main.later", "call", id="async"),
        pytest.param("till.main.checkout", "till.main.total", "call", id="lambda"),
        pytest.param("mesh.asking.Remote.ask", "mesh.answering.TailorRpc.Measure", "grpc", id="stub to servicer"),
        pytest.param("mesh.asking.Remote.ask", "mesh.answering.Worker.sew", "subject", id="task of one stage"),
        pytest.param("mesh.asking.all_stages", "mesh.answering.Worker.cut", "subject", id="task of any stage"),
        pytest.param("mesh.answering.Worker.sew", "mesh.answering.wire.on_done", "subject", id="outcome to consumer"),
    ],
)
def test_every_kind_of_call(shop: tuple[Index, Graph], caller: str, callee: str, kind: str) -> None:
    assert (caller, callee, kind) in edges(shop[1])


def test_nothing_else_is_joined(shop: tuple[Index, Graph]) -> None:
    _, graph = shop
    assert ("mesh.asking.Remote.ask", "mesh.answering.Worker.cut", "subject") not in edges(graph)
    assert ("shop.goods.things.Jewel.own", "shop.goods.things.Jewel.own", "call") not in edges(graph)
    assert {edge.callee for edge in graph.lines if edge.caller == "mesh.answering.Worker.sew"} <= {
        "mesh.topology.outcome_subject", "mesh.answering.wire.on_done",
    }  # fmt: skip
    assert not any(edge.caller.startswith("tests") for edge in graph.lines)


def test_calls_are_counted(shop: tuple[Index, Graph]) -> None:
    counts = shop[1].counts
    assert counts["calls"] == counts["resolved"] + counts["external"] + counts["unresolved"]
    # unknown.thing, task.bus.publish, and what parameters without a type are asked for.
    assert 1 <= counts["unresolved"] <= 15
    assert counts["external"] >= 4


def test_tests_are_read_if_asked_for(tmp_path: Path) -> None:
    index = read(write(tmp_path), tests=True)
    assert ("tests.test_shop.test_price", "shop.prices.price", "call") in edges(connect(index))
    assert set(read(tmp_path, ("shop.goods",)).modules) == {"shop.goods", "shop.goods.things", "shop.goods.boxes"}


def test_what_is_around_a_function(shop: tuple[Index, Graph]) -> None:
    index, graph = shop
    callees = callgraph_ast.around(index, graph, "Thing.worth", 1, "callees")
    assert {name.rpartition("goods.")[2] for name in callees} == {
        "things.Thing.worth", "things.Thing.own", "things.Jewel.own", "shop.prices.price",
    }  # fmt: skip
    callers = callgraph_ast.around(index, graph, "shop.goods.things.Thing.own", 2, "callers")
    assert "shop.goods.things.Jewel.own" in callers
    assert "shop.prices.price" not in callers
    with pytest.raises(callgraph_ast.UnknownFunction, match=r"Thing\.own, .*Jewel\.own"):
        callgraph_ast.around(index, graph, "own", 1, "both")


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    index = read(ROOT)
    return callgraph_ast.describe(index, connect(index))


@pytest.mark.parametrize(
    ("caller", "callee", "kind"),
    [
        ("kinemesh_gateway.rest.jobs.create_job", "kinemesh_gateway.rest.jobs.create", "call"),
        ("kinemesh_gateway.rest.areas.create_area", "kinemesh_ingest.climbing.rpc.RouteRpc.CreateArea", "grpc"),
        ("kinemesh_gateway.rest.tracks.query_tracks", "kinemesh_detect_track.rpc.DetectTrackRpc.QueryTracks", "grpc"),
        ("kinemesh_matcher.catalogue.Catalogue.require_picture", "kinemesh_ingest.rpc.AssetRpc.GetAsset", "grpc"),
        ("kinemesh_ingest.conductor._publish", "kinemesh_pose.worker.Worker.pose", "subject"),
        ("kinemesh.bus.tasks._publish_outcome", "kinemesh_ingest.worker.conduct.on_outcome", "subject"),
    ],
)
def test_known_ways_through_the_mesh(real: dict[str, Any], caller: str, callee: str, kind: str) -> None:
    found = {(call["caller"], call["callee"], call["kind"]) for call in real["calls"]}
    assert (caller, callee, kind) in found


def test_little_of_the_mesh_cannot_be_told(real: dict[str, Any]) -> None:
    assert real["counts"]["unresolved"] < 0.03 * real["counts"]["calls"]


def test_the_command_gives_the_same_bytes_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "shop")
    command = [sys.executable, "tools/callgraph_ast.py", "--root", str(folder)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    first = run()
    assert first.returncode == 0
    assert run("--out", str(tmp_path / "graph.json")).stdout == ""
    assert (tmp_path / "graph.json").read_text() == first.stdout
    focused = json.loads(run("--focus", "Remote.ask", "--depth", "1", "--direction", "callees").stdout)
    assert {call["kind"] for call in focused["calls"] if call["caller"] == "mesh.asking.Remote.ask"} >= {
        "grpc",
        "subject",
    }
    refused = run("--focus", "nobody")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "nobody" in refused.stderr
