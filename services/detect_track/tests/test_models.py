"""Models come and go while the service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.inference import TritonClient
from kinemesh.testing.fixtures import TritonServer
from kinemesh_detect_track.models import Models

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
    assert (await Models(triton, known_s=60).detector("")).name == MODEL


async def test_a_model_that_goes_and_comes_back_is_noticed_at_once(triton: TritonClient) -> None:
    models = Models(triton, known_s=3600)
    model = await models.detector(MODEL)
    assert len((await models.look(model, PICTURE)).scores) == 2
    await triton.unload(MODEL)
    assert await models.detector(MODEL) is model  # what was asked for a moment ago is believed
    with pytest.raises(errors.KinemeshError):
        await models.look(model, PICTURE)
    with pytest.raises(errors.KinemeshError):
        await models.detector(MODEL)
    await triton.load(MODEL)
    assert await models.detector(MODEL) == model
    assert len((await models.look(model, PICTURE)).scores) == 2


async def test_without_any_detector_one_is_asked_for(triton: TritonClient) -> None:
    await triton.unload(MODEL)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await Models(triton, known_s=60).detector("")
    assert refused.value.reason == "MODEL_REQUIRED"


async def test_what_is_known_is_asked_for_again(triton: TritonClient) -> None:
    models = Models(triton, known_s=0)
    model = await models.detector(MODEL)
    await triton.unload(MODEL)
    with pytest.raises(errors.KinemeshError):
        await models.detector(MODEL)
    await triton.load(MODEL)
    assert await models.detector(MODEL) == model
