from __future__ import annotations

import asyncio
import traceback
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from kinemesh.embedded.ports import free_ports
from kinemesh.errors import DeadlineExceeded, Internal, InvalidArgument, NotFound, Unavailable
from kinemesh.inference import Sequence, TritonClient, TritonSettings
from kinemesh.testing.fixtures import TritonServer

from .conftest import Regions


def echo(size: int, seed: int = 0, wait_ms: float = 0) -> dict[str, npt.NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        "DATA": generator.integers(0, 255, (size, 1000), dtype=np.uint8),
        "WAIT_MS": np.array([wait_ms], np.float32),
    }


async def test_results_are_right_at_any_size(client: TritonClient) -> None:
    for size in (1, 400, 3, 2000, 0):
        inputs = echo(size, seed=size)
        results = await client.infer("echo", inputs, ["ECHO", "FACTS"])
        np.testing.assert_array_equal(results["ECHO"], inputs["DATA"])
        assert results["FACTS"][0] == inputs["DATA"].sum(dtype=np.int64)


async def test_tensors_need_not_be_contiguous(client: TritonClient) -> None:
    inputs = echo(300)
    inputs["DATA"] = inputs["DATA"][::-2, 5:905:3]
    results = await client.infer("echo", inputs, ["ECHO"])
    np.testing.assert_array_equal(results["ECHO"], inputs["DATA"])


async def test_many_at_once_are_not_mixed_up(client: TritonClient, regions: Regions) -> None:
    wanted = [echo(40 + seed, seed, wait_ms=seed % 3) for seed in range(40)]
    results = await asyncio.gather(*(client.infer("echo", inputs, ["ECHO"]) for inputs in wanted))
    for inputs, result in zip(wanted, results, strict=True):
        np.testing.assert_array_equal(result["ECHO"], inputs["DATA"])
    assert len(regions()) <= client.settings.max_in_flight


async def test_results_belong_to_the_caller(client: TritonClient) -> None:
    first = (await client.infer("echo", echo(50, 1), ["ECHO"]))["ECHO"]
    kept = first.copy()
    for seed in range(8):
        await client.infer("echo", echo(50, seed + 2), ["ECHO"])
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    assert first.flags.owndata


async def test_sequences(client: TritonClient) -> None:
    facts = [
        (await client.infer("echo", echo(1), ["FACTS"], sequence=step))["FACTS"]
        for step in (Sequence(7, start=True), Sequence(7), Sequence(7, end=True))
    ]
    assert [(fact[1], fact[2]) for fact in facts] == [(7, 1), (7, 0), (7, 2)]


async def test_errors_have_reasons(client: TritonClient) -> None:
    with pytest.raises(NotFound) as not_found:
        await client.infer("no_such_model", echo(50), ["ECHO"])
    assert not_found.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(InvalidArgument) as invalid:
        await client.infer("echo", {"DATA": echo(50)["DATA"]}, ["ECHO"])
    assert invalid.value.reason == "MODEL_INPUT_INVALID"
    with pytest.raises(InvalidArgument) as unknown_output:
        await client.infer("echo", echo(50), ["NO_SUCH_OUTPUT"])
    assert unknown_output.value.reason == "MODEL_INPUT_INVALID"
    with pytest.raises(Internal) as failed:
        await client.infer("echo", echo(50, wait_ms=-1), ["ECHO"])
    assert failed.value.reason == "INFERENCE_FAILED"
    assert "/secret/path" not in "".join(traceback.format_exception(failed.value))
    with pytest.raises(InvalidArgument):
        await client.infer("echo", {"DATA": np.zeros(3, np.complex128)}, ["ECHO"])
    # And the client works on.
    assert (await client.infer("echo", echo(50), ["ECHO"]))["ECHO"].shape == (50, 1000)


async def test_a_late_answer_is_an_error_and_harms_nobody(client: TritonClient) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await client.infer("echo", echo(50, wait_ms=1500), ["ECHO"], timeout_s=0.2)
    assert caught.value.reason == "INFERENCE_TIMEOUT"
    inputs = echo(50, 5)
    np.testing.assert_array_equal((await client.infer("echo", inputs, ["ECHO"]))["ECHO"], inputs["DATA"])


async def test_cancelling_gives_the_slot_back(client: TritonClient) -> None:
    limit = client.settings.max_in_flight
    tasks = [asyncio.create_task(client.infer("echo", echo(50, wait_ms=300), ["ECHO"])) for _ in range(2 * limit)]
    await asyncio.wait(
        [asyncio.create_task(client.infer("echo", echo(1), ["ECHO"])), *tasks], return_when="FIRST_COMPLETED"
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    results = await asyncio.gather(*(client.infer("echo", echo(50, seed), ["ECHO"]) for seed in range(limit)))
    assert len(results) == limit


async def test_metadata_and_readiness(client: TritonClient) -> None:
    assert await client.ready(["echo"])
    assert not await client.ready(["echo", "no_such_model"])
    described = await client.metadata("echo")
    assert [entry["name"] for entry in described["inputs"]] == ["DATA", "WAIT_MS"]
    with pytest.raises(NotFound):
        await client.metadata("no_such_model")


async def test_headers_are_asked_for_per_request(echo_server: TritonServer) -> None:
    asked: list[int] = []

    def headers() -> dict[str, str]:
        asked.append(1)
        return {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    async with TritonClient(echo_server.settings, headers=headers) as client:
        await client.infer("echo", echo(1), ["ECHO"])
        await client.infer("echo", echo(1), ["ECHO"])
    assert len(asked) == 2


async def test_auto_uses_shared_memory_on_this_machine(echo_server: TritonServer, regions: Regions) -> None:
    async with TritonClient(echo_server.settings) as client:
        await client.infer("echo", echo(50), ["ECHO"])
        assert client.shared_memory
        assert len(regions()) == 1
    assert regions() == set()


async def test_auto_falls_back_where_triton_cannot_open_the_region(
    echo_server: TritonServer, regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a container with a /dev/shm of its own: the key names nothing there.
    monkeypatch.setattr("kinemesh.inference.shared_memory.Region.key", property(lambda region: "/nothing-here"))
    async with TritonClient(echo_server.settings) as client:
        inputs = echo(50)
        np.testing.assert_array_equal((await client.infer("echo", inputs, ["ECHO"]))["ECHO"], inputs["DATA"])
        assert not client.shared_memory
    assert regions() == set()


async def test_nobody_answers(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinemesh.inference.client._RESTART_S", 1.0)
    (port,) = free_ports(1)
    async with TritonClient(TritonSettings(endpoint=f"127.0.0.1:{port}", timeout_s=5)) as client:
        assert not await client.ready()
        with pytest.raises(Unavailable) as caught:
            await client.infer("echo", echo(50), ["ECHO"])
        assert caught.value.reason == "MODEL_UNAVAILABLE"
        with pytest.raises(Unavailable) as caught:
            await client.loaded()
    assert caught.value.reason == "MODEL_UNAVAILABLE"
    assert regions() == set()


async def test_who_asks_what_is_served_waits_for_a_restart(
    client: TritonClient, echo_server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemesh.inference.client._RESTART_S", 120.0)
    await echo_server.process.stop()
    asked = asyncio.create_task(client.loaded())
    await echo_server.process.start()
    assert (await asked)["echo"]


async def test_triton_is_restarted(client: TritonClient, echo_server: TritonServer) -> None:
    async def works(seed: int) -> None:
        inputs = echo(50, seed)
        np.testing.assert_array_equal((await client.infer("echo", inputs, ["ECHO"]))["ECHO"], inputs["DATA"])

    await works(1)
    # Gracefully, with nobody asking meanwhile: the client learns of it from Triton's not knowing its regions.
    await echo_server.process.restart()
    for _ in range(20):
        try:
            await works(2)
        except Unavailable:
            continue  # gRPC has yet to notice that the connection is gone
        break
    await works(3)
    # The same with requests on all slots, each of which learns of it by itself.
    await asyncio.gather(*(works(seed) for seed in range(client.settings.max_in_flight)))
    await echo_server.process.restart()
    async with asyncio.timeout(30):
        while not await client.ready(["echo"]):
            pass
    await asyncio.gather(*(works(seed) for seed in range(client.settings.max_in_flight)))
    # By kill -9, with a request in flight.
    task = asyncio.create_task(client.infer("echo", echo(50, wait_ms=20_000), ["ECHO"]))
    await works(4)
    await echo_server.process.kill()
    with pytest.raises(Unavailable):
        await task
    await echo_server.process.restart()
    async with asyncio.timeout(30):
        while not await client.ready(["echo"]):
            pass
    await works(5)
