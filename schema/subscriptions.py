"""One operation that a viewer subscribes to: how its events are found and answered."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any

from graphql import ExecutionResult, Executor, execute_subscription_event

from resolvers.feeds import Feed
from schema.answers import Answer, present, present_exception
from schema.groups import Groups, Member
from schema.sharing import Execution, Shares


class Subscription:
    """`source` gives the events. One with a `share_key` is resolved once for all subscriptions that have `told` in common; None
    has nothing in common. Of the same `likeness` are those that are told of the same events, too."""

    def __init__(
        self,
        executor: Executor[Any],
        source: AsyncIterable[Any],
        told: Hashable | None,
        likeness: Hashable,
        new_context: Callable[[], object],
        shares: Shares,
        groups: Groups,
    ) -> None:
        self.likeness = likeness
        self._executor = executor
        self._source = source
        self._told = told
        self._new_context = new_context
        self._shares = shares
        self._groups = groups

    async def answers(self, member: Member | None = None, seq: int | None = None) -> AsyncGenerator[Answer]:
        """An answer for each event, or for each past `seq`. One that was not `executed` is the last: the source broke.

        There is no end for those who read by themselves. A `member` reads until it knows what its group has told, and has then
        joined it.
        """
        try:
            async with _closing(self._events(member, seq)) as events:
                async for event in events:
                    yield await self.answer(event)
        except Exception as error:
            yield self.broken(error)

    def _events(self, member: Member | None, seq: int | None) -> AsyncIterator[Any]:
        if member is None or self._told is None or not isinstance(self._source, Feed):
            return aiter(self._source)
        return self._until_joined(self._source, member, seq)

    async def _until_joined(self, feed: Feed, member: Member, seq: int | None) -> AsyncGenerator[Any]:
        async with feed.open(seq) as place:
            for event in await feed.state(place.seq) if seq is None else ():
                yield event
            while not self._groups.enter(self, feed, member, place):
                try:
                    event = await anext(place)
                except StopAsyncIteration:
                    return
                if feed.wants(event):
                    yield event

    async def answer(self, event: Any) -> Answer:
        """What is told of an event."""
        key = getattr(event, "share_key", None)
        if key is not None and self._told is not None:
            return await self._shares.answer((self._told, key), lambda: self._execute(event))
        execution = self._execute(event)
        return execution if isinstance(execution, Answer) else await execution

    def broken(self, error: Exception) -> Answer:
        """The last answer, when nothing more can be told."""
        return Answer(errors=present_exception(error, self._name), executed=False)

    def _execute(self, event: Any) -> Execution:
        executor = self._executor.build_per_event_executor(event)
        executor.context_value = self._new_context()
        result = execute_subscription_event(executor)
        return self._finish(result) if inspect.isawaitable(result) else self._answer(result)

    async def _finish(self, result: Awaitable[ExecutionResult]) -> Answer:
        return self._answer(await result)

    def _answer(self, result: ExecutionResult) -> Answer:
        return Answer(result.data, present(result.errors, self._name) if result.errors else ())

    @property
    def _name(self) -> str | None:
        name = self._executor.operation.name
        return name.value if name is not None else None


def _closing(events: AsyncIterator[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Ends the source with the subscription, where it can be ended."""
    return aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext(events)
