"""When a message cannot go the way it was meant to: another channel of the caller's choice, or another connector."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from delivery.outbound import outbound
from delivery.route import Route, Router
from delivery.verdict import EXPIRED, failure_of
from models import connectors, messages, queue
from models.base import now
from models.connectors import Connector
from models.messages import Message, MessageStatus
from models.timeline import TimelineSource, message_changed

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)
AT_ONCE = 500


def due(message: Message) -> dt.datetime | None:
    """Until when a receipt must come, or the message goes through its next channel as well."""
    seconds = message.fallbacks[0].get("after_seconds") if message.fallbacks else None
    return now() + dt.timedelta(seconds=seconds) if seconds is not None else None


async def take_next(session: AsyncSession, router: Router, message: Message) -> bool:
    """Send a message through the first of its fallback channels that can take it; False when there is none left."""
    rest = list(message.fallbacks)
    while rest:
        choice = rest.pop(0)
        draft = replace(outbound(message), to=choice.get("to") or message.to)
        way = await router.of_channel(session, message.workspace_id, choice["channel"], draft)
        if way.chosen is not None and way.choice is not None:
            await _switch(session, message, way, way.choice.to or draft.to, rest)
            return True
    await messages.write_all(session, [{"id": message.id, "fallbacks": [], "fallback_at": None}])
    return False


async def _switch(session: AsyncSession, message: Message, way: Route, to: str, rest: list[dict[str, Any]]) -> None:
    connector = way.chosen
    assert connector is not None
    row = {
        "id": message.id,
        "status": MessageStatus.QUEUED.value,
        "channel_type": connector.channel_type,
        "recipient": to,
        "sender": connector.identifier,
        "connector_id": connector.id,
        "route": way.stored(),
        "fallbacks": rest,
        "fallback_at": None,
        "failure": None,
        "is_pinned": False,
    }
    await messages.write_all(session, [row])
    attempts = await messages.attempts_of(session, message.workspace_id, [message.id])
    urgency = queue.urgency(message.flow, message.priority)
    await queue.enqueue(
        session,
        message.workspace_id,
        message.id,
        connector.id,
        urgency,
        expires_at=message.expires_at,
        attempts=max((attempt.number for attempt in attempts), default=0),
    )
    previous, former = message.status, message.channel_type
    message.status, message.channel_type, message.connector_id = MessageStatus.QUEUED, connector.channel_type, connector.id
    detail = f"Falling back from {former} to {connector.channel_type}."
    message_changed(session, message, previous, TimelineSource.DISPATCHER, detail=detail)


async def without_receipt(session: AsyncSession, router: Router) -> int:
    """Fall back for messages whose receipt did not come in time; how many were looked at."""
    overdue = await messages.awaiting_receipt(session, now(), AT_ONCE)
    for message in overdue:
        if message.status in (MessageStatus.SENT, MessageStatus.UNKNOWN):
            await take_next(session, router, message)
        else:
            await messages.write_all(session, [{"id": message.id, "fallback_at": None}])
    return len(overdue)


async def expire(session: AsyncSession) -> None:
    """Messages that were not sent within their validity are not sent any more."""
    for workspace_id, message_id in await queue.overdue(session):
        message = await messages.get(session, workspace_id, message_id)
        if message is not None:
            await _end(session, message, MessageStatus.EXPIRED, EXPIRED)


async def evacuate(session: AsyncSession, router: Router, workspace_id: str, connector_id: str) -> tuple[int, int]:
    """Give the messages that wait for a connector to another one of its channel; with it gone for good, those nobody takes
    fail. At most AT_ONCE of each; how many went elsewhere, and how many failed."""
    (connector,) = await connectors.by_ids(session, workspace_id, [connector_id])
    moved = await _give_away(session, router, connector)
    if connector.deleted_at is None:
        return moved, 0
    gone = "The connector was deleted and no other can take the message."
    error = SendError(FailureKind.NO_ROUTE, "CONNECTOR_DELETED", gone)
    left = await queue.clear(session, connector.id, AT_ONCE) if moved < AT_ONCE else []
    for message in await messages.by_ids(session, workspace_id, left):
        await _end(session, message, MessageStatus.FAILED, error)
    return moved, len(left)


async def _give_away(session: AsyncSession, router: Router, connector: Connector) -> int:
    sample = await queue.first_of(session, connector.id)
    message = await messages.get(session, connector.workspace_id, sample) if sample else None
    if message is None:
        return 0
    way = await router.of_channel(session, connector.workspace_id, connector.channel_type, outbound(message), {connector.id})
    other = way.chosen
    if other is None:
        return 0
    moved = await queue.give_away(session, connector.id, other.id, AT_ONCE)
    rows = [{"id": message_id, "connector_id": other.id, "route": way.stored()} for message_id in moved]
    await messages.write_all(session, rows)
    for message in await messages.by_ids(session, connector.workspace_id, moved):
        message.connector_id = other.id
        detail = f"Going through {other.name}: {connector.name} cannot take it."
        message_changed(session, message, message.status, TimelineSource.DISPATCHER, detail=detail)
    return len(moved)


async def _end(session: AsyncSession, message: Message, status: MessageStatus, error: SendError) -> None:
    values, previous = {"status": status, "failure": failure_of(error)}, message.status
    moved = await messages.move(session, message.workspace_id, message.id, WAITING, values)
    if moved is not None:
        message_changed(session, moved, previous, TimelineSource.DISPATCHER, detail=error.message)
