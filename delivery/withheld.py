"""Claimed messages that may not be sent any more: they fail before anything has left."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import SendError
from delivery import fallback, permits
from delivery.route import Router
from delivery.verdict import failure_of
from models import messages, queue
from models.base import now
from models.messages import MessageStatus
from models.queue import Claim
from models.timeline import TimelineSource, message_changed
from models.underway import Underway


async def withhold(
    session: AsyncSession, router: Router, claims: Sequence[Claim], found: Mapping[str, Underway]
) -> Collection[str]:
    """Fail those of the messages that were claimed which may not be sent; another channel may take them. Whose they are."""
    refused = await permits.refusals(session, list(found.values()))
    if not refused:
        return ()
    mine = [claim for claim in claims if claim.message_id in refused]
    await queue.finish(session, [claim.message_id for claim in mine])
    await messages.write_attempts(session, [skipped(claim, refused[claim.message_id]) for claim in mine])
    failed = [{"id": claim.message_id, **_failed(refused[claim.message_id])} for claim in mine]
    await messages.write_all(session, failed)
    for claim in mine:
        await _tell(session, router, claim, found[claim.message_id], refused[claim.message_id])
    return refused.keys()


def skipped(claim: Claim, refusal: SendError | None = None) -> dict[str, object]:
    """An attempt that was claimed and not made."""
    row = {"message_id": claim.message_id, "number": claim.attempt, "finished_at": now(), "outcome": "SKIPPED"}
    return {**row, "failure": failure_of(refusal)} if refusal is not None else row


def _failed(refusal: SendError) -> dict[str, object]:
    return {"status": MessageStatus.FAILED.value, "failure": failure_of(refusal)}


async def _tell(session: AsyncSession, router: Router, claim: Claim, message: Underway, refusal: SendError) -> None:
    message.status = MessageStatus.FAILED
    source, previous = TimelineSource.DISPATCHER, MessageStatus.QUEUED
    message_changed(session, message, previous, source, detail=refusal.message, attempt=claim.attempt)
    stored = await messages.get(session, message.workspace_id, message.id) if message.fallbacks else None
    if stored is not None:
        await fallback.take_next(session, router, stored)
