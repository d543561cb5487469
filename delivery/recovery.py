"""Attempts whose process is gone: nobody knows what became of them, and they are settled as that.

One that cannot be settled keeps no other back. It is told of once in the life of a process, with the reason, and stays as it
is: the next process tries again.
"""

from __future__ import annotations

import datetime as dt

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery.circuit import Circuits
from delivery.metrics import Meters
from delivery.route import Router
from delivery.settle import report, settle
from delivery.verdict import WORKER_LOST, Finished, Outcome
from models import connectors, messages, queue
from models.database import Database, is_passing
from models.queue import Claim

AT_ONCE = 500
TEXT = "The process that was sending this stopped; the provider may or may not have the message."

log = structlog.get_logger()


class Recovery:
    """What the worker of this name does for those that died."""

    def __init__(self, database: Database, router: Router, circuits: Circuits, meters: Meters, worker: str) -> None:
        self._database = database
        self._router = router
        self._circuits = circuits
        self._meters = meters
        self._worker = worker
        self._left: set[str] = set()

    async def run(self, before: dt.datetime | None) -> None:
        """Settle all that is lost; what `before` means says `queue.lost`. Raises only when the database does not work."""
        at_once, lost = AT_ONCE, True
        while lost:
            claims: list[Claim] = []
            try:
                lost = await self._some(before, at_once, claims)
            except Exception as error:
                if is_passing(error) or not claims:
                    raise
                if len(claims) == 1:
                    self._leave(claims[0])
                at_once = 1

    async def _some(self, before: dt.datetime | None, at_once: int, claims: list[Claim]) -> bool:
        """One transaction; whether there was anything. What it is about is put into `claims`, also when it fails."""
        settled = None
        async with self._database.write() as session:
            claims += await queue.lost(session, before, self._worker, self._left, at_once)
            finished = [item for claim in claims if (item := await _finished(session, claim)) is not None]
            known = {item.claim.message_id for item in finished}
            await queue.finish(session, [claim.message_id for claim in claims if claim.message_id not in known])
            if finished:
                settled = await settle(session, self._router, self._circuits, finished)
        if settled is not None:
            log.warning("attempts_lost", messages=len(finished))
            report(self._meters, finished, settled)
        return bool(claims)

    def _leave(self, claim: Claim) -> None:
        self._left.add(claim.message_id)
        log.exception(
            "attempt_not_recovered",
            message_id=claim.message_id,
            workspace_id=claim.workspace_id,
            connector_id=claim.connector_id,
            attempt=claim.attempt,
        )


async def _finished(session: AsyncSession, claim: Claim) -> Finished | None:
    """The attempt of a lost claim; None when its message or its connector is gone as well."""
    message = await messages.get(session, claim.workspace_id, claim.message_id)
    found = await connectors.by_ids(session, claim.workspace_id, [claim.connector_id])
    if message is None or not found:
        return None
    return Finished(claim, message, found[0], Outcome(SendError(FailureKind.UNKNOWN_OUTCOME, WORKER_LOST, TEXT), Exchange()))
