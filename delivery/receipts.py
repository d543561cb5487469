"""Receipts: what a provider tells later of a message it took. Late, early, twice, in any order: a status only moves up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Report
from delivery.verdict import failure_of
from models import messages, queue, receipts, redaction
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.messages import Message, MessageStatus
from models.receipts import Receipt
from models.timeline import TimelineSource, message_changed, receipt_ignored

KEPT_LOOKING = dt.timedelta(hours=1)
ARRIVED = (MessageStatus.DELIVERED, MessageStatus.READ)


async def take(database: Database, connector: Connector, report: Report) -> list[Message]:
    """Store a receipt and move its message; park it when the message is not known yet. A repeated one changes nothing.

    Answers, like `catch_up`, the messages that are now known to have arrived.
    """
    workspace_id, arrived = connector.workspace_id, []
    async with database.write() as session:
        message = await messages.by_connector_external_id(session, workspace_id, connector.id, report.provider_id)
        receipt = _receipt(connector, report, message)
        is_new = await receipts.store(session, workspace_id, receipt)
        if is_new and message is not None:
            arrived = await _apply(session, message, receipt)
    if is_new and message is None:
        return await catch_up(database, [(connector.id, report.provider_id)])
    return arrived


async def catch_up(database: Database, names: Sequence[tuple[str, str]]) -> list[Message]:
    """Apply receipts that overtook the answer to their send: (connector, provider's id) of each.

    Both sides look for the other after their own commit, so whichever is later finds the earlier one.
    """
    if not names:
        return []
    async with database.read() as session:
        waiting = await receipts.parked(session, names)
    if not waiting:
        return []
    async with database.write() as session:
        return [message for receipt in waiting for message in await _unpark(session, receipt)]


async def catch_up_all(database: Database) -> list[Message]:
    """`catch_up` for what a process left undone that died between the two commits."""
    async with database.read() as session:
        names = await receipts.parked_and_known(session, now() - KEPT_LOOKING)
    return await catch_up(database, names)


async def _unpark(session: AsyncSession, receipt: Receipt) -> list[Message]:
    workspace_id = receipt.workspace_id
    message = await messages.by_connector_external_id(session, workspace_id, receipt.connector_id, receipt.external_id)
    if message is not None and await receipts.assign(session, workspace_id, receipt, message.id):
        return await _apply(session, message, receipt)
    return []


async def _apply(session: AsyncSession, message: Message, receipt: Receipt) -> list[Message]:
    """The message, if this is the first to say that it arrived."""
    previous, was_known = message.status, message.delivered_at is not None
    moved = await _move(session, message, receipt, was_known)
    if moved is None:
        receipt_ignored(session, message, receipt.status, receipt.occurred_at)
        return []
    source = TimelineSource.PROVIDER_CALLBACK
    message_changed(session, moved, previous, source, detail=receipt.detail, occurred_at=receipt.occurred_at)
    return [moved] if moved.delivered_at is not None and not was_known else []


async def _move(session: AsyncSession, message: Message, receipt: Receipt, was_known: bool) -> Message | None:
    """Of an earlier hand-over, before the message fell back to another channel, only its arrival counts; then it need not be
    sent any more."""
    if receipt.status not in ARRIVED and not _is_current(message, receipt):
        return None
    if receipt.status in ARRIVED and message.status == MessageStatus.QUEUED:
        await queue.remove(session, message.workspace_id, [message.id])
    values = _values(message, receipt, was_known)
    return await messages.move(session, message.workspace_id, message.id, messages.below(receipt.status), values)


def _is_current(message: Message, receipt: Receipt) -> bool:
    return message.external_id in (receipt.external_id, messages.alias(receipt.external_id))


def _values(message: Message, receipt: Receipt, was_known: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"status": receipt.status}
    if receipt.status in ARRIVED and not was_known:
        values["delivered_at"] = receipt.occurred_at
    values["failure"] = receipt.failure if receipt.status == MessageStatus.FAILED else None
    if receipt.status == MessageStatus.FAILED and message.fallbacks:
        values["fallback_at"] = now()
    return values


def _receipt(connector: Connector, report: Report, message: Message | None) -> Receipt:
    receipt = Receipt(
        connector_id=connector.id,
        event_id=report.event_id,
        workspace_id=connector.workspace_id,
        external_id=report.provider_id,
        message_id=message.id if message else None,
        status=report.status.value,
        failure=failure_of(report.failure) if report.failure else None,
        detail=report.detail,
        raw=dict(report.raw),
        occurred_at=_at_most_now(report.occurred_at),
        received_at=now(),
    )
    return redaction.muted(receipt) if message is not None and message.redacted_at is not None else receipt


def _at_most_now(at: dt.datetime) -> dt.datetime:
    return min(at, now())
