"""The worker: claims jobs, runs their attempts side by side, and writes the outcomes down.

A claim commits the attempt before the provider is called. What was claimed and never finished, because a process died, becomes
UNKNOWN; it is not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import time
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery import attempt, route
from delivery.attempt import Outcome
from delivery.providers import Providers
from models import connectors, messages, queue
from models.base import now
from models.bell import Bell
from models.connectors import Connector
from models.database import Database
from models.messages import Message, MessageStatus
from models.queue import Claim
from models.timeline import TimelineSource, message_changed

HINT = "jobs"
POLL_SECONDS = 0.25
LEASE = dt.timedelta(seconds=90)
PER_LANE = 50
RETRY_STORE_SECONDS = 0.3
CHORES_SECONDS = 1.0

log = structlog.get_logger()

Work = tuple[Claim, Message, Connector]


class Worker:
    """One dispatcher. `alone` says that no other process can hold a live lease on this database, so all old ones are dead."""

    def __init__(self, database: Database, providers: Providers, bell: Bell, concurrency: int, alone: bool) -> None:
        self._database = database
        self._providers = providers
        self._bell = bell
        self._concurrency = concurrency
        self._alone = alone
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._chores_at = 0.0

    async def run(self) -> None:
        """Until `stop`, or until cancelled. A database that is away is waited for."""
        unlisten = self._bell.listen(lambda hint: self._wake.set() if hint == HINT else None)
        recovered = not self._alone
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    if not recovered:
                        await self._recover(None)
                        recovered = True
                    worked = await self._pass()
                except Exception:
                    log.exception("dispatch_failed")
                    worked = False
                if not worked:
                    await self._rest()
        finally:
            unlisten()

    async def stop(self, drain_seconds: float) -> None:
        """Claim no more, wait for what is in flight, and leave the rest to the next start."""
        self._stopping = True
        self._wake.set()
        if self._running:
            await asyncio.wait(self._running, timeout=drain_seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _pass(self) -> bool:
        """One look at the queue; whether anything was started."""
        if time.monotonic() >= self._chores_at:
            await self._chores()
            self._chores_at = time.monotonic() + CHORES_SECONDS
        async with self._database.read() as session:
            due, lanes = await queue.next_due(session), await queue.busy_lanes(session)
        if due is not None and due <= now():
            await self._promote()
            return True
        started = False
        for lane_id in lanes:
            room = min(PER_LANE, self._concurrency - len(self._running))
            if room <= 0 or self._stopping:
                break
            for work in await self._claim(lane_id, room):
                self._start(work)
                started = True
        return started

    async def _promote(self) -> None:
        """Jobs whose time has come: retries, and messages that were scheduled."""
        queued, scheduled = {"status": MessageStatus.QUEUED}, [MessageStatus.SCHEDULED]
        async with self._database.write() as session:
            for workspace_id, message_id in await queue.promote(session):
                moved = await messages.move(session, workspace_id, message_id, scheduled, queued)
                if moved is not None:
                    message_changed(session, moved, MessageStatus.SCHEDULED, TimelineSource.DISPATCHER)

    async def _chores(self) -> None:
        async with self._database.write() as session:
            for workspace_id, message_id in await queue.overdue(session):
                message = await messages.get(session, workspace_id, message_id)
                if message is not None:
                    await attempt.expire(session, message)
            for workspace_id, message_id in await queue.stranded(session):
                message = await messages.get(session, workspace_id, message_id)
                if message is not None:
                    await route.rehome(session, message)
        if not self._alone:
            await self._recover(now())

    async def _recover(self, before: dt.datetime | None) -> None:
        """Attempts whose worker is gone: nobody knows what became of them."""
        async with self._database.write() as session:
            for claim in await queue.lost(session, before, self._name):
                await attempt.give_up(session, claim)

    async def _claim(self, lane_id: str, room: int) -> Sequence[Work]:
        async with self._database.write() as session:
            claims = await queue.claim(session, lane_id, self._name, room, LEASE)
            begun = [await self._begin(session, claim) for claim in claims]
        return [work for work in begun if work is not None]

    async def _begin(self, session: AsyncSession, claim: Claim) -> Work | None:
        workspace_id = claim.workspace_id
        values = {"status": MessageStatus.PROCESSING, "connector_id": claim.connector_id}
        message = await messages.move(session, workspace_id, claim.message_id, [MessageStatus.QUEUED], values)
        connector = await connectors.get(session, workspace_id, claim.connector_id)
        if message is None or connector is None:
            log.error("job_without_message", message_id=claim.message_id, connector_id=claim.connector_id)
            await queue.finish(session, claim)
            return None
        message_changed(session, message, MessageStatus.QUEUED, TimelineSource.DISPATCHER, attempt=claim.attempt)
        return claim, message, connector

    def _start(self, work: Work) -> None:
        task = asyncio.create_task(self._attempt(*work))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _attempt(self, claim: Claim, message: Message, connector: Connector) -> None:
        outbound = attempt.outbound(message, claim.attempt)
        try:
            provider, wire = self._providers.of(connector), self._providers.wire(connector)
        except ValueError as error:
            log.error("connector_unusable", connector_id=connector.id, reason=type(error).__name__)
            text = "The connector's configuration cannot be used any more; save it again."
            refusal = SendError(FailureKind.CONFIGURATION, "CONNECTOR_UNUSABLE", text)
            outcome = Outcome(refusal, Exchange(), 0.0)
        else:
            outcome = await attempt.hand_over(provider, wire, outbound)
        self._log(claim, outcome)
        await self._store(claim, message, connector, outcome)

    async def _store(self, claim: Claim, message: Message, connector: Connector, outcome: Outcome) -> None:
        """Keep trying: what the provider answered must not be lost because the database is busy, full or away."""
        while True:
            try:
                async with self._database.write() as session:
                    await attempt.settle(session, claim, message, connector, outcome)
                return
            except SQLAlchemyError:
                log.exception("outcome_not_stored", message_id=claim.message_id, attempt=claim.attempt)
                await asyncio.sleep(RETRY_STORE_SECONDS)

    def _log(self, claim: Claim, outcome: Outcome) -> None:
        result = outcome.result
        failure = {"kind": result.kind.value, "code": result.code} if isinstance(result, SendError) else {}
        log.info(
            "attempt",
            message_id=claim.message_id,
            workspace_id=claim.workspace_id,
            connector_id=claim.connector_id,
            attempt=claim.attempt,
            outcome="refused" if failure else "accepted",
            duration_ms=outcome.duration_ms,
            **failure,
        )
