"""Followers of a log: none misses a row, and none costs more than it must."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models import events, workspaces
from models.base import Base
from models.bell import Bell, events_of
from models.database import Database
from models.tail import Tails
from tests.brokers import until
from tests.models.ledger import POLL, WS, Entry, Ledger, between, collect, ringing, tailing, take


@pytest.fixture
async def bell() -> AsyncIterator[Bell]:
    async with ringing() as rung:
        yield rung


async def test_ten_first_followers_at_once_share_one_tailer(bell: Bell) -> None:
    ledger = Ledger()
    before = asyncio.all_tasks()
    async with tailing(ledger, bell) as tails, contextlib.AsyncExitStack() as stack:
        followers = await asyncio.gather(*(stack.enter_async_context(tails.open(WS)) for _ in range(10)))
        assert {task.get_name() for task in asyncio.all_tasks() - before} == {f"tail-{WS}"}
        await ledger.append(50)
        bell.ring(events_of(WS))
        assert await asyncio.gather(*(take(follower, 50) for follower in followers)) == [between(0, 50)] * 10


async def test_a_tailer_lives_as_long_as_it_has_followers(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails:
        async with tails.open(WS):
            async with tails.open(WS):
                tail = tails.get(WS)
            assert tails.get(WS) is tail
        assert tails.get(WS) is None
        reads = ledger.reads
        await asyncio.sleep(POLL * 2)
        assert ledger.reads == reads
        async with tails.open(WS) as follower:
            await ledger.append()
            assert await take(follower, 1) == [1]


async def test_workspaces_do_not_mix(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, tails.open("ws_a") as a, tails.open("ws_b") as b:
        await ledger.append(3, "ws_b")
        bell.ring(events_of("ws_b"))
        assert [(await anext(b)).workspace_id for _ in range(3)] == ["ws_b"] * 3
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(a), POLL * 2)
        await ledger.append(1, "ws_a")
        assert (await anext(a)) == Entry("ws_a", 1)


async def test_order_and_density_under_writers_of_a_real_log(tmp_path: Path, bell: Bell) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'log.db'}", lambda ids: bell.ring(*map(events_of, ids)))
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with database.write() as session:
        workspace_id = (await workspaces.create(session, "tail")).id

    async def write() -> None:
        for _ in range(20):
            async with database.write() as session:
                for _ in range(random.randint(1, 3)):
                    events.record(session, events.NewEvent(workspace_id=workspace_id, kind="message", type="t", subject_id="m"))

    async def read(workspace_id: str, after: int, limit: int) -> Sequence[events.Event]:
        async with database.read() as session:
            return await events.after(session, workspace_id, after, limit)

    async def head(workspace_id: str) -> int:
        async with database.read() as session:
            return await events.head(session, workspace_id)

    async def oldest(workspace_id: str) -> int:
        async with database.read() as session:
            return await events.oldest(session, workspace_id)

    tails = Tails(read, head, oldest, bell, poll=POLL, ring_size=64, batch=16)
    async with contextlib.AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(tails.open(workspace_id)) for _ in range(5)]
        await asyncio.gather(*(write() for _ in range(16)))
        written = await head(workspace_id)
        for follower in followers:
            assert [(await anext(follower)).seq for _ in range(written)] == between(0, written)
    await tails.close()
    await database.close()


async def test_a_slow_follower_costs_no_memory_and_misses_nothing(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell, ring_size=64, batch=10) as tails, tails.open(WS) as slow, tails.open(WS) as quick:
        tail = tails.get(WS)
        assert tail is not None
        reading = asyncio.create_task(take(quick, 5000))
        for _ in range(100):
            await ledger.append(50)
            bell.ring(events_of(WS))
            await asyncio.sleep(0)
            assert tail.held <= 64
        assert await reading == between(0, 5000)
        assert tail.held == 64
        assert await take(slow, 5000) == between(0, 5000)


async def test_a_replay_lets_others_run(bell: Bell) -> None:
    """Every sixteen rows at the latest, even from a log that answers without waiting."""
    ledger = Ledger()
    await ledger.append(2000)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with tailing(ledger, bell) as tails, tails.open(WS, 0) as follower:
        tail = tails.get(WS)
        assert tail is not None
        await until(lambda: tail.held == 2000)
        counting = asyncio.create_task(count_turns())
        await take(follower, 2000)
        counting.cancel()
        await asyncio.wait({counting})
    assert turns >= 2000 // 16


async def test_a_burst_reaches_a_hundred_followers_whole(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, contextlib.AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(tails.open(WS)) for _ in range(100)]
        readers = asyncio.gather(*(take(follower, 5000) for follower in followers))
        await asyncio.sleep(0)
        for _ in range(50):
            await ledger.append(100)
            bell.ring(events_of(WS))
        assert await readers == [between(0, 5000)] * 100


async def test_a_cancelled_wait_loses_no_row(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower:
        seen: list[int] = []
        writing = asyncio.create_task(trickle(ledger, bell, 200))
        while len(seen) < 200:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.random() / 500):
                    seen.append((await anext(follower)).seq)
        await writing
        assert seen == between(0, 200)


async def trickle(ledger: Ledger, bell: Bell, count: int) -> None:
    for _ in range(count):
        await ledger.append()
        bell.ring(events_of(WS))
        await asyncio.sleep(0.001)


async def test_cancelled_followers_leave_nothing(bell: Bell) -> None:
    ledger = Ledger()
    before = asyncio.all_tasks()
    async with tailing(ledger, bell) as tails:
        followers = [asyncio.create_task(collect(tails, None, 10)) for _ in range(20)]
        await asyncio.sleep(0.02)
        assert tails.get(WS) is not None
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)
        assert tails.get(WS) is None
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before


async def test_cancelled_while_opening_leaves_nothing(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails:
        for ticks in range(6):
            opening = asyncio.create_task(collect(tails, 0, 1))
            for _ in range(ticks):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait({opening})
            assert tails.get(WS) is None


async def test_closing_ends_every_iteration(bell: Bell) -> None:
    ledger = Ledger()
    await ledger.append(3)
    async with tailing(ledger, bell) as tails:
        waiting = [asyncio.create_task(collect(tails, after, 10)) for after in (0, 3, None)]
        await asyncio.sleep(0.05)
        await tails.close()
        assert await asyncio.gather(*waiting) == [[1, 2, 3], [], []]
        assert await collect(tails, 0, 10) == []
        assert tails.get(WS) is None


async def test_a_log_that_cannot_be_read_is_waited_for_and_logged_once(bell: Bell) -> None:
    ledger = Ledger()
    async with (
        tailing(ledger, bell, ring_size=4) as tails,
        tails.open(WS) as follower,
        tails.open(WS) as slow,
        tails.open("ws_2"),
    ):
        with capture_logs() as logs:
            for _ in range(2):
                ledger.down = True
                reading = asyncio.create_task(take(follower, 20))
                await asyncio.sleep(POLL * 3)
                await ledger.append(20)
                ledger.down = False
                await asyncio.wait_for(reading, 3)
        assert follower.seq == 40
        assert await take(slow, 40) == between(0, 40)
    assert [entry["event"] for entry in logs] == ["events_unreadable", "events_readable"] * 2


async def test_opening_while_the_log_cannot_be_read_is_the_callers_error(bell: Bell) -> None:
    ledger = Ledger()
    ledger.down = True
    async with tailing(ledger, bell) as tails:
        with pytest.raises(ConnectionError):
            async with tails.open(WS):
                pass
        assert tails.get(WS) is None


async def test_resuming_inside_the_ring_asks_the_database_nothing(bell: Bell) -> None:
    ledger = Ledger()
    await ledger.append(100)
    async with tailing(ledger, bell, poll=60) as tails, tails.open(WS, 50) as first:
        await take(first, 50)
        ledger.down = True
        for after in range(50, 101):
            async with tails.open(WS, after) as follower:
                assert await take(follower, 100 - after) == between(after, 100)
        assert ledger.reads == 1


async def test_a_poll_finds_what_nobody_rang(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower:
        await asyncio.sleep(POLL)
        await ledger.append()
        assert await asyncio.wait_for(take(follower, 1), POLL + 0.1) == [1]


async def test_a_ring_does_not_wait_for_the_poll(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell, poll=60) as tails, tails.open(WS) as follower:
        for seq in range(1, 50):
            await asyncio.sleep(0.002)
            await ledger.append()
            bell.ring(events_of(WS))
            assert await asyncio.wait_for(take(follower, 1), 1) == [seq]
