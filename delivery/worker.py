"""The worker: claims jobs, runs their attempts side by side, and writes the outcomes down.

A claim commits the attempt before the provider is called. What was claimed and never finished, because a process died,
becomes UNKNOWN; it is not sent again. A slot is taken from the claim until the outcome is stored.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery import fallback, receipts, retry, shares
from delivery.attempt import hand_over, write_line
from delivery.circuit import Circuits
from delivery.evacuation import Evacuations
from delivery.metrics import Meters
from delivery.outage import Outage
from delivery.outbound import outbound
from delivery.outcomes import Outcomes
from delivery.providers import Providers
from delivery.recovery import Recovery
from delivery.route import Router
from delivery.verdict import EXPIRED, Finished, Outcome, not_sent
from delivery.withheld import skipped, withhold
from models import busy, clocks, connectors, messages, queue, underway, workers
from models.base import now
from models.bell import JOBS, Bell
from models.busy import BusyLane
from models.connectors import CircuitState, Connector
from models.database import Database
from models.messages import MessageStatus
from models.queue import OTP, SUSPECT, Claim
from models.timeline import TimelineSource, message_changed
from models.underway import Sendable, Underway

HINT = JOBS
POLL_SECONDS = 0.25
LEASE = dt.timedelta(seconds=90)
LATEST_START = 0.6  # of the lease
SLICE = 4  # hand-overs begun at once: whoever else waits for the loop has it in between
GATHER_SECONDS = 0.02
HANDFUL = 8  # such a part of the slots
URGENT_SECONDS = 1.0
STORE_SECONDS = 5.0
CHORES_SECONDS = 1.0
BEAT_SECONDS = 5.0

Begun = tuple[Claim, Underway, Connector]
Claiming = Callable[[AsyncSession], Awaitable[None]]

log = structlog.get_logger()


async def claim_nothing(_session: AsyncSession) -> None:
    """Leave everything to the queue."""


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
        self._outage = Outage()
        self._outcomes = Outcomes(database, router, self._circuits, meters, self._outage, self._forget)
        self._evacuations = Evacuations(database, router)
        self._recovery = Recovery(database, router, self._circuits, meters, self._name)
        self._lease = lease
        self._nap = POLL_SECONDS
        self._wake = asyncio.Event()
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._passing = asyncio.Lock()
        self._claiming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._claiming.set_result(None)
        self._promised = 0
        self._in_hand = 0
        self._urgent_at = -URGENT_SECONDS
        self._stopping = False
        self._claimed_at = self._chores_at = self._beat_at = 0.0
        self._passes = 0
        self._context = copy_context()  # an attempt is no part of the request that happened to begin it
        self._attempts = log.bind()  # bound once: every attempt writes a line

    @property
    def in_flight(self) -> int:
        """Messages claimed whose outcome is not stored yet."""
        return len(self._in_flight)

    @property
    def in_hand(self) -> int:
        """Those of them that are not with their provider, and wait for this process; one-time passwords are not counted."""
        return self._in_hand

    @property
    def is_known(self) -> bool:
        """Whether it has said that it lives: else others would take its claims for those of a worker that died."""
        return self._beat_at > 0

    async def run(self) -> None:
        """Until cancelled, which `stop` should precede. A database that is away is waited for."""
        unlisten = self._bell.listen(lambda hint: self._wake.set() if hint == HINT else None)
        storing = asyncio.create_task(self._outcomes.run(lambda: self.in_flight))
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
                    self._outage.over()
                except Exception as error:
                    self._outage.met(error, "dispatch_failed")
                if not worked:
                    await self._rest()
        finally:
            unlisten()
            for helper in (storing, self._claiming):
                helper.cancel()
            await asyncio.gather(storing, self._claiming, return_exceptions=True)

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
            self._outage.met(error, "worker_not_left")  # its heart stops, which says the same a little later

    async def _idle(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with self._passing:  # what is being claimed is in flight only after that
                    await asyncio.wait({self._claiming})
                while self._in_flight or self._promised:
                    await self._rest()
        return not self._in_flight

    async def _rest(self) -> None:
        with suppress(TimeoutError):
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
        handed_over = max(self.in_flight - self._outcomes.unstored, self.in_flight - self._concurrency)
        return self._concurrency - self._promised - handed_over

    @property
    def _spare(self) -> int:
        """How many may be claimed that can wait. While one-time passwords come, few are kept in hand, for all that are there
        stand in the way of those. A provider that takes its time leaves hardly any there, and gets no fewer."""
        if time.monotonic() - self._urgent_at > URGENT_SECONDS:
            return self._concurrency
        return max(1, self._concurrency // HANDFUL) - self._in_hand

    @property
    def _is_full(self) -> bool:
        """Too little is free to be worth a claim, unless something is urgent or has waited for long."""
        return self._free < self._concurrency // 2

    async def _claim_aside(self, lanes: Sequence[BusyLane]) -> None:
        """What is not urgent is claimed aside, so that what is urgent need not wait for it."""
        try:
            if await self._claim(lanes):
                self._claimed_at = time.monotonic()
                self._wake.set()
        except Exception as error:
            self._outage.met(error, "dispatch_failed")

    async def _claim(self, lanes: Sequence[BusyLane], only_urgent: bool = False) -> bool:
        self._passes += 1
        wanted = shares.among(lanes, self._concurrency, self._concurrency - self._free, self._passes, self._spare)
        if not wanted:
            return False
        if only_urgent:
            self._urgent_at = time.monotonic()
        async with self._promising(sum(max(common, urgent) for _lane, common, urgent in wanted)) as begun:
            async with self._database.write(urgent=only_urgent) as session:
                claims: list[Claim] = []
                for lane, common, urgent in wanted:
                    limit = 0 if only_urgent else common
                    suspect = lane.top == SUSPECT and not only_urgent
                    claims += await queue.claim(session, lane.id, self._name, limit, urgent, self._lease, suspect)
                begun += await self._begin(session, claims)
        return bool(begun)

    @asynccontextmanager
    async def express(self, passwords: Counter[str]) -> AsyncIterator[Claiming]:
        """What a transaction that stores so many one-time passwords in these lanes should end with, for then nobody has to look
        for them. They are handed over after the block, so it must have been committed by then. Those that find no room, or
        others there before them, are claimed as everything is."""
        if self._stopping or not self.is_known or self._free < passwords.total():
            yield claim_nothing
            return

        self._urgent_at = time.monotonic()

        async def claim(session: AsyncSession) -> None:
            for lane_id, number in sorted(passwords.items()):
                claims = await queue.claim(session, lane_id, self._name, 0, number, self._lease)
                begun.extend(await self._begin(session, claims))

        async with self._promising(passwords.total()) as begun:
            yield claim

    @asynccontextmanager
    async def _promising(self, slots: int) -> AsyncIterator[list[Begun]]:
        """Keep slots for what is begun within the block and handed over after it."""
        begun: list[Begun] = []
        self._promised += slots
        try:
            yield begun
        finally:
            self._promised -= slots
        await self._start(begun, time.monotonic())

    async def _start(self, begun: Sequence[Begun], claimed_at: float) -> None:
        for claim, message, connector in begun:
            self._in_hand += _can_wait(message)
            attempt = self._attempt(claim, message, connector, claimed_at)
            self._in_flight[claim.message_id] = asyncio.create_task(attempt, context=self._context.copy())
            if len(self._in_flight) % SLICE == 0:
                await asyncio.sleep(0)

    async def _begin(self, session: AsyncSession, claims: Sequence[Claim]) -> list[Begun]:
        """The messages of claimed jobs, moved to PROCESSING. One that is not waiting any more loses its job."""
        if not claims:
            return []
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
        self._outcomes.add(Finished(claim, message, connector, outcome))
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
        self._in_hand -= _can_wait(message)
        try:
            return await hand_over(provider, wire, outbound(message, claim.attempt, self._providers.links.of(message)))
        finally:
            self._in_hand += _can_wait(message)

    def _forget(self, stored: Sequence[Finished]) -> None:
        for item in stored:
            self._in_hand -= _can_wait(item.message)
            self._in_flight.pop(item.claim.message_id, None)
        self._wake.set()

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


def _can_wait(message: Sendable) -> bool:
    return queue.urgency(message.flow, message.priority) > OTP
