"""Subscribers who see the same event through the same operation get one execution and one encoded answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from schema.answers import Answer

_KEPT = 1_024


class Shares:
    """The latest shared answers, finished or under way."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, asyncio.Task[Answer]] = OrderedDict()
        self.executions = 0

    async def answer(self, key: Hashable, run: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer under this key, from whoever asked first. One caller's leaving does not end it for the others."""
        task = self._answers.get(key)
        if task is None:
            self.executions += 1
            task = self._answers[key] = asyncio.ensure_future(_awaited(run))
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return task.result() if task.done() else await asyncio.shield(task)


async def _awaited(run: Callable[[], Awaitable[Answer]]) -> Answer:
    return await run()
