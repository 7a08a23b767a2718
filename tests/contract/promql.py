"""Which labels a PromQL expression answers with, given the metrics that there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to whatever it reads."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A series as it is exposed.

    :ivar repeated: told by several processes alike, so that only ``max`` makes sense of it.
    """

    labels: frozenset[str]
    repeated: bool = False


def labels_of(text: str, known: Mapping[str, Measured]) -> frozenset[str]:
    """Labels of the answer.

    :raises ValueError: if the expression cannot be read, or speaks of metrics or labels that do not exist, or sums what
        several processes tell alike.
    """
    return _labels(promql.parse(text.replace("$__rate_interval", "5m")), known, aggregated="") or frozenset()


def _labels(expression: Any, known: Mapping[str, Measured], aggregated: str) -> frozenset[str] | None:
    """None for a scalar."""
    match expression:
        case promql.VectorSelector():
            return _selected(expression, known, aggregated)
        case promql.MatrixSelector():
            return _selected(expression.vector_selector, known, aggregated)
        case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
            return _labels(expression.expr, known, aggregated)
        case promql.AggregateExpr():
            by = frozenset(expression.modifier.labels) if expression.modifier else frozenset()
            _require(by, _labels(expression.expr, known, str(expression.op)) or frozenset(), str(expression.op))
            return by
        case promql.Call():
            vectors = [one for one in (_labels(each, known, aggregated) for each in expression.args) if one is not None]
            if not vectors:
                return None
            [found] = vectors
            if expression.func.name == "histogram_quantile":
                _require({"le"}, found, "histogram_quantile")
                return found - {"le"}
            return found
        case promql.BinaryExpr():
            left, right = (_labels(side, known, aggregated) for side in (expression.lhs, expression.rhs))
            matching = expression.modifier.matching if expression.modifier else None
            if left is None or right is None:
                return right if left is None else left
            if matching is not None:
                _require(matching.labels, left & right, "on")
            elif left != right:
                raise ValueError(f"{sorted(left)} and {sorted(right)} never match in {expression.prettify()}")
            return left
        case promql.NumberLiteral() | promql.StringLiteral():
            return None
    raise ValueError(f"{type(expression).__name__} is not known here")


def _selected(selector: Any, known: Mapping[str, Measured], aggregated: str) -> frozenset[str]:
    if selector.name not in known:
        raise ValueError(f"there is no metric {selector.name}")
    measured = known[selector.name]
    if measured.repeated and aggregated != "max":
        raise ValueError(f"{selector.name} is told by every replica: take the max")
    labels = measured.labels | SCRAPED
    _require(re.findall(r'(\w+)(?:=~|!~|!=|=)"', str(selector.matchers)), labels, selector.name)
    return labels


def _require(wanted: Any, available: frozenset[str], where: str) -> None:
    if missing := set(wanted) - available:
        raise ValueError(f"{where} has no label {', '.join(sorted(missing))}; it has {', '.join(sorted(available))}")
