"""Messages to us that come in parts, until all have come; and, for a while after, which parts those were, so that one that
comes again is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ForeignKey, Index, String, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonList


class PartedMessage(Base):
    """`parts` are number, digest, the provider's id, coding and content in hexadecimal, in the order they came; once they are
    joined, number and digest alone. A group is used again by a later message of the same sender."""

    __tablename__ = "parted_message"
    __table_args__ = (Index("ix_parted_message_began", "began_at"),)

    connector_id: Mapped[str] = mapped_column(ForeignKey("connector.id"), primary_key=True)
    part_group: Mapped[str] = mapped_column(String(64), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    sender: Mapped[str] = mapped_column(String(320))
    recipient: Mapped[str | None] = mapped_column(String(320))
    total: Mapped[int]
    parts: Mapped[JsonList]
    began_at: Mapped[dt.datetime]
    joined_at: Mapped[dt.datetime | None]


async def hold(session: AsyncSession, workspace_id: str, fresh: PartedMessage) -> PartedMessage:
    """The message of this connector and group, `fresh` where there is none; held against other writers until the transaction
    ends."""
    values = {column.key: getattr(fresh, column.key) for column in PartedMessage.__table__.columns}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    kept = insert(PartedMessage).values({**values, "workspace_id": workspace_id})
    held = kept.on_conflict_do_update(index_elements=["connector_id", "part_group"], set_={"total": fresh.total})
    found = await session.scalars(held.returning(PartedMessage), execution_options={"populate_existing": True})
    return found.one()


async def keep(session: AsyncSession, workspace_id: str, message: PartedMessage, values: dict[str, Any]) -> None:
    mine = (PartedMessage.connector_id == message.connector_id, PartedMessage.part_group == message.part_group)
    await session.execute(update(PartedMessage).where(PartedMessage.workspace_id == workspace_id, *mine).values(values))


async def forget(session: AsyncSession, workspace_id: str, message: PartedMessage) -> None:
    mine = (PartedMessage.connector_id == message.connector_id, PartedMessage.part_group == message.part_group)
    await session.execute(delete(PartedMessage).where(PartedMessage.workspace_id == workspace_id, *mine))


async def incomplete(session: AsyncSession, workspace_id: str, connector_id: str, most: int) -> int:
    """How many messages of a connector wait for parts; no further than `most` is counted."""
    mine = (PartedMessage.workspace_id == workspace_id, PartedMessage.connector_id == connector_id)
    waiting = select(PartedMessage.part_group).where(*mine, PartedMessage.joined_at.is_(None)).limit(most)
    return await session.scalar(select(func.count()).select_from(waiting.subquery())) or 0


async def old(session: AsyncSession, before: dt.datetime, limit: int) -> Sequence[PartedMessage]:
    """Messages of all workspaces whose first part came before `before`, held until the transaction ends."""
    found = select(PartedMessage).where(PartedMessage.began_at < before, PartedMessage.joined_at.is_(None))
    return (await session.scalars(found.limit(limit).with_for_update(skip_locked=True))).all()


async def forget_joined(session: AsyncSession, before: dt.datetime) -> None:
    """Those of all workspaces that were joined before `before`."""
    await session.execute(delete(PartedMessage).where(PartedMessage.joined_at < before))
