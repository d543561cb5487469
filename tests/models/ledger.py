"""A log in memory that tests follow, and how they follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from models.bell import Bell
from models.tail import Follower, Tails

WS = "ws_1"
POLL = 0.2


@dataclass(frozen=True)
class Entry:
    workspace_id: str
    seq: int


class Ledger:
    """A log whose rows become visible in number order, some time after their writer asked, as the database's do."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Entry]] = {}
        self.deleted = 0
        self.reads = 0
        self.down = False
        self._turn = asyncio.Lock()

    async def append(self, count: int = 1, workspace_id: str = WS) -> None:
        async with self._turn:
            await asyncio.sleep(0)
            rows = self.rows.setdefault(workspace_id, [])
            rows.extend(Entry(workspace_id, len(rows) + 1) for _ in range(count))

    async def read(self, workspace_id: str, after: int, limit: int) -> Sequence[Entry]:
        self.reads += 1
        await self._travel()
        start = max(after, self.deleted)
        return self.rows.get(workspace_id, [])[start : start + limit]

    async def head(self, workspace_id: str) -> int:
        await self._travel()
        return len(self.rows.get(workspace_id, []))

    async def oldest(self, workspace_id: str) -> int:
        await self._travel()
        return self.deleted + 1

    async def _travel(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionError("the database is down")


@asynccontextmanager
async def ringing() -> AsyncIterator[Bell]:
    """A bell within this process."""
    bell = Bell("memory://")
    await bell.start()
    yield bell
    await bell.stop()


@asynccontextmanager
async def tailing(
    ledger: Ledger, bell: Bell, poll: float = POLL, ring_size: int = 4096, batch: int = 1000
) -> AsyncIterator[Tails[Entry]]:
    """Tails that must leave no task behind."""
    tails = Tails(ledger.read, ledger.head, ledger.oldest, bell, poll=poll, ring_size=ring_size, batch=batch)
    try:
        yield tails
    finally:
        await tails.close()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("tail-")]


async def take(follower: Follower[Entry], count: int) -> list[int]:
    return [(await anext(follower)).seq for _ in range(count)]


async def collect(tails: Tails[Entry], after: int | None, upto: int, workspace_id: str = WS) -> list[int]:
    seen: list[int] = []
    async with contextlib.aclosing(tails.follow(workspace_id, after)) as rows:
        async for row in rows:
            seen.append(row.seq)
            if row.seq == upto:
                break
    return seen


def between(after: int, upto: int) -> list[int]:
    return list(range(after + 1, upto + 1))
