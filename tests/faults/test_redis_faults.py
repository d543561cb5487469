"""Redis carries hints only: without it everything goes on, and nobody who watches misses anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.brokers import redis_server
from tests.harness import Gateway, eventually, running, settings_for
from tests.sending import plug, send

pytestmark = pytest.mark.fault

WATCH = "subscription { deliveryUpdated { status message { id } } }"


async def _bus(gateway: Gateway) -> str:
    answer = await (await gateway.http.get(f"{gateway.url}/readyz")).json()
    return str(answer["checks"]["bus"])


async def test_sending_and_watching_go_on_through_a_restart(tmp_path: Path) -> None:
    server = redis_server(tmp_path)
    await server.start()
    try:
        async with running(settings_for(tmp_path, bus_url=f"redis://127.0.0.1:{server.port}")) as gateway:
            await plug(gateway)
            async with gateway.socket() as socket:
                stream = await socket.subscribe(WATCH)
                await asyncio.sleep(0.2)
                sent = [await send(gateway, "no-receipt") for _ in range(10)]
                await server.stop()
                sent += [await send(gateway, "no-receipt") for _ in range(10)]
                await server.start()
                sent += [await send(gateway, "no-receipt") for _ in range(10)]
                seen: list[tuple[str, str]] = []
                for _ in range(3 * len(sent)):
                    event = await stream.next(15)
                    seen.append((event["message"]["id"], event["status"]))
            expected = [(message_id, status) for message_id in sent for status in ("QUEUED", "PROCESSING", "SENT")]
            assert sorted(seen) == sorted(expected)

            async def heard() -> bool:
                return await _bus(gateway) == "ok"

            await eventually(heard, 20)
    finally:
        await server.stop()


async def test_a_start_without_redis_serves_and_says_so(tmp_path: Path) -> None:
    server = redis_server(tmp_path)
    async with running(settings_for(tmp_path, bus_url=f"redis://127.0.0.1:{server.port}")) as gateway:
        assert await _bus(gateway) == "down"
        await plug(gateway)
        async with gateway.socket() as socket:
            stream = await socket.subscribe(WATCH)
            await asyncio.sleep(0.1)
            message_id = await send(gateway, "no-receipt")
            assert (await stream.next())["message"]["id"] == message_id
        await server.start()

        async def heard() -> bool:
            return await _bus(gateway) == "ok"

        await eventually(heard, 20)
    await server.stop()
