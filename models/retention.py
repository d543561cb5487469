"""What has been kept long enough: which events to drop, and whose messages to redact. In batches, so that nobody waits long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from models import ids
from models.events import CHANNEL, PLATFORM, Event, Floor
from models.inbound import InboundMessage
from models.messages import Message
from models.receipts import Receipt
from models.waiting import UNDER_WAY
from models.workspaces import Workspace

FORGOTTEN = ""


async def policies(session: AsyncSession) -> list[tuple[str, int | None]]:
    """Every workspace, and after how many days its messages are redacted; the platform, which has events and no messages."""
    found = await session.execute(select(Workspace.id, Workspace.retention_days).order_by(Workspace.id))
    return [*((workspace_id, days) for workspace_id, days in found), (PLATFORM, None)]


async def drop_events(session: AsyncSession, workspace_id: str, before: dt.datetime, limit: int) -> int:
    """Drop the oldest events, up to `limit` of them and up to the first that happened at `before` or later; how many were
    looked at. The newest event of each channel stays, below the floor, because a subscription begins with it."""
    floor = await session.scalar(select(Floor.oldest).where(Floor.workspace_id == workspace_id)) or 1
    mine = (Event.workspace_id == workspace_id, Event.seq >= floor)
    oldest = list(await session.execute(select(Event.seq, Event.occurred_at).where(*mine).order_by(Event.seq).limit(limit)))
    old = [seq for seq, _at in _until(oldest, before)]
    if not old:
        return 0
    await _raise_floor(session, workspace_id, old[-1] + 1)
    await session.execute(delete(Event).where(Event.workspace_id == workspace_id, Event.seq.in_(old), Event.kind != CHANNEL))
    await _drop_superseded(session, workspace_id, old[-1])
    return len(old)


def _until(events: Sequence[tuple[int, dt.datetime]], before: dt.datetime) -> list[tuple[int, dt.datetime]]:
    """Those ahead of the first that is younger. Numbers are dropped in order; an event that tells of earlier times waits."""
    young = next((i for i, (_seq, at) in enumerate(events) if at >= before), len(events))
    return list(events[:young])


async def _raise_floor(session: AsyncSession, workspace_id: str, oldest: int) -> None:
    insert = (postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert)(Floor)
    first = insert.values(workspace_id=workspace_id, oldest=oldest)
    await session.execute(first.on_conflict_do_update(index_elements=["workspace_id"], set_={"oldest": oldest}))


async def _drop_superseded(session: AsyncSession, workspace_id: str, upto: int) -> None:
    """Channel events up to a number that a later one of the same channel has replaced."""
    mine = (Event.workspace_id == workspace_id, Event.kind == CHANNEL)
    newest = select(func.max(Event.seq)).where(*mine).group_by(Event.subject_id)
    await session.execute(delete(Event).where(*mine, Event.seq <= upto, Event.seq.not_in(newest)))


async def old_messages(session: AsyncSession, workspace_id: str, before: dt.datetime, first: str, limit: int) -> list[str]:
    """The next messages from the id `first` on that were accepted before `before`, are not under way and name somebody."""
    mine = (Message.workspace_id == workspace_id, Message.id >= first, Message.id < ids.earliest(ids.MESSAGE, before))
    open_ones = (Message.redacted_at.is_(None), Message.status.not_in(UNDER_WAY))
    return list(await session.scalars(select(Message.id).where(*mine, *open_ones).order_by(Message.id).limit(limit)))


async def first_under_way(session: AsyncSession, workspace_id: str) -> str | None:
    """The oldest message that is not over."""
    mine = (Message.workspace_id == workspace_id, Message.status.in_(UNDER_WAY))
    return await session.scalar(select(func.min(Message.id)).where(*mine))


async def redact_inbound(session: AsyncSession, workspace_id: str, before: dt.datetime, limit: int) -> int:
    """Forget who wrote and what, of messages received before `before`; how many."""
    mine = (InboundMessage.workspace_id == workspace_id, InboundMessage.id < ids.earliest(ids.INBOUND, before))
    batch = select(InboundMessage.id).where(*mine, InboundMessage.sender != FORGOTTEN).order_by(InboundMessage.id).limit(limit)
    found = list(await session.scalars(batch))
    nothing: dict[str, Any] = {"sender": FORGOTTEN, "to": None, "body": None, "payload": None, "media": [], "external_id": None}
    await session.execute(update(InboundMessage).where(InboundMessage.id.in_(found)).values(nothing))
    return len(found)


async def drop_parked(session: AsyncSession, workspace_id: str, before: dt.datetime, limit: int) -> int:
    """Drop receipts received before `before` whose message never became known; how many."""
    mine = (Receipt.workspace_id == workspace_id, Receipt.message_id.is_(None), Receipt.received_at < before)
    found = (await session.execute(select(Receipt.connector_id, Receipt.event_id).where(*mine).limit(limit))).all()
    for connector_id, event_id in found:
        await session.execute(delete(Receipt).where(Receipt.connector_id == connector_id, Receipt.event_id == event_id))
    return len(found)
