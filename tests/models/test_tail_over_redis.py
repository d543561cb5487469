"""Followers in another process than the writer, while Redis comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from models.bell import Bell, events_of
from models.tail import Follower
from tests.brokers import Server, redis_server, until
from tests.models.ledger import POLL, WS, Entry, Ledger, between, tailing, take


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Server]:
    server = redis_server(tmp_path)
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def two_processes(url: str) -> AsyncIterator[tuple[Bell, Bell]]:
    """The bells of a process that writes and of one that follows."""
    bells = Bell(url, ping=0.1, deaf_after=0.5), Bell(url, ping=0.1, deaf_after=0.5)
    for bell in bells:
        await bell.start()
    try:
        yield bells
    finally:
        for bell in bells:
            await bell.stop()


async def faults(redis: Server, healthy: Callable[[], bool]) -> None:
    await asyncio.sleep(0.2)
    await redis.stop()
    await redis.start()
    await asyncio.sleep(0.2)
    redis.freeze()
    await asyncio.sleep(0.3)
    redis.thaw()
    await asyncio.sleep(0.2)
    await redis.stop()
    await asyncio.sleep(0.5)
    await redis.start()
    await until(healthy)


async def test_no_gap_and_no_double_whatever_redis_does(redis: Server) -> None:
    ledger = Ledger()
    async with two_processes(f"redis://127.0.0.1:{redis.port}") as (writer, reader), tailing(ledger, reader) as tails:
        async with tails.open(WS) as follower:
            await until(lambda: writer.healthy and reader.healthy)
            seen: list[int] = []
            lags: list[float] = []
            written: dict[int, float] = {}
            reading = asyncio.create_task(note(follower, seen, lags, written))
            disturbing = asyncio.create_task(faults(redis, lambda: writer.healthy and reader.healthy))
            while not disturbing.done():
                await ledger.append()
                written[len(ledger.rows[WS])] = asyncio.get_running_loop().time()
                writer.ring(events_of(WS))
                await asyncio.sleep(0.002)
            await disturbing
            await until(lambda: len(seen) == len(written), within=POLL + 0.3)
            reading.cancel()
            await asyncio.wait({reading})
            assert seen == between(0, len(written))
            assert max(lags) < POLL + 0.3
            await ledger.append()
            writer.ring(events_of(WS))
            await asyncio.wait_for(take(follower, 1), POLL + 0.1)


async def note(follower: Follower[Entry], seen: list[int], lags: list[float], written: dict[int, float]) -> None:
    async for row in follower:
        seen.append(row.seq)
        lags.append(asyncio.get_running_loop().time() - written.get(row.seq, float("inf")) if row.seq in written else 0.0)


async def test_a_ring_crosses_processes_long_before_the_poll(redis: Server) -> None:
    ledger = Ledger()
    async with two_processes(f"redis://127.0.0.1:{redis.port}") as (writer, reader):
        async with tailing(ledger, reader, poll=60) as tails, tails.open(WS) as follower:
            await until(lambda: writer.healthy and reader.healthy)
            for seq in range(1, 50):
                await ledger.append()
                writer.ring(events_of(WS))
                assert await asyncio.wait_for(take(follower, 1), 1) == [seq]
