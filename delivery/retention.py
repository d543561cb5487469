"""Retention: old events are dropped, and messages older than their workspace keeps them forget whom they went to and what
they said. Statuses, times and codes stay, so the statistics do. One process does it for all, a batch a transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from delivery import inbound
from models import chores, redaction, retention, spendings
from models.base import now
from models.database import Database, is_passing
from models.timeline import TimelineSource, message_noted
from models.vault import Vault

CHORE = "retention"
EVERY = dt.timedelta(hours=1)
LOOK_SECONDS = 60.0
EVENTS_AT_ONCE = 1_000
MESSAGES_AT_ONCE = 100

log = structlog.get_logger()

Step = Callable[[AsyncSession], Awaitable[int]]


class Keeper:
    """`event_days` is how long events are kept; how long messages are, each workspace says."""

    def __init__(self, database: Database, vault: Vault, event_days: int, events_at_once: int = EVENTS_AT_ONCE) -> None:
        self._vault = vault
        self._events_at_once = events_at_once
        self._database = database
        self._events = dt.timedelta(days=event_days)
        self._redacted_upto: dict[str, str] = {}

    async def run(self) -> None:
        """Do what is due, again and again."""
        while True:
            try:
                async with self._database.write() as session:
                    mine = await chores.claim(session, CHORE, EVERY)
                if mine:
                    await self.tidy()
            except Exception as error:
                if not is_passing(error):
                    raise
                log.warning("retention_postponed", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def tidy(self, at: dt.datetime | None = None) -> None:
        """Everything that has been kept long enough by `at`, or by now, in every workspace."""
        at = at or now()
        async with self._database.write() as session:
            await spendings.forget(session, at - spendings.KEPT)
        await self._all(lambda session: inbound.give_up(session, at, MESSAGES_AT_ONCE, self._vault), MESSAGES_AT_ONCE)
        async with self._database.read() as session:
            policies = await retention.policies(session)
        for workspace_id, days in policies:
            done = {"events": await self._events_of(workspace_id, at - self._events)}
            if days is not None:
                done |= await self._messages_of(workspace_id, at - dt.timedelta(days=days))
            if any(done.values()):
                log.info("retained", workspace_id=workspace_id, **done)

    async def _events_of(self, workspace_id: str, before: dt.datetime) -> int:
        many = self._events_at_once
        return await self._all(lambda session: retention.drop_events(session, workspace_id, before, many), many)

    async def _messages_of(self, workspace_id: str, before: dt.datetime) -> dict[str, int]:
        many = MESSAGES_AT_ONCE
        return {
            "messages": await self._redact(workspace_id, before),
            "inbound": await self._all(lambda s: retention.redact_inbound(s, workspace_id, before, many), many),
            "parked_receipts": await self._all(lambda s: retention.drop_parked(s, workspace_id, before, many), many),
        }

    async def _all(self, step: Step, most: int) -> int:
        """Batches until one is not full."""
        total = 0
        while True:
            async with self._database.write() as session:
                number = await step(session)
            total += number
            if number < most:
                return total

    async def _redact(self, workspace_id: str, before: dt.datetime) -> int:
        """Redact old messages. Where it got to is remembered, so that what is redacted is not looked at every hour; it goes
        no further than the oldest message that is still under way, which is looked at again."""
        first, total = self._redacted_upto.get(workspace_id, ""), 0
        async with self._database.read() as session:
            under_way = await retention.first_under_way(session, workspace_id)
        while True:
            async with self._database.read() as session:
                found = await retention.old_messages(session, workspace_id, before, first, MESSAGES_AT_ONCE)
            async with self._database.write() as session:
                for message_id in found:
                    total += await self._redacted(session, workspace_id, message_id)
            first = found[-1] if found else first
            self._redacted_upto[workspace_id] = first if under_way is None else min(first, under_way)
            if len(found) < MESSAGES_AT_ONCE:
                return total

    async def _redacted(self, session: AsyncSession, workspace_id: str, message_id: str) -> bool:
        message = await redaction.lock(session, workspace_id, message_id)
        if message is None or message.redacted_at is not None:
            return False
        redacted = await redaction.redact(session, message, self._vault)
        message_noted(session, redacted, "redacted", "Kept long enough", TimelineSource.OPERATOR)
        return True
