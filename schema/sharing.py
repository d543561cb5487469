"""Subscribers who see the same event through the same operation get one execution and one encoded answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable

from schema.answers import Answer

_KEPT = 1_024

Execution = Answer | Coroutine[None, None, Answer]


class Shares:
    """The latest shared answers, finished or under way."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, Answer | asyncio.Task[Answer]] = OrderedDict()
        self.executions = 0

    async def answer(self, key: Hashable, execute: Callable[[], Execution]) -> Answer:
        """The answer under this key, from whoever asked first. One caller's leaving does not end it for the others."""
        known = self._answers.get(key)
        if known is None:
            known = self._begin(key, execute())
        if isinstance(known, Answer):
            return known
        return known.result() if known.done() else await asyncio.shield(known)

    def _begin(self, key: Hashable, execution: Execution) -> Answer | asyncio.Task[Answer]:
        self.executions += 1
        begun = execution if isinstance(execution, Answer) else asyncio.create_task(execution)
        self._answers[key] = begun
        if len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return begun
