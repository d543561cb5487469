"""Forgetting whom a message went to and what it said. What is counted stays: status, times, codes, attempts, events.

A provider's name for a message may spell out its recipient (a WhatsApp id does), and later receipts come by that name: it is
replaced by a hash, by which those receipts still find the message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import recipients
from models.base import JsonObject, now
from models.events import Event
from models.messages import Attempt, Message, MessageStatus, alias, is_alias
from models.receipts import ANY, Receipt
from models.vault import Vault
from models.waiting import UNDER_WAY

FORGOTTEN = "(redacted)"
OURS = "API"
QUOTING = "UNSUPPORTED_CONTENT"  # the route decision whose reason is what a provider would say of the message
EMPTIED = ("subject", "body", "html", "template", "details")


async def lock(session: AsyncSession, workspace_id: str, message_id: str) -> Message | None:
    """A message that nothing of ours will happen to any more, held against receipts until the transaction ends."""
    mine = (Message.workspace_id == workspace_id, Message.id == message_id, Message.status.not_in(UNDER_WAY))
    found = select(Message).where(*mine).with_for_update()
    return await session.scalar(found.execution_options(populate_existing=True))


async def redacted(session: AsyncSession, ids: Collection[str]) -> set[str]:
    """Which of these messages of any workspace have been redacted."""
    found = select(Message.id).where(Message.id.in_(ids), Message.redacted_at.is_not(None))
    return set((await session.scalars(found)).all())


async def redact(session: AsyncSession, message: Message, vault: Vault) -> Message:
    """Forget everything about a locked message that names its recipient or quotes it. `updated_at` goes on telling when its
    delivery last moved. A mark goes on telling that the recipient was written to: who was may still opt out."""
    await _receipts(session, message)
    await _attempts(session, message)
    await _timeline(session, message)
    mark = recipients.mark(vault, message.channel_type, message.to) if _has_left(message) else None
    return await _message(session, message, mark)


def _has_left(message: Message) -> bool:
    return message.sent_at is not None or message.status == MessageStatus.UNKNOWN


async def _message(session: AsyncSession, message: Message, mark: str | None) -> Message:
    values: dict[str, Any] = {**dict.fromkeys(EMPTIED), "recipient_mark": mark}
    values |= {"to": "", "media": [], "fallbacks": [], "fallback_at": None, "redacted_at": now()}
    values |= {"external_id": _alias(message.external_id), "failure": wordless(message.failure)}
    values["route"] = [{**step, "reason": FORGOTTEN} if step["decision"] == QUOTING else step for step in message.route]
    mine = (Message.workspace_id == message.workspace_id, Message.id == message.id)
    changed = update(Message).where(*mine).values(values).returning(Message)
    return (await session.scalars(changed.execution_options(populate_existing=True))).one()


async def _attempts(session: AsyncSession, message: Message) -> None:
    mine = (Attempt.workspace_id == message.workspace_id, Attempt.message_id == message.id)
    for attempt in (await session.scalars(select(Attempt).where(*mine))).all():
        attempt.exchange, attempt.failure = None, wordless(attempt.failure)
        attempt.external_id = _alias(attempt.external_id)
    await session.flush()


async def _receipts(session: AsyncSession, message: Message) -> None:
    """Those that were applied, and those still parked for it. One that is being applied just now is held by somebody who waits
    for this message: he will see that it was redacted, and must not be waited for."""
    names = select(Attempt.connector_id, Attempt.external_id).where(Attempt.message_id == message.id)
    named = [
        and_(Receipt.connector_id == connector_id, Receipt.external_id == external_id)
        for connector_id, external_id in await session.execute(names.where(Attempt.external_id.is_not(None)).distinct())
    ]
    referring = and_(Receipt.reference == message.id, Receipt.message_id.is_(None))
    mine = or_(Receipt.message_id == message.id, referring, *named)
    found = select(Receipt).where(mine, Receipt.workspace_id.in_((message.workspace_id, ANY)))
    for receipt in (await session.scalars(found.with_for_update(skip_locked=True))).all():
        muted(receipt)
    await session.flush()


def muted(receipt: Receipt) -> Receipt:
    """A receipt of a redacted message: what it reports, without the provider's words."""
    if is_alias(receipt.event_id):
        return receipt
    receipt.raw, receipt.detail, receipt.failure = {}, None, wordless(receipt.failure)
    receipt.external_id, receipt.event_id = alias(receipt.external_id), alias(receipt.event_id)
    return receipt


async def _timeline(session: AsyncSession, message: Message) -> None:
    """Details are kept where the API wrote them: those are sentences of ours that name nobody."""
    mine = (Event.workspace_id == message.workspace_id, Event.subject_id == message.id)
    for event in (await session.scalars(select(Event).where(*mine))).all():
        if event.payload.get("detail") and event.payload.get("source") != OURS:
            event.payload = {**event.payload, "detail": None}
    await session.flush()


def wordless(failure: Mapping[str, Any] | None) -> JsonObject | None:
    """A failure's codes without its sentences, which may quote the recipient."""
    return {**failure, "message": FORGOTTEN, "provider_message": None} if failure else None


def _alias(external_id: str | None) -> str | None:
    return alias(external_id) if external_id is not None else None
