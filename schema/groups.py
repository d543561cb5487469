"""Subscribers who asked alike and may see the same are a group: one place in the log, one execution and one encoded answer for
each event, and one loop that hands it to all of them.

A member takes an answer at once, or falls behind: it leaves the group and reads for itself, from the log if need be, until it
has all the group has told. So nobody waits for a slow one, nothing is kept for it, and one that waits costs no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

from models.events import Event
from models.tail import Follower
from resolvers.feeds import Feed
from schema.answers import Answer

if TYPE_CHECKING:
    from schema.subscriptions import Subscription

_MEMBERS_PER_TURN = 256


class Member(Protocol):
    """One subscriber, as a group sees it. Nothing of this waits."""

    def join(self, group: Group) -> None:
        """The group tells it everything from now on."""

    def take(self, answers: Sequence[Answer]) -> bool:
        """Pass all of these on, or say that it cannot be done at once."""

    def fall_behind(self, subscription: Subscription, seq: int) -> None:
        """It was left out of what comes past `seq`, and is a member no more."""

    def end(self, last: Answer | None) -> None:
        """Nothing will come any more, for the reason that `last` gives if there is one."""


class Groups:
    """Those of this process, by what their members have in common."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def enter(self, subscription: Subscription, feed: Feed, member: Member, place: Follower[Event]) -> bool:
        """Make who is at this place of the log a member, unless the group has told more than is known there."""
        group = self._groups.get(subscription.likeness)
        if group is None:
            group = self._groups[subscription.likeness] = Group(subscription, feed, place.branch(), self._forget)
        elif place.seq < group.seq:
            return False
        group.add(member, place.seq)
        return True

    def _forget(self, group: Group) -> None:
        if self._groups.get(group.subscription.likeness) is group:
            del self._groups[group.subscription.likeness]


class Group:
    """Answers as the subscription that founded it. `seq` is the last event it has told, or need not tell."""

    def __init__(self, subscription: Subscription, feed: Feed, place: Follower[Event], forget: Callable[[Group], None]) -> None:
        self.subscription = subscription
        self.seq = place.seq
        self._feed = feed
        self._place = place
        self._forget = forget
        self._members: dict[Member, int] = {}
        self._task = asyncio.create_task(self._run(), name="group")
        self._task.add_done_callback(lambda _task: place.close())

    def add(self, member: Member, seq: int) -> None:
        """Tell it everything past `seq`."""
        self._members[member] = seq
        member.join(self)

    def leave(self, member: Member) -> None:
        """Tell it nothing more. A group without members ends."""
        self._members.pop(member, None)
        if not self._members:
            self._forget(self)
            self._task.cancel()

    async def _run(self) -> None:
        last = None
        try:
            with self._feed.refusals():
                while self._members and (events := await self._place.several()):
                    await self._tell(events)
        except Exception as error:
            last = self.subscription.broken(error)
        self._forget(self)
        members, self._members = self._members, {}
        for member in members:
            member.end(last)

    async def _tell(self, events: Sequence[Event]) -> None:
        """What came meanwhile is told together. `seq` and the members are taken at one moment: who joins later has read all
        this before."""
        answers = [(event.seq, await self.subscription.answer(event)) for event in events if self._feed.wants(event)]
        everything, before = [answer for _, answer in answers], events[0].seq - 1
        self.seq = events[-1].seq
        for number, member in enumerate(tuple(self._members) if answers else (), 1):
            known = self._members.get(member, self.seq)
            told = everything if known <= before else [answer for seq, answer in answers if seq > known]
            if told and not member.take(told):
                del self._members[member]
                member.fall_behind(self.subscription, max(known, before))
            if number % _MEMBERS_PER_TURN == 0:
                await asyncio.sleep(0)
