"""Tiny embedders whose answers are known, and others that are no use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.testing.onnx_networks import Graph, Size, node

# What describes colours and draws people needs numpy and OpenCV alone, which the services' environment has as well.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

HEIGHT, WIDTH = 64, 32
CELL, CHANNELS = 16, 4
DIMENSION = CHANNELS * (HEIGHT // CELL) * (WIDTH // CELL)
KERNEL = np.random.default_rng(5).normal(0, 1 / CELL**2, (CHANNELS, 3, CELL, CELL)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Networks:
    """A folder of networks by name."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"


@pytest.fixture(scope="session")
def expected() -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """What the good embedders answer to a picture [3, 64, 32] as they see it, at length one."""

    def answer(values: NDArray[np.float32]) -> NDArray[np.float64]:
        cells = values.reshape(3, HEIGHT // CELL, CELL, WIDTH // CELL, CELL).astype(np.float64)
        vector = np.einsum("kchw,cyhxw->kyx", KERNEL.astype(np.float64), cells).ravel()
        return np.asarray(vector / np.linalg.norm(vector))

    return answer


def picture_first(batch: Size = 1, *, last: bool = False, channels: int = 3) -> Graph:
    """A graph that has its picture as ``planes`` [N, C, H, W]."""
    shape = [batch, HEIGHT, WIDTH, channels] if last else [batch, channels, HEIGHT, WIDTH]
    perm = [0, 3, 1, 2] if last else [0, 1, 2, 3]
    return Graph({"picture": shape}, nodes=[node("Transpose", ["picture"], "planes", perm=perm)])


def embedder(batch: Size = 1, *, last: bool = False, output: str = "vector") -> Graph:
    """Looks at every cell of 16 × 16 pixels with :data:`KERNEL`."""
    graph = picture_first(batch, last=last)
    graph.constants["kernel"] = KERNEL
    graph.nodes += [
        node("Conv", ["planes", "kernel"], "cells", kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        node("Flatten", ["cells"], output),
    ]
    graph.outputs[output] = [batch, DIMENSION]
    return graph


def after(*nodes: bytes, **constants: NDArray[Any]) -> Graph:
    """:func:`embedder` with something behind it, from ``before`` to ``vector``."""
    graph = embedder(output="before")
    graph.nodes += nodes
    graph.constants |= constants
    graph.outputs = {"vector": [1, DIMENSION]}
    return graph


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    found = Networks(tmp_path_factory.mktemp("embedders"))
    for name, graph in {**good(), **unusual(), **useless()}.items():
        graph.write(found[name])
    return found


def good() -> dict[str, Graph]:
    """Embedders that all answer alike; see :func:`expected`."""
    eight = embedder(8, output="before")
    eight.constants["eight"] = np.array([8, DIMENSION], np.int64)
    eight.nodes.append(node("Reshape", ["before", "eight"], "vector"))
    eight.outputs = {"vector": [8, DIMENSION]}
    mapped = after(node("Reshape", ["before", "map"], "vector"), map=np.array([1, DIMENSION, 1, 1], np.int64))
    mapped.outputs = {"vector": [1, DIMENSION, 1, 1]}
    # OpenVINO has no determinant.
    foreign = after(
        node("Det", ["identity"], "one"),
        node("Mul", ["before", "one"], "vector"),
        identity=np.eye(2, dtype=np.float32),
    )
    bytes_in = picture_first()
    bytes_in.nodes = [node("Cast", ["picture"], "planes", to=1), *embedder().nodes[1:]]
    bytes_in.constants, bytes_in.kinds = {"kernel": KERNEL}, {"picture": 2}
    bytes_in.outputs["vector"] = [1, DIMENSION]
    return {
        "first": embedder(),
        "last": embedder(last=True),
        "open": embedder("batch"),
        "eight": eight,
        "several": embedder(8),
        "mapped": mapped,
        "foreign": foreign,
        "bytes": bytes_in,
    }


def unusual() -> dict[str, Graph]:
    """An embedder of half floats, and one of any size."""
    half = picture_first()
    half.nodes = [node("Cast", ["picture"], "planes", to=1), *embedder().nodes[1:]]
    half.constants, half.kinds = {"kernel": KERNEL}, {"picture": 10}
    half.outputs["vector"] = [1, DIMENSION]
    free = embedder("batch")
    free.inputs, free.outputs = {"picture": ["batch", 3, "height", "width"]}, {"vector": ["batch", "features"]}
    return {"half": half, "free": free}


def useless() -> dict[str, Graph]:
    """Networks that no person can be recognised by, each for a reason of its own."""
    zero, never = np.zeros((), np.float32), np.array(np.nan, np.float32)
    rows = np.random.default_rng(6).normal(0, 1, (1, DIMENSION)).astype(np.float32)
    constant = after(node("Mul", ["before", "zero"], "n"), node("Add", ["n", "rows"], "vector"), zero=zero, rows=rows)
    # Longer for a brighter picture, but always in one direction.
    direction = after(
        node("ReduceMean", ["planes"], "mean", keepdims=0),
        node("Abs", ["mean"], "length"),
        node("Mul", ["rows", "length"], "vector"),
        rows=rows,
    )
    dark = after(
        node("ReduceSum", ["picture"], "sum", keepdims=0),
        node("Div", ["before", "sum"], "vector"),
    )
    restless = after(node("RandomNormalLike", ["before"], "noise"), node("Add", ["before", "noise"], "vector"))
    two = after(node("Neg", ["before"], "vector"), node("Identity", ["before"], "other"))
    two.outputs["other"] = [1, DIMENSION]
    pair = after(node("Add", ["before", "second"], "vector"))
    pair.inputs["second"] = [1, DIMENSION]
    number = after(node("ReduceMean", ["before"], "vector", axes=[1]))
    number.outputs = {"vector": [1, 1]}
    counted = after(node("Cast", ["before"], "vector", to=7))
    counted.kinds["vector"] = 7
    grid = picture_first()
    grid.nodes.append(node("Identity", ["planes"], "vector"))
    grid.outputs["vector"] = [1, 3, HEIGHT, WIDTH]
    grey = picture_first(channels=1)
    grey.nodes.append(node("Flatten", ["planes"], "vector"))
    grey.outputs["vector"] = [1, HEIGHT * WIDTH]
    large = Graph({"picture": [1, 3, 2048, 1024]}, {"vector": [1, 3]})
    large.nodes = [node("ReduceMean", ["picture"], "vector", axes=[2, 3], keepdims=0)]
    many = embedder(128)
    return {
        "constant": constant,
        "zero": after(node("Mul", ["before", "zero"], "vector"), zero=zero),
        "direction": direction,
        "nan": after(node("Mul", ["before", "never"], "vector"), never=never),
        "dark": dark,
        "restless": restless,
        "two": two,
        "pair": pair,
        "number": number,
        "counted": counted,
        "grid": grid,
        "grey": grey,
        "large": large,
        "many": many,
    }
