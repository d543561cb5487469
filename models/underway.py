"""Messages in the hands of the worker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import many
from models.base import JsonList, JsonObject, now, table_of
from models.messages import Message, MessageStatus


@dataclass(slots=True)
class Underway:
    """What the hand-over of a message and its outcome need of it, under the names a Message has."""

    id: str
    workspace_id: str
    channel_type: str
    flow: str
    priority: str
    status: str
    to: str
    sender: str | None
    sender_id: str | None
    subject: str | None
    body: str | None
    html: str | None
    template: JsonObject | None
    media: JsonList
    details: JsonObject | None
    batch_id: str | None
    connector_id: str | None
    is_pinned: bool
    fallbacks: JsonList
    scheduled_at: dt.datetime | None
    expires_at: dt.datetime | None
    created_at: dt.datetime


Sendable = Message | Underway


def underway(row: Mapping[str, Any]) -> Underway:
    """A message that is about to be stored, given by the names of its attributes."""
    return Underway(**{name: row[name] for name in Underway.__slots__})


async def begin(session: AsyncSession, ids: Sequence[str]) -> list[Underway]:
    """Move claimed messages from QUEUED to PROCESSING; of whatever workspace, for only the worker claims."""
    begun = await session.execute(_BEGIN, {"ids": many.padded(ids), "at": now()})
    return [Underway(*row) for row in begun]


_MESSAGES = table_of(Message)
_BEGIN = (
    update(_MESSAGES)
    .where(_MESSAGES.c.id.in_(bindparam("ids", expanding=True)), _MESSAGES.c.status == MessageStatus.QUEUED)
    .values(status=MessageStatus.PROCESSING, updated_at=bindparam("at"))
    .returning(*(getattr(Message, name).expression for name in Underway.__slots__))
)
