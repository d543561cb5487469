"""Receipts: what a provider tells later of a message it took. Late, early, twice, in any order: a status only moves up.

They are stored first, all the same way, and applied from there, many at once; what overtook its message stays parked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Report, Watermark
from delivery.inbound import clean, short
from delivery.verdict import failure_of
from models import ids, messages, receipts, redaction, waiting
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.messages import RANK, Message, MessageStatus, alias, is_alias
from models.receipts import ANY, Receipt
from models.timeline import TimelineSource, message_changed, receipt_ignored

KEPT_LOOKING = dt.timedelta(hours=1)
ARRIVED = (MessageStatus.DELIVERED, MessageStatus.READ)
TAKEN = (MessageStatus.SENT, *ARRIVED)
AT_ONCE = 256
MOST_MARKED = 500

Name = tuple[str, str]
"""A connector's id, and what its provider calls a message."""


async def keep(session: AsyncSession, told: Sequence[tuple[Connector | None, Report]]) -> list[Name]:
    """Store receipts; a repeated one changes nothing. A report without a connector came by a door of the whole installation.
    Answers the names to `catch_up`."""
    stored = [_receipt(connector, report) for connector, report in told]
    if stored:
        await receipts.store_all(session, stored)
    return [(receipt.connector_id, receipt.external_id) for receipt in stored]


async def marked(session: AsyncSession, connector: Connector, mark: Watermark) -> list[Report]:
    """The receipts that a watermark stands for: one for each message to the recipient that was not known to be as far."""
    standing = [status for status in messages.below(mark.status) if RANK[status] >= RANK[MessageStatus.SENT]]
    workspace_id = connector.workspace_id
    names = await receipts.up_to(session, workspace_id, connector.id, mark.recipient, mark.until, standing, MOST_MARKED)
    return [
        Report(event_id=f"{name}:{mark.status}", provider_id=name, status=mark.status, occurred_at=mark.until) for name in names
    ]


async def catch_up(database: Database, names: Sequence[Name]) -> list[Message]:
    """Apply what is stored under these names; the messages that are now known to have arrived.

    Both sides look for the other after their own commit, who stores receipts and who stores what the provider called a
    message, so whichever is later finds the earlier one.
    """
    arrived, left = [], list(dict.fromkeys(names))
    while left and await receipts.is_any_parked(database.reader):
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        async with database.read() as session:
            if not await receipts.are_parked(session, some):
                continue
        async with database.write() as session:
            arrived += await apply_all(session, await receipts.hold_parked(session, some))
    return arrived


async def catch_up_all(database: Database) -> list[Message]:
    """`catch_up` for what a process left undone that died between the two commits."""
    async with database.read() as session:
        names = await receipts.parked_and_known(session, now() - KEPT_LOOKING)
    return await catch_up(database, names)


async def apply_all(session: AsyncSession, parked: Sequence[Receipt]) -> list[Message]:
    """Apply receipts that are held; the messages that are now known to have arrived.

    Jobs are touched before messages, as everywhere, or two transactions might wait for each other.
    """
    owners = await receipts.owners(session, parked)
    known = [(receipt, *owners[receipt.id]) for receipt in parked if receipt.id in owners]
    landed = sorted({message_id for receipt, _, message_id in known if receipt.status in ARRIVED})
    if landed:
        await waiting.drop(session, landed)
    held = await messages.hold(session, sorted({message_id for _, _, message_id in known}))
    arrived = []
    for receipt, connector_id, message_id in known:
        message = held[message_id]
        is_current = await _assign(session, receipt, connector_id, message)
        if is_current is not None and _apply(session, message, receipt, is_current):
            arrived.append(message)
    await session.flush()
    return arrived


async def _assign(session: AsyncSession, receipt: Receipt, connector_id: str, message: Message) -> bool | None:
    """Say whose a receipt is; whether it is of the message's last hand-over. None for one a redacted message had before."""
    external_id, is_ours = receipt.external_id, receipt.external_id == message.id
    if message.redacted_at is not None and not is_alias(receipt.event_id):
        if await receipts.has(session, receipt.connector_id, alias(receipt.event_id)):
            await receipts.drop(session, receipt)
            return None
        redaction.muted(receipt)
    receipt.message_id, receipt.workspace_id = message.id, message.workspace_id
    is_through = message.connector_id == connector_id
    if message.external_id is None and receipt.reference == message.id and is_through and not is_ours:
        message.external_id = receipt.external_id
        await messages.name_attempt(session, message.workspace_id, message.id, connector_id, receipt.external_id)
    return message.external_id in (external_id, alias(external_id)) or (is_ours and is_through)


def _apply(session: AsyncSession, message: Message, receipt: Receipt, is_current: bool) -> bool:
    """Move a message that is held; whether this is the first to say that it arrived. Of an earlier hand-over, before the
    message fell back to another channel, only its arrival counts."""
    previous, was_known = message.status, message.delivered_at is not None
    status = _status(message, receipt) if is_current or receipt.status in ARRIVED else None
    if status is None:
        receipt_ignored(session, message, receipt.status, receipt.occurred_at)
        return False
    _move(message, receipt, status)
    source = TimelineSource.PROVIDER_CALLBACK
    message_changed(session, message, previous, source, detail=receipt.detail, occurred_at=receipt.occurred_at)
    return message.delivered_at is not None and not was_known


def _status(message: Message, receipt: Receipt) -> str | None:
    """Where the receipt takes its message; None for nowhere. Whatever a provider says of a message whose acceptance was lost,
    it has it."""
    known = message.status == MessageStatus.UNKNOWN and receipt.status == MessageStatus.PROCESSING
    status = MessageStatus.SENT.value if known else receipt.status
    return status if RANK[message.status] < RANK[status] else None


def _move(message: Message, receipt: Receipt, status: str) -> None:
    message.status, message.updated_at = status, now()
    if status in TAKEN and message.sent_at is None:
        message.sent_at = receipt.occurred_at
    if status in ARRIVED and message.delivered_at is None:
        message.delivered_at = receipt.occurred_at
    message.failure = receipt.failure if status == MessageStatus.FAILED else None
    if status == MessageStatus.FAILED and message.fallbacks:
        message.fallback_at = now()


def _receipt(connector: Connector | None, report: Report) -> Receipt:
    return Receipt(
        id=ids.new_id(ids.RECEIPT),
        connector_id=connector.id if connector else ANY,
        event_id=short(report.event_id),
        workspace_id=connector.workspace_id if connector else ANY,
        external_id=short(report.provider_id),
        reference=_reference(report.message_id),
        message_id=None,
        status=report.status.value,
        failure=failure_of(report.failure) if report.failure else None,
        detail=clean(report.detail, 1000),
        raw=dict(report.raw),
        occurred_at=min(report.occurred_at, now()),
        received_at=now(),
    )


def _reference(message_id: str | None) -> str | None:
    return message_id if message_id and ids.prefix_of(message_id) == ids.MESSAGE else None
