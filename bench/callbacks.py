"""How many status callbacks one process stores a second, and how much slower a queue drains beside a thousand a second."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from bench.fans import processor
from bench.installation import Engine, Installation, address_of, installation, texts, twilio
from bench.sinks import Sink, sink
from bench.table import Row
from gateway.metrics import HOOKS
from models import doors
from models.database import Database

CLIENTS = 64
RATE = 1_000
LATENCY = 0.001
SLOTS = 125
TOKEN = "the auth token of an account"


@dataclass(frozen=True, slots=True)
class Told:
    """What came of calling: answers a second, and percentiles of an answer in milliseconds."""

    rate: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Found:
    """Messages a second `alone` and `beside` calls at a steady pace, and those; calls `at_once`, and milliseconds of processor
    time for each of them, from its request to its event."""

    alone: float
    beside: float
    paced: Told
    at_once: Told
    cost: float


async def measure(engines: list[Engine], messages: int, rate: int = RATE) -> AsyncIterator[Row]:
    for engine in engines:
        found = await _found(engine, messages, rate)
        measured = f"status callbacks, {engine.name}"
        yield Row(measured, f"{CLIENTS} clients, as fast as they are answered", found.at_once.rate, "/s", goal="≥ 1,000")
        yield Row(measured, "its answer, p50", found.at_once.p50, "ms")
        yield Row(measured, "its answer, p99", found.at_once.p99, "ms")
        yield Row(measured, "processor time of each, until it is applied", found.cost, "ms")
        yield Row(measured, "a queue drains", found.alone, "/s")
        yield Row(measured, f"the same beside {rate:,} calls a second", found.beside, "/s", found.beside / found.alone, "alone")
        yield Row(measured, "of which were answered", found.paced.rate, "/s", found.paced.rate / rate, "asked")
        yield Row(measured, "its answer, p99", found.paced.p99, "ms")


async def _found(engine: Engine, messages: int, rate: int) -> Found:
    """One queue drains alone; another while calls tell of the messages of the first; then calls alone tell of the second's."""
    with sink(LATENCY) as first, sink(LATENCY) as second:
        async with installation(engine) as ours:
            through = await ours.plug(_twilio(first), _twilio(second))
            await ours.accept(texts(messages, through[:1]))
            with ours.process("serve", concurrency=SLOTS) as process:
                alone = messages / (await ours.drained(process) - first.first())
            await ours.accept(texts(messages, through[1:]))
            with ours.process("serve", concurrency=SLOTS) as process:
                urls = await _doors(ours, address_of(process), through)
                draining = asyncio.create_task(ours.drained(process))
                calling = asyncio.create_task(_call(urls[0], messages, rate))
                await asyncio.wait([draining, calling], return_when=asyncio.FIRST_COMPLETED)
                beside = second.count() / (time.monotonic() - second.first())
                paced = await calling
                await draining
                await _delivered(ours, messages)
                before = processor(process.pid)
                at_once = await _call(urls[1], messages)
                await _delivered(ours, 2 * messages)
                return Found(alone, beside, paced, at_once, (processor(process.pid) - before) / messages)


def _twilio(provider: Sink) -> dict[str, Any]:
    return {"twilio": {**twilio(provider)["twilio"], "auth_token": TOKEN}}


async def _doors(ours: Installation, address: str, connector_ids: list[str]) -> list[str]:
    """Where the provider of each connector calls."""
    database = Database(ours.settings.database_url)
    try:
        async with database.read() as session:
            found = [await doors.behind_door(session, connector_id) for connector_id in connector_ids]
            return [f"{address}{HOOKS}/{connector.id}/{connector.hook_key}" for connector in found if connector is not None]
    finally:
        await database.close()


async def _call(url: str, messages: int, rate: int = 0) -> Told:
    """A process of its own tells that the first so many messages of a sink were delivered."""
    command = [sys.executable, "-m", "bench.callers", url, TOKEN, "1", str(messages), str(CLIENTS), str(rate)]
    ended = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE, timeout=300)
    return Told(*orjson.loads(ended.stdout))


async def _delivered(ours: Installation, messages: int) -> None:
    """Wait until receipts have moved so many."""
    for _ in range(1_000):
        if (await ours.statuses()).get("DELIVERED") == messages:
            return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"of {messages}: {await ours.statuses()}")
