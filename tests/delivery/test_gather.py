"""Callers who come together are served together, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from delivery.gather import MOST, Gather


class Kitchen:
    """Doubles numbers, refuses negative ones, and remembers its groups."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.busy = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def serve(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        self.busy.set()
        await self.open.wait()
        return [ValueError(item) if item < 0 else 2 * item for item in items]


async def test_those_who_come_in_one_turn_of_the_loop_share_a_group() -> None:
    kitchen = Kitchen()
    gather = Gather(kitchen.serve)
    assert await asyncio.gather(*(gather.add(i) for i in range(5))) == [0, 2, 4, 6, 8]
    assert kitchen.groups == [[0, 1, 2, 3, 4]]


async def test_the_next_group_gathers_while_one_is_served() -> None:
    kitchen = Kitchen()
    kitchen.open.clear()
    gather = Gather(kitchen.serve)
    first = asyncio.create_task(gather.add(1))
    await kitchen.busy.wait()
    others = [asyncio.create_task(gather.add(i)) for i in (2, 3)]
    await asyncio.sleep(0)
    kitchen.open.set()
    assert [await first, *[await other for other in others]] == [2, 4, 6]
    assert kitchen.groups == [[1], [2, 3]]


async def test_a_refusal_concerns_one_caller() -> None:
    gather = Gather(Kitchen().serve)
    good, bad, fine = await asyncio.gather(gather.add(1), gather.add(-1), gather.add(3), return_exceptions=True)
    assert (good, fine) == (2, 6)
    assert isinstance(bad, ValueError) and bad.args == (-1,)


async def test_a_failure_of_the_whole_reaches_everyone_and_the_next_group_is_served() -> None:
    calls = 0

    async def serve(items: Sequence[int]) -> Sequence[int | Exception]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("away")
        return list(items)

    gather = Gather(serve)
    failed = await asyncio.gather(gather.add(1), gather.add(2), return_exceptions=True)
    assert [type(error) for error in failed] == [OSError, OSError]
    assert await gather.add(3) == 3


async def test_a_caller_who_leaves_does_not_disturb_the_others() -> None:
    kitchen = Kitchen()
    kitchen.open.clear()
    gather = Gather(kitchen.serve)
    leaving, staying = asyncio.create_task(gather.add(1)), asyncio.create_task(gather.add(2))
    await kitchen.busy.wait()
    leaving.cancel()
    kitchen.open.set()
    assert await staying == 4
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_group_has_a_limit() -> None:
    kitchen = Kitchen()
    gather = Gather(kitchen.serve)
    await asyncio.gather(*(gather.add(i) for i in range(MOST + 1)))
    assert [len(group) for group in kitchen.groups] == [MOST, 1]
