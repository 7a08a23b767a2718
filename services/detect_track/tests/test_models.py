"""Models come and go while the service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.inference import TritonClient
from kinemesh.testing.fixtures import TritonServer
from kinemesh_detect_track.models import Detectors

MODEL = "person_detector"
PICTURE = np.full((240, 320, 3), 90, np.uint8)


@pytest_asyncio.fixture(loop_scope="session")
async def triton(triton_server: TritonServer) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton_server.settings) as client:
        try:
            yield client
        finally:
            await client.load(MODEL)


async def test_who_names_no_detector_gets_the_preferred_one(triton: TritonClient) -> None:
    assert (await Detectors(triton, known_s=60).named("")).name == MODEL


async def test_a_model_that_goes_and_comes_back_is_noticed_at_once(triton: TritonClient) -> None:
    detectors = Detectors(triton, known_s=3600)
    model = await detectors.named(MODEL)
    assert len((await detectors.look(model, PICTURE)).scores) == 2
    await triton.unload(MODEL)
    assert await detectors.named(MODEL) is model  # what was asked for a moment ago is believed
    with pytest.raises(errors.KinemeshError):
        await detectors.look(model, PICTURE)
    with pytest.raises(errors.KinemeshError):
        await detectors.named(MODEL)
    await triton.load(MODEL)
    assert await detectors.named(MODEL) == model
    assert len((await detectors.look(model, PICTURE)).scores) == 2


async def test_without_any_detector_one_is_asked_for(triton: TritonClient) -> None:
    await triton.unload(MODEL)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await Detectors(triton, known_s=60).named("")
    assert refused.value.reason == "MODEL_REQUIRED"


async def test_what_is_known_is_asked_for_again(triton: TritonClient) -> None:
    detectors = Detectors(triton, known_s=0)
    model = await detectors.named(MODEL)
    await triton.unload(MODEL)
    with pytest.raises(errors.KinemeshError):
        await detectors.named(MODEL)
    await triton.load(MODEL)
    assert await detectors.named(MODEL) == model
