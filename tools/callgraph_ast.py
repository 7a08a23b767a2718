"""The call graph of Python sources as JSON, read by ``ast`` alone: nothing is imported or run.

``tools/callgraph_ast.py --focus kinemesh_gateway.rest.jobs.create_job --depth 3`` tells what a call of the API leads
to, also in other services: gRPC calls lead to the servicer's methods, published tasks and messages to their handlers.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from callgraph_edges import Edge, Graph, connect
from callgraph_index import Definition, Index, Scope, read

VERSION = "v1"
ROOT = Path(__file__).resolve().parent.parent
DIRECTIONS = ("callees", "callers", "both")


class UnknownFunction(Exception):
    """The function that is asked for is not there."""


def describe(index: Index, graph: Graph, names: set[str] | None = None) -> dict[str, Any]:
    """The graph as JSON has it; of ``names`` alone, if given.

    ``modules`` and ``classes`` by name; ``functions`` with ``path``, ``line``, ``async``, ``decorators``; ``calls``
    with ``caller``, ``callee``, ``kind``, ``via``, ``lines``; ``counts``. What runs when a module is loaded has the
    module as its caller, a class's body the class.
    """
    edges = [edge for edge in sorted(graph.lines) if names is None or {edge.caller, edge.callee} <= names]
    shown = set(names) if names is not None else None
    modules = (
        {index.functions[n].module for n in shown if n in index.functions} if shown is not None else set(index.modules)
    )
    counts = {"modules": len(index.modules), "classes": len(index.classes), "functions": len(index.functions)}
    return {
        "version": VERSION,
        "counts": counts | graph.counts | {"edges": len(graph.lines)},
        "modules": [{"name": name, "path": index.modules[name].path} for name in sorted(modules)],
        "classes": [_class(index.classes[name]) for name in sorted(index.classes) if shown is None or name in shown],
        "functions": [
            _function(index.functions[name]) for name in sorted(index.functions) if shown is None or name in shown
        ],
        "calls": [
            {
                "caller": edge.caller,
                "callee": edge.callee,
                "kind": edge.kind,
                "via": edge.via,
                "lines": sorted(graph.lines[edge]),
            }
            for edge in edges
        ],
    }


def around(index: Index, graph: Graph, focus: str, depth: int, direction: str) -> set[str]:
    """Functions within ``depth`` calls of one.

    :param focus: full name, or the end of one that no other has.
    :raises UnknownFunction: if none or several are called so.
    """
    named = [name for name in (*index.functions, *index.classes) if name == focus or name.endswith(f".{focus}")]
    exact = [name for name in named if name == focus] or named
    if len(exact) != 1:
        some = ", ".join(exact[:8]) or "none"
        raise UnknownFunction(f"{focus}: one function must be called so, but these are: {some}")
    found = set(exact)
    for forward in {"callees": (True,), "callers": (False,), "both": (True, False)}[direction]:
        neighbours = _neighbours(graph.lines, forward=forward)
        reached, border = set(exact), set(exact)
        for _ in range(depth):
            border = {name for inner in border for name in neighbours.get(inner, ())} - reached
            reached |= border
        found |= reached
    return found


def _neighbours(edges: Iterable[Edge], *, forward: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for edge in edges:
        here, there = (edge.caller, edge.callee) if forward else (edge.callee, edge.caller)
        found.setdefault(here, set()).add(there)
    return found


def _class(scope: Scope) -> dict[str, Any]:
    assert isinstance(scope.node, ast.ClassDef)
    bases = [ast.unparse(base) for base in scope.node.bases]
    return {"name": scope.name, "path": scope.path, "line": scope.node.lineno, "bases": bases}


def _function(scope: Scope) -> dict[str, Any]:
    assert isinstance(scope.node, Definition)
    return {
        "name": scope.name,
        "path": scope.path,
        "line": scope.node.lineno,
        "async": isinstance(scope.node, ast.AsyncFunctionDef),
        "decorators": [ast.unparse(decorator) for decorator in scope.node.decorator_list],
    }


def main() -> int:
    """Read, and write JSON to stdout or into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder to read; this repository without it")
    parser.add_argument(
        "--package", action="append", default=[], help="only modules of this name and below; may be repeated"
    )
    parser.add_argument("--tests", action="store_true", help="also what is in folders called tests")
    parser.add_argument("--focus", help="only what is around this function: its full name or the end of it")
    parser.add_argument("--depth", type=int, default=2, help="how many calls around it (2)")
    parser.add_argument("--direction", choices=DIRECTIONS, default="both", help="whom it calls, who calls it, or both")
    parser.add_argument("--out", type=Path, help="file to write; standard output without it")
    given = parser.parse_args()
    index = read(given.root.resolve(), tuple(given.package), tests=given.tests)
    graph = connect(index)
    try:
        names = around(index, graph, given.focus, given.depth, given.direction) if given.focus else None
    except UnknownFunction as error:
        sys.stderr.write(f"{error}\n")
        return 2
    content = json.dumps(describe(index, graph, names), indent=1, ensure_ascii=False) + "\n"
    if given.out is None:
        sys.stdout.write(content)
    else:
        given.out.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
