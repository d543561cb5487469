"""Batches: messages accepted together. How far one has come is counted from its messages, never kept beside them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ForeignKey, Index, String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import messages, queue
from models.base import Base
from models.messages import RANK, Message, MessageStatus
from models.waiting import UNDER_WAY


class Batch(Base):
    """`channels` are those of its messages, separated by spaces."""

    __tablename__ = "batch"
    __table_args__ = (Index("uq_batch_idempotency_key", "workspace_id", "idempotency_key", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    total: Mapped[int]
    already_accepted: Mapped[int]
    channels: Mapped[str] = mapped_column(String(200))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[dt.datetime]


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages stand somewhere."""

    status: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A batch, and how far it has come. `completed_at` is set once nothing of ours is left to do for any of its messages."""

    id: str
    total: int
    already_accepted: int
    counts: tuple[Count, ...]
    created_at: dt.datetime
    completed_at: dt.datetime | None

    @property
    def is_complete(self) -> bool:
        return self.completed_at is not None


def counted(found: Mapping[str, int]) -> tuple[Count, ...]:
    """Counts by status, the earliest status first."""
    return tuple(Count(status, found[status]) for status in RANK if found.get(status))


async def get(session: AsyncSession, workspace_id: str, batch_id: str) -> Batch | None:
    mine = (Batch.workspace_id == workspace_id, Batch.id == batch_id)
    return await session.scalar(select(Batch).where(*mine))


async def by_idempotency_key(session: AsyncSession, workspace_id: str, key: str) -> Batch | None:
    mine = (Batch.workspace_id == workspace_id, Batch.idempotency_key == key)
    return await session.scalar(select(Batch).where(*mine))


async def progress(session: AsyncSession, workspace_id: str, batch: Batch) -> Progress:
    """One statement. A message was done when the provider took it, or else when it last moved."""
    done = func.max(func.coalesce(Message.sent_at, Message.delivered_at, Message.updated_at))
    mine = (Message.workspace_id == workspace_id, Message.batch_id == batch.id)
    grouped = select(Message.status, func.count(), done).where(*mine).group_by(Message.status)
    found = [(status, number, last) for status, number, last in await session.execute(grouped)]
    is_complete = not any(status in UNDER_WAY for status, _, _ in found)
    return Progress(
        id=batch.id,
        total=batch.total,
        already_accepted=batch.already_accepted,
        counts=counted({status: number for status, number, _ in found}),
        created_at=batch.created_at,
        completed_at=max((last for _, _, last in found), default=batch.created_at) if is_complete else None,
    )


async def failures(session: AsyncSession, workspace_id: str, batch_id: str, limit: int) -> Sequence[Message]:
    """The first messages that will not be delivered, as they were given."""
    lost = (MessageStatus.FAILED, MessageStatus.EXPIRED)
    mine = (Message.workspace_id == workspace_id, Message.batch_id == batch_id, Message.status.in_(lost))
    return (await session.scalars(select(Message).where(*mine).order_by(Message.id).limit(limit))).all()


async def by_idempotency_keys(session: AsyncSession, workspace_id: str, keys: Sequence[str]) -> dict[str, Message]:
    """Messages accepted before, by the keys they were given."""
    if not keys:
        return {}
    mine = (Message.workspace_id == workspace_id, Message.idempotency_key.in_(keys))
    return {message.idempotency_key or "": message for message in await session.scalars(select(Message).where(*mine))}


async def store(
    session: AsyncSession, workspace_id: str, batch: Batch, rows: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]
) -> None:
    """A batch with its messages and their jobs: a statement for each table. Raises ValueError for a stranger's."""
    session.add(batch)
    await session.flush()
    await messages.insert_all(session, workspace_id, rows)
    await queue.enqueue_all(session, jobs)
