"""Who writes next: the urgent, then who came first; and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from models.turns import Turns


class Queue:
    """Takers of turns, and the order in which they had theirs."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.had: list[str] = []

    async def take(self, name: str, urgent: bool = False) -> None:
        await self.turns.take(urgent)
        self.had.append(name)
        self.turns.pass_on()

    async def add(self, name: str, urgent: bool = False) -> asyncio.Task[None]:
        """One who waits by the time this returns."""
        task = asyncio.create_task(self.take(name, urgent))
        await asyncio.sleep(0)
        return task


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_the_urgent_go_first_and_equals_as_they_came(queue: Queue) -> None:
    await queue.turns.take(urgent=False)
    queue.turns.patience_seconds = 60
    waiting = [await queue.add(name, urgent=name.startswith("u")) for name in ("a", "b", "u1", "c", "u2")]
    assert queue.had == []
    queue.turns.pass_on()
    await asyncio.gather(*waiting)
    assert queue.had == ["u1", "u2", "a", "b", "c"]


async def test_who_has_waited_for_long_is_not_passed_any_more(queue: Queue) -> None:
    await queue.turns.take(urgent=True)
    queue.turns.patience_seconds = 0.02
    waiting = [await queue.add("patient")]
    await asyncio.sleep(0.03)
    waiting.append(await queue.add("urgent", urgent=True))
    queue.turns.pass_on()
    await asyncio.gather(*waiting)
    assert queue.had == ["patient", "urgent"]


async def test_it_tells_for_whom_it_is_awaited(queue: Queue) -> None:
    await queue.turns.take(urgent=True)
    seen = [(queue.turns.is_awaited(), queue.turns.is_awaited(only_by_due=True))]
    queue.turns.patience_seconds = 0.2
    waiting = [await queue.add("patient")]
    seen.append((queue.turns.is_awaited(), queue.turns.is_awaited(only_by_due=True)))
    await asyncio.sleep(0.3)
    seen.append((queue.turns.is_awaited(), queue.turns.is_awaited(only_by_due=True)))
    assert seen == [(False, False), (True, False), (True, True)]
    queue.turns.pass_on()
    await asyncio.gather(*waiting)
    assert not queue.turns.is_awaited()


async def test_one_cancelled_while_waiting_is_passed_over(queue: Queue) -> None:
    await queue.turns.take(urgent=True)
    cancelled, after = await queue.add("cancelled", urgent=True), await queue.add("after")
    cancelled.cancel()
    await asyncio.wait({cancelled})
    queue.turns.pass_on()
    await after
    assert queue.had == ["after"]


async def test_one_cancelled_as_the_turn_comes_passes_it_on(queue: Queue) -> None:
    await queue.turns.take(urgent=True)
    cancelled, after = await queue.add("cancelled"), await queue.add("after")
    queue.turns.pass_on()
    cancelled.cancel()
    await asyncio.wait_for(after, 1)
    assert cancelled.cancelled()
    assert queue.had == ["after"]
    await asyncio.wait_for(queue.take("next"), 1)
