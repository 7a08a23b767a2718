"""Models come and go while the server runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kinemesh.embedded.ports import free_ports
from kinemesh.errors import FailedPrecondition, NotFound, Unavailable
from kinemesh.inference import TritonClient, TritonSettings

INPUTS: dict[str, npt.NDArray[Any]] = {"DATA": np.zeros((2, 2), np.uint8), "WAIT_MS": np.zeros(1, np.float32)}


@pytest.fixture
def copy(echo_repository: Path) -> Iterator[Path]:
    """The folder of a model ``copy`` that Triton has not been told of."""
    folder = echo_repository / "copy"
    shutil.copytree(echo_repository / "echo", folder)
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace('"echo"', '"copy"'))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_model_is_served_from_when_it_is_loaded_until_it_is_unloaded(client: TritonClient, copy: Path) -> None:
    for _ in range(2):
        await client.load("copy")
        assert (await client.loaded())["copy"]
        assert (await client.infer("copy", INPUTS, ["ECHO"]))["ECHO"].shape == (2, 2)
    for _ in range(2):
        await client.unload("copy")
        assert not (await client.loaded())["copy"]
    assert (await client.loaded())["echo"]


async def test_a_model_that_cannot_be_loaded_says_so(client: TritonClient, copy: Path) -> None:
    (copy / "1" / "model.py").write_text("raise RuntimeError('a detail that nobody outside shall see')")
    with pytest.raises(FailedPrecondition) as refused:
        await client.load("copy")
    assert refused.value.reason == "MODEL_LOAD_FAILED"
    assert "detail" not in str(refused.value)


async def test_a_model_that_is_not_there_is_not_found(client: TritonClient) -> None:
    with pytest.raises(NotFound) as unknown:
        await client.load("nowhere")
    assert unknown.value.reason == "MODEL_NOT_FOUND"
    await client.unload("nowhere")


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{free_ports(1)[0]}")) as away:
        for change in (away.load, away.unload):
            with pytest.raises(Unavailable):
                await change("echo")
