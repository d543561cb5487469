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
from delivery.attempt import hand_over, write_line
from delivery.circuit import Circuits
from delivery.evacuation import Evacuations
from delivery.metrics import Meters
from delivery.outbound import outbound
from delivery.providers import Providers
from delivery.recovery import Recovery
from delivery.route import Router
from delivery.settle import report, settle
from delivery.verdict import EXPIRED, Finished, Outcome, not_sent
from delivery.withheld import skipped, withhold
from models import busy, clocks, connectors, messages, queue, underway, workers
from models.base import now
from models.bell import JOBS, Bell
from models.busy import BusyLane
from models.connectors import CircuitState, Connector
from models.database import Database, is_passing
from models.messages import MessageStatus
from models.queue import OTP, SUSPECT, Claim
from models.timeline import TimelineSource, message_changed
from models.underway import Underway

HINT = JOBS
POLL_SECONDS = 0.25
LEASE = dt.timedelta(seconds=90)
LATEST_START = 0.6  # of the lease
BATCH = 256
SLICE = 4  # hand-overs begun at once: whoever else waits for the loop has it in between
GATHER_SECONDS = 0.02
MATCH_SECONDS = 0.05
STORE_GATHER_SECONDS = 0.005
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
        self._recovery = Recovery(database, router, self._circuits, meters, self._name)
        self._lease = lease
        self._nap = POLL_SECONDS
        self._wake = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._finished: list[Finished] = []
        self._some_finished = asyncio.Event()
        self._unstored = 0
        self._sent: list[tuple[str, str]] = []
        self._passing = asyncio.Lock()
        self._claiming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._claiming.set_result(None)
        self._promised = 0
        self._stopping = False
        self._claimed_at = self._chores_at = self._beat_at = 0.0
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
        helpers = [asyncio.create_task(self._write_down()), asyncio.create_task(self._match_receipts())]
        recovered = not self._alone
        try:
            while True:
                self._wake.clear()
                worked = False
                try:
                    if not recovered:
                        await self._recovery.run(None)
                    recovered = True
                    await self._beat()
                    async with self._passing:
                        worked = not self._stopping and await self._pass()
                    self._available()
                except Exception as error:
                    self._unavailable(error, "dispatch_failed")
                if not worked:
                    await self._rest()
        finally:
            unlisten()
            for helper in (*helpers, self._claiming):
                helper.cancel()
            await asyncio.gather(*helpers, self._claiming, return_exceptions=True)

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
                async with self._passing:  # what is being claimed is in flight only after that
                    await asyncio.wait({self._claiming})
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
        is_idle = self._claiming.done()  # before the look: a claim that ends after it has changed what is seen
        reader = self._database.reader
        due, lanes = await busy.next_due(reader), await busy.busy_lanes(reader)
        if due is not None and due <= now():
            await self._promote()
            return True
        self._nap = min([POLL_SECONDS, *(lane.rests for lane in lanes if lane.rests > 0)])
        lanes = [lane for lane in lanes if lane.rests <= 0]
        urgent = [lane for lane in lanes if lane.top <= OTP]
        if urgent and (self._passes + 1) % shares.LEAST_URGENT_FIRST and await self._claim(urgent, only_urgent=True):
            return True
        early = self._claimed_at + GATHER_SECONDS - time.monotonic()
        if early > 0 and self._is_full:
            self._nap = min(self._nap, early)
        elif lanes and self._free > 0 and is_idle:
            self._claiming = asyncio.create_task(self._claim_aside(lanes))
        return False

    @property
    def _free(self) -> int:
        """Slots left by what is claimed and handed over now, and by outcomes when the database is behind with them."""
        return self._concurrency - self._promised - max(self.in_flight - self._unstored, self.in_flight - self._concurrency)

    @property
    def _is_full(self) -> bool:
        """Too little is free to be worth a claim, unless something is urgent or has waited for long."""
        return self._free < self._concurrency // 2

    async def _claim_aside(self, lanes: Sequence[BusyLane]) -> None:
        """What is not urgent is claimed aside, so that what is urgent need not wait for it."""
        try:
            if await self._claim(lanes):
                self._wake.set()
        except Exception as error:
            self._unavailable(error, "dispatch_failed")

    async def _claim(self, lanes: Sequence[BusyLane], only_urgent: bool = False) -> bool:
        self._passes += 1
        wanted = shares.among(lanes, self._concurrency, self._concurrency - self._free, self._passes)
        if not wanted:
            return False
        promised = sum(max(common, urgent) for _lane, common, urgent in wanted)
        self._promised += promised
        try:
            async with self._database.write(urgent=only_urgent) as session:
                claims = []
                for lane, common, urgent in wanted:
                    limit = 0 if only_urgent else common
                    suspect = lane.top == SUSPECT and not only_urgent
                    claims += await queue.claim(session, lane.id, self._name, limit, urgent, self._lease, suspect)
                begun = await self._begin(session, claims) if claims else []
        finally:
            self._promised -= promised
        await self._start(begun, time.monotonic())
        return bool(begun)

    async def _start(self, begun: Sequence[tuple[Claim, Underway, Connector]], claimed_at: float) -> None:
        self._claimed_at = claimed_at
        for claim, message, connector in begun:
            self._in_flight[claim.message_id] = asyncio.create_task(self._attempt(claim, message, connector, claimed_at))
            if len(self._in_flight) % SLICE == 0:
                await asyncio.sleep(0)

    async def _begin(self, session: AsyncSession, claims: Sequence[Claim]) -> list[tuple[Claim, Underway, Connector]]:
        """The messages of claimed jobs, moved to PROCESSING. One that is not waiting any more loses its job."""
        through = await self._through(session, claims)
        found = {m.id: m for m in await underway.begin(session, [claim.message_id for claim in claims])}
        idle = [claim for claim in claims if claim.message_id not in found]
        if idle:
            await queue.finish(session, [claim.message_id for claim in idle])
            await messages.write_attempts(session, [skipped(claim) for claim in idle])
        withheld = await withhold(session, self._router, claims, found)
        kept = [claim for claim in claims if claim.message_id in found and claim.message_id not in withheld]
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

    async def _attempt(self, claim: Claim, message: Underway, connector: Connector, claimed_at: float) -> None:
        try:
            outcome = await self._outcome(claim, message, connector, claimed_at)
        except asyncio.CancelledError:
            outcome = not_sent("WORKER_STOPPED", "The process stopped before the message had left.")
        except Exception:
            log.exception("attempt_not_begun", message_id=claim.message_id)
            outcome = not_sent("INTERNAL", "An internal error kept the attempt from beginning.")
        write_line(self._attempts, claim, message, outcome)
        self._finished.append(Finished(claim, message, connector, outcome))
        self._unstored += 1
        self._some_finished.set()
        if not self._is_full and self._claiming.done():
            self._wake.set()

    async def _outcome(self, claim: Claim, message: Underway, connector: Connector, claimed_at: float) -> Outcome:
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
        return await hand_over(provider, wire, outbound(message, claim.attempt, self._providers.links.of(message)))

    async def _write_down(self) -> None:
        """Store outcomes as they come: in one transaction those that came while the last one was written, and those that come
        right after one another."""
        while True:
            await self._some_finished.wait()
            if len(self._finished) < min(BATCH, self.in_flight // 2):
                await asyncio.sleep(STORE_GATHER_SECONDS)
            self._some_finished.clear()
            while self._finished:
                batch, self._finished = self._finished[:BATCH], self._finished[BATCH:]
                await self._store(batch)
                self._unstored -= len(batch)
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
        report(self._meters, batch, settled)
        self._sent += settled.sent

    async def _store_singly(self, batch: Sequence[Finished]) -> None:
        if len(batch) > 1:
            for item in batch:
                await self._store([item])

    async def _match_receipts(self) -> None:
        """Take the receipts that came before their message was known to be sent, for many messages at a time."""
        while True:
            await asyncio.sleep(MATCH_SECONDS)
            sent, self._sent = self._sent, []
            try:
                self._meters.deliver(await receipts.catch_up(self._database, sent))
            except Exception:
                log.exception("receipts_not_taken", messages=len(sent))  # a chore looks for them again

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
        await self._recovery.run(now())

    async def _beat(self) -> None:
        """Say that this process lives, so that its claims are left to it."""
        if time.monotonic() >= self._beat_at:
            async with self._database.write() as session:
                await workers.beat(session, self._name)
            self._beat_at = time.monotonic() + BEAT_SECONDS
