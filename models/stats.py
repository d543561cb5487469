"""Messages counted over time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, cast, extract, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import ids
from models.messages import Filter, Message

SKEW = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cell:
    """How many messages of one channel, accepted in one bucket, stand somewhere."""

    start: dt.datetime
    channel_type: str
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class Times:
    """When a message was to be sent, was taken by the provider and reached its recipient."""

    due_at: dt.datetime
    sent_at: dt.datetime
    delivered_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Span:
    """From the beginning up to, and without, the end."""

    begin: dt.datetime
    end: dt.datetime


async def cells(session: AsyncSession, workspace_id: str, where: Filter, span: Span, width: int) -> list[Cell]:
    """Counts by bucket, channel and status, oldest bucket first. Buckets of `width` seconds begin at multiples of it in UTC."""
    seconds = _seconds(session.get_bind().dialect.name)
    start = (seconds - seconds % width).label("start")
    keys = (start, Message.channel_type, Message.status)
    grouped = select(*keys, func.count()).where(*_within(workspace_id, where, span)).group_by(*keys).order_by(start)
    found = await session.execute(grouped)
    return [Cell(dt.datetime.fromtimestamp(begun, dt.UTC), channel, status, number) for begun, channel, status, number in found]


def _seconds(dialect: str) -> ColumnElement[int]:
    """When messages were accepted, in whole seconds since 1970. SQLite rounds to milliseconds, which may lead into the next
    day: it is shown no fraction."""
    if dialect == "sqlite":
        return cast(func.strftime("%s", func.substr(Message.created_at, 1, 19)), BigInteger)
    return cast(func.floor(extract("epoch", Message.created_at)), BigInteger)


async def times(session: AsyncSession, workspace_id: str, where: Filter, span: Span, limit: int) -> Sequence[Times]:
    """Of the newest messages that were taken by a provider."""
    columns = (Message.created_at, Message.scheduled_at, Message.sent_at, Message.delivered_at)
    taken = (*_within(workspace_id, where, span), Message.sent_at.is_not(None))
    found = await session.execute(select(*columns).where(*taken).order_by(Message.id.desc()).limit(limit))
    return [
        Times(max(created, planned or created), sent, arrived) for created, planned, sent, arrived in found if sent is not None
    ]


def _within(workspace_id: str, where: Filter, span: Span) -> list[ColumnElement[bool]]:
    """Ids sort by creation, so the primary list index finds the span; a day to either side forgives clocks that jump."""
    return [
        *where.clauses(workspace_id),
        Message.id >= ids.earliest(ids.MESSAGE, span.begin - SKEW),
        Message.id < ids.earliest(ids.MESSAGE, span.end + SKEW),
        Message.created_at >= span.begin,
        Message.created_at < span.end,
    ]
