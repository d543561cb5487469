"""Where a follower begins, and what it is told when it cannot begin there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from models.bell import Bell
from models.tail import CursorAhead, ResyncRequired
from tests.models.ledger import WS, Ledger, between, collect, ringing, tailing, take


@pytest.fixture
async def bell() -> AsyncIterator[Bell]:
    async with ringing() as rung:
        yield rung


async def test_now_is_fixed_when_the_follower_is_handed_over(bell: Bell) -> None:
    ledger = Ledger()
    await ledger.append(7)
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower:
        assert follower.seq == 7
        await ledger.append(2)
        async with tails.open(WS) as later:
            assert later.seq == 9
            await ledger.append()
            assert await take(follower, 3) == [8, 9, 10]
            assert await take(later, 1) == [10]
        assert follower.seq == 10


async def test_what_is_at_hand_is_handed_out_together(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower:
        await ledger.append(20)
        assert [row.seq for row in await follower.several()] == between(0, 16)
        assert [row.seq for row in await follower.several()] == between(16, 20)
        waiting = asyncio.create_task(follower.several())
        await ledger.append()
        assert [row.seq for row in await waiting] == [21]
        await tails.close()
        assert await follower.several() == []


async def test_a_branch_goes_on_where_its_follower_was(bell: Bell) -> None:
    ledger = Ledger()
    await ledger.append(3)
    async with tailing(ledger, bell) as tails:
        async with tails.open(WS, 0) as follower:
            assert await take(follower, 2) == [1, 2]
            branch = follower.branch()
        assert await take(branch, 1) == [3]
        await ledger.append()
        assert await take(branch, 1) == [4]
        branch.close()
        assert tails.get(WS) is None


async def test_an_empty_log_is_followed_from_its_beginning(bell: Bell) -> None:
    ledger = Ledger()
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower, tails.open(WS, 0) as other:
        assert follower.seq == 0
        await ledger.append()
        assert await take(follower, 1) == await take(other, 1) == [1]


async def test_resumes_exactly_at_every_cursor(bell: Bell) -> None:
    """With a ring of 32 of 150 rows the cursors lie behind it, on its edge and inside it."""
    ledger = Ledger()
    await ledger.append(150)
    async with tailing(ledger, bell, ring_size=32, batch=10) as tails:
        seen = await asyncio.gather(*(collect(tails, after, 160) for after in range(151)), *[add_later(ledger, 10)])
        assert seen[:-1] == [between(after, 160) for after in range(151)]
        for after in range(150):
            assert await collect(tails, after, 160) == between(after, 160)


async def add_later(ledger: Ledger, count: int) -> None:
    await asyncio.sleep(0.05)
    await ledger.append(count)


@pytest.mark.parametrize("after", [8, 1_000_000, 2**63])
async def test_a_cursor_beyond_the_head_is_refused(bell: Bell, after: int) -> None:
    ledger = Ledger()
    await ledger.append(7)
    async with tailing(ledger, bell) as tails:
        with pytest.raises(CursorAhead) as refused:
            async with tails.open(WS, after):
                pass
        assert isinstance(refused.value, ValueError)
        assert (refused.value.after, refused.value.head) == (after, 7)
        assert tails.get(WS) is None
        assert ledger.reads == 0


@pytest.mark.parametrize("after", [-1, 0, 4])
async def test_a_cursor_older_than_the_log_says_so(bell: Bell, after: int) -> None:
    ledger = Ledger()
    await ledger.append(9)
    ledger.deleted = 5
    async with tailing(ledger, bell) as tails:
        with pytest.raises(ResyncRequired) as refused:
            async with tails.open(WS, after):
                pass
        assert refused.value.oldest_seq == 6
        assert tails.get(WS) is None
        assert await collect(tails, 5, 9) == [6, 7, 8, 9]


@pytest.mark.parametrize(("deleted", "oldest"), [(400, 401), (600, 601)])
async def test_a_follower_overtaken_by_retention_says_so(bell: Bell, deleted: int, oldest: int) -> None:
    ledger = Ledger()
    await ledger.append(600)
    async with tailing(ledger, bell, ring_size=8) as tails, tails.open(WS, 0) as follower:
        assert await take(follower, 200) == between(0, 200)
        ledger.deleted = deleted
        with pytest.raises(ResyncRequired) as refused:
            await take(follower, 1)
        assert refused.value.oldest_seq == oldest


async def test_a_hole_in_the_log_is_never_passed_in_silence(bell: Bell) -> None:
    ledger = Ledger()
    await ledger.append(3)
    async with tailing(ledger, bell) as tails, tails.open(WS) as follower:
        await asyncio.sleep(0.01)
        ledger.deleted = 5
        await ledger.append(4)
        with pytest.raises(ResyncRequired) as refused:
            await take(follower, 1)
        assert refused.value.oldest_seq == 6
