"""Messages, and what was tried to deliver them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    bindparam,
    func,
    inspect,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import many
from models.base import Base, JsonList, JsonObject, now, table_of
from models.paging import Window, contains
from models.reader import Columns, Query, Reader


class MessageStatus(StrEnum):
    """Where a message stands. Receipts only move it up the RANK; the dispatcher alone may put it back to QUEUED."""

    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


RANK: dict[str, int] = {
    MessageStatus.SCHEDULED: 0,
    MessageStatus.QUEUED: 1,
    MessageStatus.PROCESSING: 2,
    MessageStatus.UNKNOWN: 3,
    MessageStatus.SENT: 4,
    MessageStatus.FAILED: 5,
    MessageStatus.EXPIRED: 5,
    MessageStatus.CANCELED: 5,
    MessageStatus.DELIVERED: 6,
    MessageStatus.READ: 7,
}


class Message(Base):
    """`external_id` is the provider's name for it, `client_reference` the caller's. `recipient_mark` is what one that
    was sent and is redacted keeps of its recipient: see `recipients`."""

    __tablename__ = "message"
    __table_args__ = (
        Index("uq_message_idempotency_key", "workspace_id", "idempotency_key", unique=True),
        Index("ix_message_list", "workspace_id", "id"),
        Index("ix_message_status", "workspace_id", "status", "id"),
        Index("ix_message_connector", "workspace_id", "connector_id", "id"),
        Index("ix_message_reference", "workspace_id", "client_reference"),
        Index("ix_message_external", "connector_id", "external_id"),
        Index("ix_message_recipient", "recipient", "workspace_id"),
        Index(
            "ix_message_mark",
            "recipient_mark",
            sqlite_where=text("recipient_mark IS NOT NULL"),
            postgresql_where=text("recipient_mark IS NOT NULL"),
        ),
        Index("ix_message_batch", "workspace_id", "batch_id", "id"),
        Index(
            "ix_message_fallback",
            "fallback_at",
            sqlite_where=text("fallback_at IS NOT NULL"),
            postgresql_where=text("fallback_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    channel_type: Mapped[str] = mapped_column(String(20))
    flow: Mapped[str] = mapped_column(String(20))
    priority: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    to: Mapped[str] = mapped_column("recipient", String(320))
    sender: Mapped[str | None] = mapped_column(String(320))
    sender_id: Mapped[str | None] = mapped_column(String(40))
    subject: Mapped[str | None] = mapped_column(Text)
    body: Mapped[str | None] = mapped_column(Text)
    html: Mapped[str | None] = mapped_column(Text)
    template: Mapped[JsonObject | None]
    media: Mapped[JsonList]
    details: Mapped[JsonObject | None] = mapped_column("metadata")
    client_reference: Mapped[str | None] = mapped_column(String(255))
    external_id: Mapped[str | None] = mapped_column(String(255))
    batch_id: Mapped[str | None] = mapped_column(String(40))
    connector_id: Mapped[str | None] = mapped_column(ForeignKey("connector.id"))
    is_pinned: Mapped[bool]
    fallbacks: Mapped[JsonList]
    fallback_at: Mapped[dt.datetime | None]
    route: Mapped[JsonList]
    encoding: Mapped[str | None] = mapped_column(String(10))
    segments: Mapped[int | None]
    failure: Mapped[JsonObject | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    scheduled_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    sent_at: Mapped[dt.datetime | None]
    delivered_at: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    redacted_at: Mapped[dt.datetime | None]
    recipient_mark: Mapped[str | None] = mapped_column(String(64))


class Attempt(Base):
    """One hand-over to a provider, stored before the provider is called. `outcome` is empty while nobody knows."""

    __tablename__ = "attempt"
    __table_args__ = (
        Index("ix_attempt_workspace", "workspace_id", "message_id"),
        Index("ix_attempt_external", "connector_id", "external_id"),
        Index(
            "ix_attempt_finished",
            "connector_id",
            "outcome",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )

    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    connector_id: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[dt.datetime]
    finished_at: Mapped[dt.datetime | None]
    duration_ms: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    external_id: Mapped[str | None] = mapped_column(String(255))
    provider_status: Mapped[int | None]
    exchange: Mapped[JsonObject | None]
    failure: Mapped[JsonObject | None]
    next_attempt_at: Mapped[dt.datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which messages; an empty field does not restrict."""

    channels: Sequence[str] | None = None
    flow: str | None = None
    statuses: Sequence[str] | None = None
    connector_ids: Sequence[str] | None = None
    sender_ids: Sequence[str] | None = None
    batch_id: str | None = None
    query: str | None = None
    client_reference: str | None = None
    created_after: dt.datetime | None = None
    created_before: dt.datetime | None = None

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [Message.workspace_id == workspace_id]
        for column, values in (
            (Message.channel_type, self.channels),
            (Message.status, self.statuses),
            (Message.connector_id, self.connector_ids),
            (Message.sender_id, self.sender_ids),
        ):
            if values is not None:
                found.append(column.in_(values))
        for exact, value in (
            (Message.flow, self.flow),
            (Message.batch_id, self.batch_id),
            (Message.client_reference, self.client_reference),
        ):
            if value is not None:
                found.append(exact == value)
        if self.query:
            found.append(or_(*(contains(column, self.query) for column in (Message.to, Message.body, Message.external_id))))
        if self.created_after is not None:
            found.append(Message.created_at > self.created_after)
        if self.created_before is not None:
            found.append(Message.created_at < self.created_before)
        return found


async def page(session: AsyncSession, workspace_id: str, where: Filter, window: Window) -> Sequence[Message]:
    """Newest first."""
    found = window.apply(select(Message).where(*where.clauses(workspace_id)), (Message.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def newest(reader: Reader, workspace_id: str, window: Window, columns: Columns = None) -> Sequence[Message]:
    """As `page` without a filter, in one step; `window` has no offset."""
    given = {"after": window.after, "before": window.before}
    ends = {name: position[0] for name, position in given.items() if position is not None}
    query = _newest("after" in ends, "before" in ends, window.backwards)
    return window.trim(await reader.all(query, columns, workspace_id=workspace_id, size=window.size, **ends))


@cache
def _newest(after: bool, before: bool, backwards: bool) -> Query[Message]:
    size: Any = bindparam("size", type_=Integer)
    window = Window(size, (bindparam("after"),) if after else None, (bindparam("before"),) if before else None, backwards)
    mine = _MESSAGES.c.workspace_id == bindparam("workspace_id")
    return Query(Message, lambda found: window.apply(found.where(mine), (_MESSAGES.c.id,), descending=True))


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    return await session.scalar(select(func.count()).select_from(Message).where(*where.clauses(workspace_id))) or 0


async def get(session: AsyncSession, workspace_id: str, message_id: str) -> Message | None:
    mine = (Message.workspace_id == workspace_id, Message.id == message_id)
    return await session.scalar(select(Message).where(*mine))


async def shown(reader: Reader, workspace_id: str, message_id: str, columns: Columns = None) -> Message | None:
    """As `get`, in one step."""
    return await reader.first(_SHOWN, columns, workspace_id=workspace_id, id=message_id)


async def by_ids(session: AsyncSession, workspace_id: str, ids: Sequence[str]) -> Sequence[Message]:
    mine = (Message.workspace_id == workspace_id, Message.id.in_(ids))
    return (await session.scalars(select(Message).where(*mine))).all()


async def by_external_id(session: AsyncSession, workspace_id: str, external_id: str) -> Message | None:
    """The newest message the provider calls so; ids of different providers may collide."""
    mine = (Message.workspace_id == workspace_id, Message.external_id == external_id)
    return await session.scalar(select(Message).where(*mine).order_by(Message.id.desc()).limit(1))


ALIAS = "redacted:"


def alias(external_id: str) -> str:
    """What a provider's name for a redacted message is kept as: the name may spell out the recipient."""
    return f"{ALIAS}{hashlib.sha256(external_id.encode()).hexdigest()}"


def is_alias(external_id: str) -> bool:
    return external_id.startswith(ALIAS)


async def hold(session: AsyncSession, ids: Sequence[str]) -> dict[str, Message]:
    """Messages of any workspace, held against others until the transaction ends, as they stand now."""
    found = select(Message).where(Message.id.in_(ids)).order_by(Message.id).with_for_update()
    return {message.id: message for message in await session.scalars(found.execution_options(populate_existing=True))}


async def name_attempt(session: AsyncSession, workspace_id: str, message_id: str, connector_id: str, external_id: str) -> None:
    """Write down what the provider calls a message where the answer that told it was lost."""
    mine = (Attempt.workspace_id == workspace_id, Attempt.message_id == message_id, Attempt.connector_id == connector_id)
    named = update(Attempt).where(*mine, Attempt.external_id.is_(None)).values(external_id=external_id)
    await session.execute(named.execution_options(synchronize_session=False))


async def by_idempotency_key(session: AsyncSession, workspace_id: str, key: str) -> Message | None:
    mine = (Message.workspace_id == workspace_id, Message.idempotency_key == key)
    return await session.scalar(select(Message).where(*mine))


async def attempts_of(session: AsyncSession, workspace_id: str, message_ids: Sequence[str]) -> Sequence[Attempt]:
    mine = (Attempt.workspace_id == workspace_id, Attempt.message_id.in_(message_ids))
    return (await session.scalars(select(Attempt).where(*mine).order_by(Attempt.message_id, Attempt.number))).all()


async def move(
    session: AsyncSession,
    workspace_id: str,
    message_id: str,
    allowed: Sequence[str],
    values: Mapping[str, Any],
) -> Message | None:
    """Write `values` if the message's status is still one of `allowed`; None otherwise."""
    moved = (
        update(Message)
        .where(Message.workspace_id == workspace_id, Message.id == message_id, Message.status.in_(allowed))
        .values(**values, updated_at=now())
        .returning(Message)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(moved)


def below(status: str) -> list[str]:
    """The statuses a message may rise from to reach `status`."""
    return [lower for lower, rank in RANK.items() if rank < RANK[status]]


_MESSAGES, _ATTEMPTS = table_of(Message), table_of(Attempt)
_SHOWN = Query(
    Message,
    lambda found: found.where(_MESSAGES.c.workspace_id == bindparam("workspace_id"), _MESSAGES.c.id == bindparam("id")),
)
_COLUMNS = {attribute.key: attribute.columns[0].key for attribute in inspect(Message).column_attrs}
_BY_IDS = _MESSAGES.c.id.in_(bindparam("ids", expanding=True))
_STATUSES = select(_MESSAGES.c.id, _MESSAGES.c.status).where(_BY_IDS).order_by(_MESSAGES.c.id).with_for_update()


async def statuses(session: AsyncSession, ids: Sequence[str]) -> dict[str, str]:
    """Where messages of any workspace stand, held against others until the transaction ends."""
    return {message_id: status for message_id, status in await session.execute(_STATUSES, {"ids": many.padded(ids)})}


async def insert_all(session: AsyncSession, workspace_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store messages given by the names of their attributes, all with the same ones. Raises ValueError for a stranger's."""
    if any(row["workspace_id"] != workspace_id for row in rows):
        raise ValueError("a message of another workspace")
    await many.insert_all(await session.connection(), _MESSAGES, rows, _COLUMNS)


async def write_all(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update messages by their `id`, each with its own values; rows of one shape go in one statement."""
    at = now()
    await many.update_all(await session.connection(), _MESSAGES, ("id",), [{**row, "updated_at": at} for row in rows])


async def write_attempts(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Update attempts by their `message_id` and `number`, as `write_all` does."""
    await many.update_all(await session.connection(), _ATTEMPTS, ("message_id", "number"), rows)


async def begin_attempts(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Attempts of which nobody knows yet how they end."""
    await many.insert_all(await session.connection(), _ATTEMPTS, rows)


async def tried_connectors(session: AsyncSession, workspace_id: str, message_id: str) -> set[str]:
    """The connectors a message has been through."""
    mine = (Attempt.workspace_id == workspace_id, Attempt.message_id == message_id)
    return set((await session.scalars(select(Attempt.connector_id).where(*mine).distinct())).all())


async def breakdowns(session: AsyncSession, ids: Sequence[str], codes: Collection[str]) -> dict[str, int]:
    """How many attempts of messages of any workspace failed with one of our own `codes`."""
    broke = (Attempt.message_id.in_(ids), Attempt.failure["code"].as_string().in_(codes))
    counted = select(Attempt.message_id, func.count()).where(*broke).group_by(Attempt.message_id)
    return {message_id: number for message_id, number in await session.execute(counted)}


async def awaiting_receipt(session: AsyncSession, before: dt.datetime, limit: int) -> Sequence[Message]:
    """Messages of any workspace that were to fall back by `before` unless a receipt came."""
    found = select(Message).where(Message.fallback_at.is_not(None), Message.fallback_at <= before)
    held = found.order_by(Message.fallback_at).limit(limit).with_for_update(skip_locked=True)
    return (await session.scalars(held)).all()


async def unfinished_of(
    session: AsyncSession, workspace_id: str, connector_id: str, statuses: Sequence[str]
) -> Sequence[Message]:
    """Messages that wait for one connector."""
    mine = (
        Message.workspace_id == workspace_id,
        Message.connector_id == connector_id,
        Message.status.in_(statuses),
    )
    return (await session.scalars(select(Message).where(*mine).order_by(Message.id))).all()
