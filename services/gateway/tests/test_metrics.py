"""What the gateway measures, and that nobody outside chooses what the labels say."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from websockets.asyncio.client import connect

from kinemesh.testing.waiting import until

from .stand_in import MP4_HEAD
from .test_processing_tasks import state, tell
from .test_watch import HISTORY, listen

CHOSEN = "chosen-by-a-user"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"kinemesh_{name}", labels) or 0.0


async def test_websockets_are_counted_with_how_they_ended(gateway: Any) -> None:
    def ended(code: str) -> float:
        return value("websocket_closed_total", kind="jobs", code=code)

    before = {code: ended(code) for code in ("1000", "1001", "4404")}
    job_id = await gateway.job()
    async with connect(f"{gateway.ws}/ws/jobs/{job_id}") as socket:
        await tell(gateway, job_id, HISTORY[0])
        await socket.recv()
        assert value("websocket_clients", kind="jobs") == 1

    async def gone() -> bool:
        return value("websocket_clients", kind="jobs") == 0

    await until(gone)
    await tell(gateway, job_id, state("SUCCEEDED"))
    await listen(gateway, job_id)
    await listen(gateway, CHOSEN)
    await until(gone)
    assert {code: ended(code) - count for code, count in before.items()} == {"1000": 1, "1001": 1, "4404": 1}


async def test_how_far_watchers_are_behind_counts_news_and_not_history(gateway: Any) -> None:
    def behind() -> tuple[float, float]:
        name = "websocket_behind_seconds"
        return value(f"{name}_count", kind="jobs"), value(f"{name}_sum", kind="jobs")

    job_id = await gateway.job()
    await tell(gateway, job_id, *HISTORY[:4])
    before = behind()
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/jobs/{job_id}") as socket:
        for _ in range(4):
            await socket.recv()
        assert behind() == before
        await tell(gateway, job_id, state("SUCCEEDED"))
        await socket.recv()
    assert behind()[0] == before[0] + 1
    assert 0 <= behind()[1] - before[1] < 40


async def test_uploads_are_counted_while_they_come(gateway: Any) -> None:
    before = value("upload_bytes_total")
    seen: list[float] = []

    async def form() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + MP4_HEAD + bytes(1000)

        async def under_way() -> bool:
            return value("uploads_in_flight") == 1

        await until(under_way)
        seen.append(value("uploads_in_flight"))
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    await gateway.http.post(f"{gateway.url}/api/v1/analyze", content=form(), headers=headers)
    assert seen == [1]
    assert value("uploads_in_flight") == 0
    assert value("upload_bytes_total") - before > 1000


async def test_no_label_holds_what_a_user_chose(gateway: Any) -> None:
    call, url = gateway.http.request, gateway.url
    headers = {"X-Request-ID": CHOSEN, "User-Agent": CHOSEN, "Idempotency-Key": CHOSEN}
    await call(CHOSEN.upper(), f"{url}/api/v1/jobs", headers=headers)
    await call("GET", f"{url}/{CHOSEN}", headers={**headers, "X-Kinemesh-Owner": CHOSEN})
    await call("GET", f"{url}/api/v1/jobs/{CHOSEN}?{CHOSEN}={CHOSEN}", headers=headers)
    await call("POST", f"{url}/api/v1/assets", json={"filename": CHOSEN, "content_type": CHOSEN, "kind": CHOSEN})
    await call("POST", f"{url}/api/v1/jobs", json={"pipeline": CHOSEN, "parameters": {CHOSEN: CHOSEN}})
    await call("GET", f"{url}/api/v1/jobs/{CHOSEN}/outputs/{CHOSEN}", headers={"Host": "127.0.0.1", "Origin": CHOSEN})
    await listen(gateway, CHOSEN)
    assert CHOSEN not in generate_latest(REGISTRY).decode().lower()
    assert value("http_seconds_count", method="OTHER", route="unknown", status="405") >= 0
