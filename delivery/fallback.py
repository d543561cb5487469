"""When a message cannot go the way it was meant to: another channel of the caller's choice, or an end."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import SendError
from delivery import optouts, permits
from delivery.outbound import form_of, from_of, outbound
from delivery.route import Route, Router
from delivery.verdict import EXPIRED, failure_of
from models import messages, queue
from models.base import now
from models.messages import Message, MessageStatus
from models.timeline import TimelineSource, message_changed
from models.underway import Sendable

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)
UNARRIVED = (MessageStatus.PROCESSING, MessageStatus.UNKNOWN, MessageStatus.SENT, MessageStatus.FAILED)
AT_ONCE = 500


def due(message: Sendable) -> dt.datetime | None:
    """Until when a receipt must come, or the message goes through its next channel as well."""
    seconds = message.fallbacks[0].get("after_seconds") if message.fallbacks else None
    return now() + dt.timedelta(seconds=seconds) if seconds is not None else None


def through(message: Sendable, way: Route) -> dict[str, Any]:
    """What changes of a message that goes another way than before."""
    choice = way.choice
    if choice is None:
        raise ValueError("nobody was chosen")
    connector = choice.connector
    stays = connector.channel_type == message.channel_type
    encoding, segments = form_of(connector.channel_type, message.body, bool(message.media))
    return {
        "id": message.id,
        "channel_type": connector.channel_type,
        "recipient": choice.to or message.to,
        "sender": message.sender if message.sender_id is not None and stays else connector.identifier,
        "connector_id": connector.id,
        "route": way.stored(),
        "encoding": encoding,
        "segments": segments,
    }


async def take_next(session: AsyncSession, router: Router, message: Message) -> bool:
    """Send a message through the first of its fallback channels that can take it; False when there is none left."""
    rest, sender = list(message.fallbacks), await permits.sender_of(session, message)
    while rest and (message.expires_at is None or message.expires_at > now()):
        choice = rest.pop(0)
        if permits.under(choice["channel"], sender) is not None:
            continue
        draft = replace(outbound(message), to=choice.get("to") or message.to, sender=None)
        way = await router.of_channel(session, message.workspace_id, choice["channel"], draft, waits=True)
        if way.chosen is not None and not await _unwanted(session, message, way):
            await _switch(session, message, way, rest, from_of(way.chosen, sender))
            return True
    await messages.write_all(session, [{"id": message.id, "fallbacks": [], "fallback_at": None}])
    return False


async def _unwanted(session: AsyncSession, message: Message, way: Route) -> bool:
    """The recipient opted out of the channel a message would go on through."""
    if way.choice is None or not optouts.stops(message.flow):
        return False
    address = message.workspace_id, way.choice.connector.channel_type, way.choice.to or message.to
    return bool(await permits.opted_out(session, {message.id: address}))


async def _switch(session: AsyncSession, message: Message, way: Route, rest: list[dict[str, Any]], sender: str | None) -> None:
    """The provider's name for it is forgotten: what is reported of it from now on is of an earlier hand-over."""
    row = {
        **through(message, way),
        "sender": sender,
        "status": MessageStatus.QUEUED.value,
        "external_id": None,
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
        row["connector_id"],
        urgency,
        expires_at=message.expires_at,
        attempts=max((attempt.number for attempt in attempts), default=0),
    )
    previous, former = message.status, message.channel_type
    await session.refresh(message)
    detail = f"Falling back from {former} to {message.channel_type}."
    message_changed(session, message, previous, TimelineSource.DISPATCHER, detail=detail)


async def without_receipt(session: AsyncSession, router: Router) -> int:
    """Fall back for messages whose receipt did not come in time; how many were looked at."""
    overdue = await messages.awaiting_receipt(session, now(), AT_ONCE)
    for message in overdue:
        if message.status in UNARRIVED:
            await take_next(session, router, message)
        else:
            await messages.write_all(session, [{"id": message.id, "fallback_at": None}])
    return len(overdue)


async def expire(session: AsyncSession) -> None:
    """Messages that were not sent within their validity are not sent any more."""
    for workspace_id, message_id in await queue.overdue(session):
        message = await messages.get(session, workspace_id, message_id)
        if message is not None:
            await end(session, message, MessageStatus.EXPIRED, EXPIRED)


async def end(session: AsyncSession, message: Message, status: MessageStatus, error: SendError) -> None:
    """Give up a message that waits, whose job was taken out of the queue."""
    values, previous = {"status": status, "failure": failure_of(error)}, message.status
    moved = await messages.move(session, message.workspace_id, message.id, WAITING, values)
    if moved is not None:
        message_changed(session, moved, previous, TimelineSource.DISPATCHER, detail=error.message)
