"""Where everything providers tell us comes in. It is stored before the provider is answered and applied after: in a storm many
calls share one transaction, and a call that cannot be stored takes no other with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from channels.base import Inbound, Received, Report, Watermark
from delivery import inbound, receipts
from delivery.gather import Gather
from delivery.metrics import Meters
from delivery.outage import Outage
from delivery.receipts import Name
from models.connectors import Connector
from models.database import Database, is_passing
from models.vault import Vault

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Told:
    """What one call said of one connector; of no connector where it came by a door of the whole installation."""

    connector: Connector | None
    reports: Sequence[Report]
    watermarks: Sequence[Watermark] = ()
    inbounds: Sequence[Inbound] = ()


class Intake:
    """One for a process."""

    def __init__(self, database: Database, meters: Meters, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._meters = meters
        self._storing: Gather[_Told, None] = Gather(self._store)
        self._due: dict[Name, None] = {}
        self._outage = Outage()
        self._applying: asyncio.Task[None] | None = None

    async def take(self, connector: Connector, received: Received) -> None:
        """Store what a provider told of a connector. Stored when this returns; whatever the database raises otherwise."""
        lines = (None, connector.identifier)
        reports = [report for report in received.reports if report.line in lines]
        inbounds = [one for one in received.inbounds if one.line in lines]
        if reports or inbounds or received.watermarks:
            await self._storing.add(_Told(connector, reports, received.watermarks, inbounds))

    async def take_at_large(self, reports: Sequence[Report]) -> None:
        """Store receipts that do not say which connector's they are."""
        await self._storing.add(_Told(None, reports))

    async def close(self) -> None:
        """Finish applying what was stored."""
        if self._applying is not None:
            await asyncio.wait([self._applying], timeout=5)

    async def _store(self, group: Sequence[_Told]) -> list[Exception | None]:
        try:
            await self._store_together(group)
        except Exception as error:
            if len(group) == 1 or is_passing(error):
                return [error] * len(group)
            return [answer for told in group for answer in await self._store([told])]
        return [None] * len(group)

    async def _store_together(self, group: Sequence[_Told]) -> None:
        async with self._database.write(urgent=True) as session:  # the provider waits for its answer
            reports = [(told.connector, report) for told in group for report in told.reports]
            for told in group:
                if told.connector is not None:
                    for mark in told.watermarks:
                        reports += [(told.connector, one) for one in await receipts.marked(session, told.connector, mark)]
                    await inbound.take(session, told.connector, told.inbounds, self._vault)
            names = await receipts.keep(session, reports)
        self._due |= dict.fromkeys(names)
        if self._due and self._applying is None:
            self._applying = asyncio.create_task(self._apply())

    async def _apply(self) -> None:
        while self._due:
            names, self._due = list(self._due), {}
            try:
                self._meters.deliver(await receipts.catch_up(self._database, names))
                self._outage.over()
            except Exception as error:
                self._outage.met(error, "receipts_not_applied", receipts=len(names))  # a chore looks for them again
        self._applying = None
