"""How long is fuzzed: a bounded while with every run of the tests, longer by ``make fuzz MINUTES=…``."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from kinemesh.access.identity import READ, SCOPES, Identity
from kinemesh.access.tls import Tls
from kinemesh.access.tokens import Tokens
from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.testing.certificates import certificate, write_tls
from kinemesh.testing.fixtures import build_models


@dataclass(frozen=True, slots=True)
class Effort:
    """What a fuzzer may spend.

    :ivar seconds: after which it ends, done or not; generous, since machines differ.
    :ivar bounded: whether it ends as well after as many cases as a fuzzer says; else it goes on while there is time.
    :ivar seed: of its random numbers.
    """

    seconds: float
    bounded: bool
    seed: int


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """The same cases with every run; with KINEMESH_FUZZ_MINUTES, others each time, for so long over all fuzzers."""
    minutes = float(os.environ.get("KINEMESH_FUZZ_MINUTES", "0"))
    if not minutes:
        return Effort(30.0, True, 1)
    fuzzers = sum("effort" in getattr(item, "fixturenames", ()) for item in request.session.items)
    return Effort(60 * minutes / fuzzers, False, secrets.randbelow(2**31))


@dataclass(frozen=True, slots=True)
class Guarded:
    """A mesh that asks who calls, whose services show one another certificates; and what to tell and show it."""

    mesh: Mesh
    tokens: Mapping[str, str]
    tls: Tls


CALLERS: Mapping[str, Sequence[str]] = {"everything": SCOPES, "reading": (READ,), "nothing": ()}
"""What a caller may do; who may do nothing shows no token."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(open_folder: Path) -> AsyncIterator[Guarded]:
    """A mesh of one's own, with synthetic models: nobody else minds what becomes of it. It refuses nobody for calling
    often."""
    python, repository = build_models(open_folder / "models-mock", "mock")
    tls = certificate(trustme.CA())
    rates = {"KINEMESH_RATES__REQUESTS_PER_MINUTE": "10000000", "KINEMESH_RATES__FAILURES_PER_MINUTE": "10000"}
    config = MeshConfig(
        data_dir=open_folder / "fuzzed",
        models=TritonModels(python, repository),
        http_port=0,
        auth=True,
        durable=False,
        env={**rates, **write_tls(open_folder / "fuzzed-tls", tls)},
    )
    async with Mesh(config) as running:
        await running.start()
        issuer = Tokens(running.secrets.auth_secret)
        valid_s = 24 * 3600
        yield Guarded(
            running,
            {
                name: issuer.issue(Identity(name, frozenset(scopes)), valid_s) if scopes else ""
                for name, scopes in CALLERS.items()
            },
            tls,
        )
