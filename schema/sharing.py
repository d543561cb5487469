"""Subscribers who see the same event through the same operation get one execution and one encoded answer.

An answer tells of the objects of an event as they are, so it is shared for a moment only: who comes later gets a new one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable

from schema.answers import Answer

_KEPT = 1_024
_FRESH_SECONDS = 1.0

Execution = Answer | Coroutine[None, None, Answer]


class Shares:
    """The latest shared answers, finished or under way."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, tuple[float, Answer | asyncio.Task[Answer]]] = OrderedDict()
        self.executions = 0

    async def answer(self, key: Hashable, execute: Callable[[], Execution]) -> Answer:
        """The answer under this key, from whoever asked first. One caller's leaving does not end it for the others."""
        begun, known = self._answers.get(key, (0.0, None))
        if known is None or time.monotonic() - begun > _FRESH_SECONDS:
            known = self._begin(key, execute())
        if isinstance(known, Answer):
            return known
        return known.result() if known.done() else await asyncio.shield(known)

    def _begin(self, key: Hashable, execution: Execution) -> Answer | asyncio.Task[Answer]:
        self.executions += 1
        begun = execution if isinstance(execution, Answer) else asyncio.create_task(execution)
        self._answers.pop(key, None)
        self._answers[key] = time.monotonic(), begun
        if len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return begun
