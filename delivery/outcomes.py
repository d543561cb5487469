"""What came of attempts, stored as it comes and many in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from delivery import receipts
from delivery.circuit import Circuits
from delivery.metrics import Meters
from delivery.outage import Outage
from delivery.route import Router
from delivery.settle import report, settle
from delivery.verdict import Finished
from models.database import Database, is_passing

BATCH = 256
GATHER_SECONDS = 0.005
RETRY_SECONDS = 0.3
MATCH_SECONDS = 0.05


class Outcomes:
    """`on_stored` is told of those that are safe."""

    def __init__(
        self,
        database: Database,
        router: Router,
        circuits: Circuits,
        meters: Meters,
        outage: Outage,
        on_stored: Callable[[Sequence[Finished]], None],
    ) -> None:
        self._database = database
        self._router = router
        self._circuits = circuits
        self._meters = meters
        self._outage = outage
        self._on_stored = on_stored
        self._waiting: list[Finished] = []
        self._came = asyncio.Event()
        self._sent: list[tuple[str, str]] = []
        self.unstored = 0

    def add(self, finished: Finished) -> None:
        self._waiting.append(finished)
        self.unstored += 1
        self._came.set()

    async def run(self, expected: Callable[[], int]) -> None:
        """Until cancelled: store in one transaction those that came while the last one was written, and those that come right
        after one another when so many are `expected`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._match_receipts())
            group.create_task(self._write_down(expected))

    async def _write_down(self, expected: Callable[[], int]) -> None:
        while True:
            await self._came.wait()
            if len(self._waiting) < min(BATCH, expected() // 2):
                await asyncio.sleep(GATHER_SECONDS)
            self._came.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._store(batch)
                self.unstored -= len(batch)
                self._on_stored(batch)

    async def _store(self, batch: Sequence[Finished]) -> None:
        """Keep trying: what a provider answered must not be lost because the database is busy, full or away. An outcome that
        cannot be stored for another reason keeps no other back; its message becomes UNKNOWN when the lease is over."""
        while True:
            try:
                async with self._database.write() as session:
                    settled = await settle(session, self._router, self._circuits, batch)
                break
            except Exception as error:
                self._outage.met(error, "outcomes_not_stored")
                if not is_passing(error):
                    await self._store_singly(batch)
                    return
                await asyncio.sleep(RETRY_SECONDS)
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
            except Exception as error:
                self._outage.met(error, "receipts_not_taken", messages=len(sent))  # a chore looks for them again
