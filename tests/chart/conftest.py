"""The chart's examples, rendered once per session."""

from __future__ import annotations

import chart
import pytest


@pytest.fixture(scope="session", params=chart.examples())
def example(request: pytest.FixtureRequest) -> str:
    """The name of an example."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def documents(example: str) -> tuple[chart.Document, ...]:
    """What the chart makes of an example; shared, so not to be changed."""
    return chart.example(example)
