"""Receipts: what a provider tells later of a message it took. Late, early, twice, in any order: a status only moves up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Report
from delivery.verdict import failure_of
from models import messages, receipts
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.messages import Message, MessageStatus
from models.receipts import Receipt
from models.timeline import TimelineSource, message_changed, receipt_ignored


async def take(database: Database, connector: Connector, report: Report) -> None:
    """Store a receipt and move its message; park it when the message is not known yet. A repeated one changes nothing."""
    workspace_id = connector.workspace_id
    async with database.write() as session:
        message = await messages.by_connector_external_id(session, workspace_id, connector.id, report.provider_id)
        receipt = _receipt(connector, report, message)
        if await receipts.store(session, workspace_id, receipt) and message is not None:
            await _apply(session, message, receipt)


async def catch_up(session: AsyncSession, sent: Sequence[tuple[str, str, str, str]]) -> None:
    """Apply the receipts that overtook the answer to a send: (workspace, message, connector, provider's id) of each."""
    by_name = {
        (connector_id, external_id): (workspace_id, message_id) for workspace_id, message_id, connector_id, external_id in sent
    }
    for receipt in await receipts.parked(session, list(by_name)):
        workspace_id, message_id = by_name[receipt.connector_id, receipt.external_id]
        message = await messages.get(session, workspace_id, message_id)
        if message is not None:
            await receipts.assign(session, workspace_id, receipt, message_id)
            await _apply(session, message, receipt)


async def _apply(session: AsyncSession, message: Message, receipt: Receipt) -> Message:
    previous = message.status
    values = _values(receipt)
    moved = await messages.move(session, message.workspace_id, message.id, messages.below(receipt.status), values)
    if moved is None:
        receipt_ignored(session, message, receipt.status, receipt.occurred_at)
        return message
    source = TimelineSource.PROVIDER_CALLBACK
    message_changed(session, moved, previous, source, detail=receipt.detail, occurred_at=receipt.occurred_at)
    return moved


def _values(receipt: Receipt) -> dict[str, Any]:
    values: dict[str, Any] = {"status": receipt.status}
    if receipt.status in (MessageStatus.DELIVERED, MessageStatus.READ):
        values["delivered_at"] = receipt.occurred_at
    if receipt.status == MessageStatus.FAILED:
        values["failure"] = receipt.failure
    return values


def _receipt(connector: Connector, report: Report, message: Message | None) -> Receipt:
    return Receipt(
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


def _at_most_now(at: dt.datetime) -> dt.datetime:
    return min(at, now())
