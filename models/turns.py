"""Whose turn it is to write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

PATIENCE_SECONDS = 0.05


class Turns:
    """A lock that goes to whoever is due first: the urgent at once, others after some patience, so that nobody starves."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.patience_seconds = patience_seconds
        self._is_taken = False
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    async def take(self, urgent: bool) -> None:
        """Wait for the turn, which is then the caller's to pass on. One who is cancelled does not have it."""
        if not self._is_taken:
            self._is_taken = True
            return
        due = time.monotonic() + (0 if urgent else self.patience_seconds)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (due, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came in the same moment
                self.pass_on()
            raise

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """An urgent turn that is passed on after the block."""
        await self.take(urgent=True)
        try:
            yield
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        if self.is_awaited():
            heappop(self._waiting)[2].set_result(None)
        else:
            self._is_taken = False

    def is_awaited(self, only_by_due: bool = False) -> bool:
        """Whether somebody waits; or somebody urgent, or out of patience."""
        while self._waiting and self._waiting[0][2].done():
            heappop(self._waiting)
        return bool(self._waiting) and (not only_by_due or self._waiting[0][0] <= time.monotonic())
