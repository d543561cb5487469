"""The worker: claims jobs, runs their attempts side by side, and writes the outcomes down.

A claim commits the attempt before the provider is called. What was claimed and never finished, because a process died,
becomes UNKNOWN; it is not sent again. A slot is taken from the claim until the outcome is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import time
from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery import fallback, receipts, retry, shares
from delivery.attempt import hand_over
from delivery.circuit import Circuits
from delivery.evacuation import Evacuations
from delivery.metrics import Meters, due_at, seconds
from delivery.outbound import outbound
from delivery.providers import Providers
from delivery.route import Router
from delivery.settle import Settled, settle
from delivery.verdict import EXPIRED, WORKER_LOST, Finished, Outcome, not_sent
from models import clocks, connectors, messages, queue, workers
from models.base import now
from models.bell import JOBS, Bell
from models.connectors import CircuitState, Connector
from models.database import Database, is_passing
from models.messages import Message, MessageStatus
from models.queue import BusyLane, Claim
from models.timeline import TimelineSource, message_changed

HINT = JOBS
POLL_SECONDS = 0.25
LEASE = dt.timedelta(seconds=90)
LATEST_START = 0.6  # of the lease
BATCH = 256
RETRY_STORE_SECONDS = 0.3
STORE_SECONDS = 5.0
CHORES_SECONDS = 1.0
BEAT_SECONDS = 5.0

log = structlog.get_logger()


class Worker:
    """One dispatcher. `alone` says that no other process can hold a live lease on this database, so all old ones are dead."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        router: Router,
        bell: Bell,
        meters: Meters,
        concurrency: int,
        alone: bool,
        lease: dt.timedelta = LEASE,
        circuits: Circuits | None = None,
    ) -> None:
        self._database = database
        self._providers = providers
        self._router = router
        self._bell = bell
        self._meters = meters
        self._concurrency = concurrency
        self._alone = alone
        self._name = secrets.token_hex(8)
        self._circuits = circuits or Circuits()
        self._evacuations = Evacuations(database, router)
        self._lease = lease
        self._nap = POLL_SECONDS
        self._wake = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._finished: list[Finished] = []
        self._some_finished = asyncio.Event()
        self._stopping = False
        self._chores_at = 0.0
        self._beat_at = 0.0
        self._passes = 0
        self._outage = False
        self._attempts = log.bind()  # bound once: every attempt writes a line

    @property
    def in_flight(self) -> int:
        """Messages claimed whose outcome is not stored yet."""
        return len(self._in_flight)

    async def run(self) -> None:
        """Until cancelled, which `stop` should precede. A database that is away is waited for."""
        unlisten = self._bell.listen(lambda hint: self._wake.set() if hint == HINT else None)
        writer = asyncio.create_task(self._write_down())
        recovered = not self._alone
        try:
            while True:
                self._wake.clear()
                worked = False
                try:
                    if not recovered:
                        await self._recover(None)
                    recovered = True
                    await self._beat()
                    worked = not self._stopping and await self._pass()
                    self._available()
                except Exception as error:
                    self._unavailable(error, "dispatch_failed")
                if not worked:
                    await self._rest()
        finally:
            unlisten()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def stop(self, drain_seconds: float) -> None:
        """Claim no more and wait for what is in flight. What has not left by then goes back to the queue."""
        self._stopping = True
        if not await self._idle(drain_seconds):
            for task in self._in_flight.values():
                task.cancel()
            await self._idle(STORE_SECONDS)
        await self._leave()

    async def _leave(self) -> None:
        try:
            async with self._database.write() as session:
                await workers.leave(session, self._name)
        except Exception as error:
            self._unavailable(error, "worker_not_left")  # its heart stops, which says the same a little later

    async def _idle(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._in_flight:
                    await self._rest()
        return not self._in_flight

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._nap):  # wait_for of 3.11 may swallow a cancellation
                await self._wake.wait()
        self._wake.clear()

    async def _pass(self) -> bool:
        """One look at the queue; whether anything was started."""
        if time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + CHORES_SECONDS
            await self._chores()
        async with self._database.read() as session:
            due, lanes = await queue.next_due(session), await queue.busy_lanes(session)
        if due is not None and due <= now():
            await self._promote()
            return True
        self._nap = min([POLL_SECONDS, *(lane.rests for lane in lanes if lane.rests > 0)])
        lanes = [lane for lane in lanes if lane.rests <= 0]
        return bool(lanes) and self._concurrency > self.in_flight and await self._claim(lanes)

    async def _claim(self, lanes: Sequence[BusyLane]) -> bool:
        self._passes += 1
        started = False
        async with self._database.write() as session:
            claims = []
            for lane, common, urgent in shares.among(lanes, self._concurrency, self.in_flight, self._passes):
                claims += await queue.claim(session, lane.id, self._name, common, urgent, self._lease)
            begun = await self._begin(session, claims) if claims else []
        for claim, message, connector in begun:
            self._start(claim, message, connector)
            started = True
        return started

    async def _begin(self, session: AsyncSession, claims: Sequence[Claim]) -> list[tuple[Claim, Message, Connector]]:
        """The messages of claimed jobs, moved to PROCESSING. One that is not waiting any more loses its job."""
        through = await self._through(session, claims)
        found = {m.id: m for m in await messages.begin(session, [claim.message_id for claim in claims])}
        idle = [claim for claim in claims if claim.message_id not in found]
        if idle:
            await queue.finish(session, [claim.message_id for claim in idle])
            await messages.write_attempts(session, [_skipped(claim) for claim in idle])
        kept = [claim for claim in claims if claim.message_id in found]
        for claim in kept:
            source = TimelineSource.DISPATCHER
            message_changed(session, found[claim.message_id], MessageStatus.QUEUED, source, attempt=claim.attempt)
        return [(claim, found[claim.message_id], through[claim.connector_id]) for claim in kept]

    async def _through(self, session: AsyncSession, claims: Sequence[Claim]) -> dict[str, Connector]:
        """The connectors of claims. The first message through an open circuit half opens it."""
        lanes_of: dict[str, set[str]] = {}
        for claim in claims:
            lanes_of.setdefault(claim.workspace_id, set()).add(claim.connector_id)
        found: dict[str, Connector] = {}
        for workspace_id, lane_ids in sorted(lanes_of.items()):
            found |= {c.id: c for c in await connectors.by_ids(session, workspace_id, sorted(lane_ids))}
        for connector in found.values():
            if connector.circuit == CircuitState.OPEN:
                await self._circuits.change(session, connector, CircuitState.HALF_OPEN)
        return found

    def _start(self, claim: Claim, message: Message, connector: Connector) -> None:
        attempt = self._attempt(claim, message, connector, time.monotonic())
        self._in_flight[claim.message_id] = asyncio.create_task(attempt)

    async def _attempt(self, claim: Claim, message: Message, connector: Connector, claimed_at: float) -> None:
        try:
            outcome = await self._outcome(claim, message, connector, claimed_at)
        except asyncio.CancelledError:
            outcome = not_sent("WORKER_STOPPED", "The process stopped before the message had left.")
        except Exception:
            log.exception("attempt_not_begun", message_id=claim.message_id)
            outcome = not_sent("INTERNAL", "An internal error kept the attempt from beginning.")
        self._log(claim, message, outcome)
        self._finished.append(Finished(claim, message, connector, outcome))
        self._some_finished.set()

    async def _outcome(self, claim: Claim, message: Message, connector: Connector, claimed_at: float) -> Outcome:
        if message.expires_at is not None and message.expires_at <= now():
            return Outcome(EXPIRED, Exchange())
        if time.monotonic() - claimed_at > self._lease.total_seconds() * LATEST_START:
            return not_sent("WORKER_DELAYED", "The process was held up and its lease may have ended.")
        try:
            provider, wire = self._providers.of(connector), self._providers.wire(connector)
        except ValueError as error:
            log.error("connector_unusable", connector_id=connector.id, reason=type(error).__name__)
            text = "The connector's configuration cannot be used any more; save it again."
            return Outcome(SendError(FailureKind.CONFIGURATION, "CONNECTOR_UNUSABLE", text), Exchange())
        return await hand_over(provider, wire, outbound(message, claim.attempt))

    async def _write_down(self) -> None:
        """Store outcomes as they come, as many in one transaction as came while the last one was written."""
        while True:
            await self._some_finished.wait()
            self._some_finished.clear()
            while self._finished:
                batch, self._finished = self._finished[:BATCH], self._finished[BATCH:]
                await self._store(batch)
                for item in batch:
                    self._in_flight.pop(item.claim.message_id, None)
                self._wake.set()

    def _unavailable(self, error: Exception, event: str) -> None:
        """Tell of a database that is away once, and of everything else, which is our own fault, each time."""
        if not is_passing(error):
            log.exception(event)
        elif not self._outage:
            log.error("database_unavailable", error=type(error).__name__, reason=str(getattr(error, "orig", error))[:200])
            self._outage = True

    def _available(self) -> None:
        if self._outage:
            log.info("database_available")
        self._outage = False

    async def _store(self, batch: Sequence[Finished]) -> None:
        """Keep trying: what a provider answered must not be lost because the database is busy, full or away. An outcome that
        cannot be stored for another reason keeps no other back; its message becomes UNKNOWN when the lease is over."""
        while True:
            try:
                async with self._database.write() as session:
                    settled = await settle(session, self._router, self._circuits, batch)
                break
            except Exception as error:
                self._unavailable(error, "outcomes_not_stored")
                if not is_passing(error):
                    await self._store_singly(batch)
                    return
                await asyncio.sleep(RETRY_STORE_SECONDS)
        self._meter(batch, settled)
        try:
            self._meters.deliver(await receipts.catch_up(self._database, settled.sent))
        except Exception:
            log.exception("receipts_not_taken", messages=len(settled.sent))  # a chore looks for them again

    async def _store_singly(self, batch: Sequence[Finished]) -> None:
        if len(batch) > 1:
            for item in batch:
                await self._store([item])

    def _meter(self, batch: Sequence[Finished], settled: Settled) -> None:
        for item, verdict in zip(batch, settled.verdicts, strict=True):
            self._meters.attempt(item, verdict)

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
            await fallback.expire(session)
            await fallback.without_receipt(session, self._router)
            await clocks.set_right(session, retry.LONGEST_WAIT)
        await self._evacuations.run()
        self._meters.deliver(await receipts.catch_up_all(self._database))
        await self._recover(now())

    async def _recover(self, before: dt.datetime | None) -> None:
        """Attempts whose worker is gone: nobody knows what became of them."""
        while await self._recover_some(before):
            pass

    async def _recover_some(self, before: dt.datetime | None) -> int:
        settled = None
        async with self._database.write() as session:
            lost = await queue.lost(session, before, self._name)
            finished = [item for claim in lost if (item := await _lost(session, claim)) is not None]
            known = {item.claim.message_id for item in finished}
            await queue.finish(session, [claim.message_id for claim in lost if claim.message_id not in known])
            if finished:
                log.warning("attempts_lost", messages=len(finished))
                settled = await settle(session, self._router, self._circuits, finished)
        if settled is not None:
            self._meter(finished, settled)
        return len(lost)

    async def _beat(self) -> None:
        """Say that this process lives, so that its claims are left to it."""
        if time.monotonic() >= self._beat_at:
            async with self._database.write() as session:
                await workers.beat(session, self._name)
            self._beat_at = time.monotonic() + BEAT_SECONDS

    def _log(self, claim: Claim, message: Message, outcome: Outcome) -> None:
        """`queue_wait_ms` runs from when the message was due, so that a later attempt's has the earlier ones in it."""
        result = outcome.result
        waited = 1000 * seconds(due_at(message), now()) - (outcome.duration_ms or 0)
        failure = {"kind": result.kind.value, "code": result.code} if isinstance(result, SendError) else {}
        self._attempts.info(
            "attempt",
            message_id=claim.message_id,
            workspace_id=claim.workspace_id,
            connector_id=claim.connector_id,
            attempt=claim.attempt,
            outcome="refused" if failure else "accepted",
            queue_wait_ms=round(max(0.0, waited), 3),
            duration_ms=outcome.duration_ms,
            provider_status=outcome.exchange.provider_status,
            **failure,
        )


def _skipped(claim: Claim) -> dict[str, object]:
    return {"message_id": claim.message_id, "number": claim.attempt, "finished_at": now(), "outcome": "SKIPPED"}


async def _lost(session: AsyncSession, claim: Claim) -> Finished | None:
    message = await messages.get(session, claim.workspace_id, claim.message_id)
    found = await connectors.by_ids(session, claim.workspace_id, [claim.connector_id])
    if message is None or not found:
        return None
    text = "The process that was sending this stopped; the provider may or may not have the message."
    return Finished(claim, message, found[0], Outcome(SendError(FailureKind.UNKNOWN_OUTCOME, WORKER_LOST, text), Exchange()))
