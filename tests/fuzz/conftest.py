"""How long is fuzzed: a bounded while with every run of the tests, longer by ``make fuzz MINUTES=…``."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.testing.fixtures import build_models


@dataclass(frozen=True, slots=True)
class Effort:
    """What a fuzzer may spend.

    :ivar seconds: after which it ends, done or not; generous, since machines differ.
    :ivar cases: after which it ends as well; None goes on as long as there is time.
    :ivar seed: of its random numbers.
    """

    seconds: float
    cases: int | None
    seed: int


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """The same cases with every run; with KINEMESH_FUZZ_MINUTES, others each time, for so long over all fuzzers."""
    minutes = float(os.environ.get("KINEMESH_FUZZ_MINUTES", "0"))
    if not minutes:
        return Effort(30.0, 150, 1)
    fuzzers = sum("effort" in getattr(item, "fixturenames", ()) for item in request.session.items)
    return Effort(60 * minutes / fuzzers, None, secrets.randbelow(2**31))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fuzzed(open_folder: Path) -> AsyncIterator[Mesh]:
    """A mesh of one's own, with synthetic models: nobody else minds what becomes of it."""
    python, repository = build_models(open_folder / "models-mock", "mock")
    config = MeshConfig(
        data_dir=open_folder / "fuzzed", models=TritonModels(python, repository), http_port=0, durable=False
    )
    async with Mesh(config) as running:
        await running.start()
        yield running
