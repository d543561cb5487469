"""Customers' webhooks: follow every workspace's log, make deliveries of its events, hand them over side by side.

Any number of processes share the work. A log is followed by one of them at a time, whoever holds its cursor; deliveries and
the cursor are stored in one transaction, so an event becomes exactly one delivery for each subscription, whatever dies when.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from delivery import webhook_events
from delivery.metrics import Meters
from delivery.outage import Outage
from delivery.webhook_attempts import NOT_KEPT, NOT_TOLD, Attempted, Courier, settle
from delivery.webhook_payloads import NOUNS, payload_of, subjects, test_payload
from models import connectors, events, webhook_deliveries, webhook_queue, webhooks
from models.base import now
from models.bell import EVENTS, Bell
from models.connectors import Connector
from models.database import Database, is_passing
from models.events import Event
from models.webhook_deliveries import TEST, DeliveryStatus, WebhookDelivery
from models.webhooks import WebhookSubscription

HINT = "webhooks"
POLL_SECONDS = 1.0
SHORTEST_NAP = 0.02
RETRY_STORE_SECONDS = 0.3
STORE_SECONDS = 5.0
CHORES_SECONDS = 60.0
EVENTS_AT_ONCE = 500
MOST_OF_ONE = 10
CHORE_ROWS = 500

log = structlog.get_logger()


class Webhooks:
    """One dispatcher. At most `concurrency` deliveries are under way here, and 10 of one subscription."""

    def __init__(
        self,
        database: Database,
        courier: Courier,
        bell: Bell,
        meters: Meters,
        concurrency: int,
        retention: dt.timedelta,
    ) -> None:
        self._database = database
        self._courier = courier
        self._bell = bell
        self._meters = meters
        self._concurrency = concurrency
        self._retention = retention
        self._wake = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._finished: list[Attempted] = []
        self._some_finished = asyncio.Event()
        self._stopping = False
        self._outage = Outage()
        self._chores_at = 0.0

    @property
    def in_flight(self) -> int:
        """Deliveries claimed whose outcome is not stored yet."""
        return len(self._in_flight)

    async def run(self) -> None:
        """Until cancelled, which `stop` should precede. A database that is away is waited for."""
        unlisten = self._bell.listen(lambda hint: self._wake.set() if hint == HINT or hint.startswith(EVENTS) else None)
        writer = asyncio.create_task(self._write_down())
        try:
            while True:
                self._wake.clear()
                worked = False
                try:
                    worked = not self._stopping and await self._pass()
                    self._outage.over()
                except Exception as error:
                    self._outage.met(error, "webhooks_failed")
                await asyncio.sleep(SHORTEST_NAP)  # what happens meanwhile is taken up together
                if not worked:
                    await self._rest(POLL_SECONDS)
        finally:
            unlisten()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def stop(self, drain_seconds: float) -> None:
        """Claim no more and wait for what is under way. What was not answered by then is delivered again later."""
        self._stopping = True
        if not await self._idle(drain_seconds):
            for task in self._in_flight.values():
                task.cancel()
            await self._idle(STORE_SECONDS)

    async def _idle(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._in_flight:
                    await self._rest(POLL_SECONDS)
        return not self._in_flight

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of 3.11 may swallow a cancellation
                await self._wake.wait()
        self._wake.clear()

    async def _pass(self) -> bool:
        """One look at the logs and at what is due; whether there may be more."""
        if time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + CHORES_SECONDS
            await self._chores()
        more = [await self._follow(workspace_id) for workspace_id in await webhook_queue.lagging(self._database.reader)]
        return await self._claim() or any(more)

    # ------------------------------------------------------------------ from the log

    async def _follow(self, workspace_id: str) -> bool:
        """Make deliveries of the next events of a log; whether there may be more."""
        async with self._database.write() as session:
            seq = await webhook_queue.take_up(session, workspace_id)
            if seq is None:
                return False
            found = await webhooks.active(session, workspace_id)
            if not found:
                await webhook_queue.advance(session, workspace_id, await events.head(session, workspace_id))
                return False
            seq = max(seq, min(subscription.since_seq for subscription in found))
            new = await events.after(session, workspace_id, seq, EVENTS_AT_ONCE)
            if new and new[0].seq != seq + 1:
                log.error("webhook_events_missed", workspace_id=workspace_id, events=new[0].seq - seq - 1)
            since = {subscription.id: subscription.since_seq for subscription in found}
            entries = await entries_of(session, workspace_id, found, new)
            wanted = [entry for entry in entries if entry["event_seq"] > since[entry["subscription_id"]]]
            await webhook_deliveries.enqueue(session, workspace_id, wanted)
            await webhook_queue.advance(session, workspace_id, new[-1].seq if new else seq)
        return len(new) == EVENTS_AT_ONCE

    # ------------------------------------------------------------------ to the receivers

    async def _claim(self) -> bool:
        """Take what is due and begin to deliver it; whether there was any."""
        room = self._concurrency - self.in_flight
        if room <= 0:
            return False
        waiting = await webhook_queue.waiting(self._database.reader, room)
        if not waiting:
            return False
        claimed: list[WebhookDelivery] = []
        lease = self._courier.policy.lease
        async with self._database.write() as session:
            for lane in sorted(waiting, key=lambda lane: lane.id):
                limit = min(room - len(claimed), MOST_OF_ONE - self._busy[lane.id])
                if limit > 0:
                    claimed += await webhook_queue.claim(session, lane, limit, lease)
        await self._begin(claimed)
        return bool(claimed)

    async def _begin(self, claimed: Sequence[WebhookDelivery]) -> None:
        async with self._database.read() as session:
            known = await webhook_queue.subscriptions(session, list({each.subscription_id for each in claimed}))
            told = await webhook_queue.events(session, [each.event_id for each in claimed])
            about = await _subjects(session, list(told.values()))
        for delivery in claimed:
            subscription = known.get(delivery.subscription_id)
            if subscription is None:
                continue  # deleted this moment; a chore gives up what it left
            event = told.get(delivery.event_id)
            attempt = self._attempt(delivery, subscription, event, about)
            self._busy[subscription.id] += 1
            self._in_flight[delivery.id] = asyncio.create_task(attempt)

    async def _attempt(
        self, delivery: WebhookDelivery, subscription: WebhookSubscription, event: Event | None, about: Mapping[str, Any]
    ) -> None:
        begun, outcome = now(), None
        try:
            payload = self._payload(delivery, subscription, event, about)
            outcome = NOT_KEPT if payload is None else await self._courier.hand_over(delivery, subscription, payload)
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("webhook_not_told", delivery_id=delivery.id, event_type=delivery.event_type)
            outcome = NOT_TOLD
        self._finished.append(Attempted(delivery, subscription, outcome, begun, event.occurred_at if event else None))
        self._some_finished.set()

    def _payload(
        self, delivery: WebhookDelivery, subscription: WebhookSubscription, event: Event | None, about: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        cursor = self._courier.cursor_of(delivery.workspace_id, delivery.event_seq)
        if delivery.event_type == TEST:
            return test_payload(delivery, subscription, cursor)
        if event is None or event.subject_id not in about:
            return None
        return payload_of(event, about[event.subject_id], subscription.naming, cursor)

    async def _write_down(self) -> None:
        """Store outcomes as they come, as many in one transaction as came while the last one was written."""
        while True:
            await self._some_finished.wait()
            self._some_finished.clear()
            while self._finished:
                batch, self._finished = self._finished, []
                await self._store(batch)
                for each in batch:
                    self._in_flight.pop(each.delivery.id, None)
                    self._busy[each.subscription.id] -= 1
                self._busy += Counter()  # drops those that have none
                self._wake.set()

    async def _store(self, batch: Sequence[Attempted]) -> None:
        """Keep trying as long as the leases run; after that another process delivers again, under the same ids."""
        deadline = time.monotonic() + self._courier.policy.lease.total_seconds()
        while True:
            try:
                async with self._database.write() as session:
                    settled = await settle(session, batch, self._courier.policy)
                break
            except Exception as error:
                self._outage.met(error, "webhook_outcomes_not_stored")
                if not is_passing(error) or time.monotonic() > deadline:
                    return
                await asyncio.sleep(RETRY_STORE_SECONDS)
        for each, delivery in zip(batch, settled, strict=True):
            if delivery is not None and each.outcome is not None:
                self._tell(each, delivery)

    def _tell(self, each: Attempted, delivery: WebhookDelivery) -> None:
        outcome = each.outcome
        assert outcome is not None
        arrived = delivery.status == DeliveryStatus.DELIVERED
        self._meters.webhook(delivery.status, outcome.duration_ms, each.occurred_at if arrived else None)
        log.info(
            "webhook",
            delivery_id=delivery.id,
            subscription_id=delivery.subscription_id,
            workspace_id=delivery.workspace_id,
            event_type=delivery.event_type,
            status=delivery.status.lower(),
            attempt=delivery.attempts[-1]["number"],
            status_code=outcome.status_code,
            duration_ms=outcome.duration_ms,
        )

    # ------------------------------------------------------------------ chores

    async def _chores(self) -> None:
        """Give up what waits too long, forget what ended long ago: a bounded number at a time, until there is no more."""
        more = True
        while more and not self._stopping:
            async with self._database.write() as session:
                dead = await webhook_queue.give_up(session, now() - self._courier.policy.give_up_after, CHORE_ROWS)
                for delivery in dead:
                    webhook_deliveries.changed(session, delivery, DeliveryStatus.PENDING)
            async with self._database.write() as session:
                forgotten = await webhook_queue.forget(session, now() - self._retention, CHORE_ROWS)
            more = len(dead) >= CHORE_ROWS or forgotten >= CHORE_ROWS


async def entries_of(
    session: AsyncSession, workspace_id: str, subscriptions: Sequence[WebhookSubscription], new: Sequence[Event]
) -> list[dict[str, Any]]:
    """The deliveries that events of a workspace make, for those of its subscriptions that want them."""
    told = [event for event in new if event.kind in NOUNS]
    asks = any(subscription.event_filters for subscription in subscriptions)
    through = await _connectors(session, workspace_id, told) if asks else {}
    wanted = [(each, webhook_events.select(each.service, each.event)) for each in subscriptions]
    at, entries = now(), []
    for event in told:
        types = webhook_events.types_of(event.kind, event.type)
        known = webhook_events.facts(event, through.get(event.connector_id or ""))
        for subscription, named in wanted:
            if not named.isdisjoint(types) and webhook_events.passes(subscription.event_filters, known):
                entries.append(webhook_deliveries.entry(subscription.id, event, at))
    return entries


async def _connectors(session: AsyncSession, workspace_id: str, told: Sequence[Event]) -> dict[str, Connector]:
    ids = list({event.connector_id for event in told if event.connector_id is not None})
    return {connector.id: connector for connector in await connectors.by_ids(session, workspace_id, ids)}


async def _subjects(session: AsyncSession, told: Sequence[Event]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for workspace_id in {event.workspace_id for event in told}:
        found |= await subjects(session, workspace_id, [event for event in told if event.workspace_id == workspace_id])
    return found
