"""Many who watch a site at once: a short form of ``make bench-site``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_everybody_who_watches_gets_every_step_in_order(bench: Callable[..., dict[str, Any]]) -> None:
    """Four cameras, fifty clients, one of whom never reads."""
    figures = bench("bench_site", "site.json", "--seconds", "20", "--rounds", "1", "--watchers", "50")
    assert (figures["cameras"], figures["steps"], figures["watchers"]) == (4, 200, 50)
    assert figures["badly_served"] == []
