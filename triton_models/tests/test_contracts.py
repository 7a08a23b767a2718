"""Tensor contracts of both sets, through the real server."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh.inference import TritonClient
from kinemesh.testing.fixtures import TritonServer

MANIFEST = Path(__file__).parents[1] / "src" / "kinemesh_models" / "models.toml"
CONTRACTS = tomllib.loads(MANIFEST.read_text())["contracts"]


@pytest_asyncio.fixture(params=["mock", "default"], loop_scope="session")
async def client(
    request: pytest.FixtureRequest, triton_server: TritonServer, default_triton_server: TritonServer
) -> AsyncIterator[TritonClient]:
    server = {"mock": triton_server, "default": default_triton_server}[request.param]
    async with TritonClient(server.settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def real(default_triton_server: TritonServer) -> AsyncIterator[TritonClient]:
    async with TritonClient(default_triton_server.settings) as running:
        yield running


def noise(name: str, count: int) -> NDArray[np.uint8]:
    """Images for a model: smooth blobs, so that networks have something to disagree about."""
    (tensor,) = CONTRACTS[name]["inputs"]
    height, width, channels = tensor["shape"]
    if width < 0:
        height, width = 256, CONTRACTS[name]["size"]
    coarse = np.random.default_rng(11).integers(0, 256, (count, height // 16, width // 16, channels), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


async def infer(client: TritonClient, name: str, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    contract = CONTRACTS[name]
    outputs = [output["name"] for output in contract["outputs"]]
    return await client.infer(name, {contract["inputs"][0]["name"]: images}, outputs)


@pytest.mark.parametrize("name", CONTRACTS)
async def test_contract(client: TritonClient, name: str) -> None:
    metadata = await client.metadata(name)
    for kind in ("inputs", "outputs"):
        declared = [(t["name"], t["type"], [-1, *t["shape"]]) for t in CONTRACTS[name][kind]]
        served = [(t["name"], t["datatype"], [int(size) for size in t["shape"]]) for t in metadata[kind]]
        assert served == declared
    answer = await infer(client, name, noise(name, 3))
    for output in CONTRACTS[name]["outputs"]:
        assert answer[output["name"]].shape == (3, *output["shape"])
        assert answer[output["name"]].dtype == np.float32
        assert np.isfinite(answer[output["name"]]).all()


@pytest.mark.parametrize("name", CONTRACTS)
async def test_batch_and_company_change_no_bit(client: TritonClient, name: str) -> None:
    images = noise(name, 5)
    together = await infer(client, name, images)
    alone = await asyncio.gather(*(infer(client, name, image[None]) for image in images))
    for output, value in together.items():
        np.testing.assert_array_equal(value, np.concatenate([answer[output] for answer in alone]))


async def test_empty_picture_shows_nobody(real: TritonClient) -> None:
    people = await infer(real, "pose_detector", np.zeros((1, 224, 224, 3), np.uint8))
    faces = await infer(real, "face_detector", np.zeros((1, 192, 192, 3), np.uint8))
    body = await infer(real, "pose_landmarks", np.zeros((1, 256, 256, 3), np.uint8))
    boxes = await infer(real, "person_detector", np.zeros((1, 288, 480, 3), np.uint8))
    # It answers with all it has from 0.05 on; jobs take what scores more.
    assert boxes["boxes"][..., 4].max() < 0.4
    assert not people["detections"].any()
    assert not faces["faces"].any()
    assert body["score"].max() < 0.5
