"""How long a one-time password takes from the request to its provider: alone, and while a bulk job drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp

from bench.installation import SENDER, Engine, Installation, address_of, installation, met, texts, twilio
from bench.load import SEND, percentile
from bench.sinks import sink
from bench.table import Row

EVERY = 0.05
WARM = 5  # not counted: the first ones open connections and load code
PROVIDER = 0.02


async def measure(
    engines: list[Engine], bulk: int, passwords: int, beside: tuple[bool, ...] = (True, False)
) -> AsyncIterator[Row]:
    """`beside` says whether the bulk job goes through the same connector, for each time it is measured."""
    for engine in engines:
        measured = f"one-time password, {engine.name}"
        idle = await _latencies(engine, 0, passwords, same=True)
        yield Row(measured, "idle, p50", percentile(idle, 50), "ms")
        yield Row(measured, "idle, p99", percentile(idle, 99), "ms")
        for same in beside:
            where = f"beside {bulk:,} bulk messages, {'same' if same else 'another'} connector"
            busy = await _latencies(engine, bulk, passwords, same)
            for share in (50, 99):
                value, alone = percentile(busy, share), percentile(idle, share)
                goal = "≤ 2" if share == 99 else ""
                yield Row(measured, f"{where}, p{share}", value, "ms", value / alone, f"idle p{share}", goal)


async def _latencies(engine: Engine, bulk: int, passwords: int, same: bool) -> list[float]:
    with sink(PROVIDER) as provider:
        async with installation(engine) as ours:
            urgent, other = await ours.plug(twilio(provider, 1), twilio(provider, 2))
            await ours.accept(texts(bulk, [urgent if same else other], priority="BULK"))
            with ours.process("serve") as process:
                url = address_of(process)
                await met(lambda: provider.count() >= min(bulk, 100))
                asked = await _send(ours, url, urgent, WARM + passwords)
                if bulk and provider.count() >= bulk + WARM + passwords:
                    raise RuntimeError(f"the {bulk} bulk messages were gone before the last one-time password")
                await met(lambda: len(provider.arrivals()) == WARM + passwords)
                arrived = provider.arrivals()
    return [arrived[i] - asked[i] for i in range(WARM, WARM + passwords)]


async def _send(ours: Installation, url: str, connector_id: str, passwords: int) -> list[float]:
    """One after another at a steady pace; when each was asked for."""
    asked: list[float] = []
    headers = {"Authorization": f"Bearer {ours.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as group:
        for i in range(passwords):
            asked.append(time.monotonic())
            group.create_task(_ask(http, url, connector_id, i))
            await asyncio.sleep(EVERY)
    return asked


async def _ask(http: aiohttp.ClientSession, url: str, connector_id: str, i: int) -> None:
    given = {
        "to": "+14155550100",
        "connectorId": connector_id,
        "senderId": SENDER,
        "flow": "OTP",
        "body": f"Your code is otp-{i}.",
    }
    async with http.post(f"{url}/graphql", json={"query": SEND, "variables": {"input": given}}) as response:
        payload = (await response.json())["data"]["messageSend"]
    if payload["userErrors"]:
        raise RuntimeError(str(payload["userErrors"]))
