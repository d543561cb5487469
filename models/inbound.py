"""What people wrote to us, each message once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonList
from models.paging import Window, contains


class InboundMessage(Base):
    """`event_id` is the provider's name for the event, `external_id` for the message. `keyword` is what it was understood as,
    where it was: STOP, START, HELP. A contact who blocks or unblocks us is one without a body."""

    __tablename__ = "inbound_message"
    __table_args__ = (
        Index("uq_inbound_message_event", "connector_id", "event_id", unique=True),
        Index("ix_inbound_message_list", "workspace_id", "id"),
        Index("ix_inbound_message_connector", "workspace_id", "connector_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    connector_id: Mapped[str] = mapped_column(ForeignKey("connector.id"))
    channel_type: Mapped[str] = mapped_column(String(20))
    event_id: Mapped[str] = mapped_column(String(255))
    sender: Mapped[str] = mapped_column(String(320))
    to: Mapped[str | None] = mapped_column("recipient", String(320))
    body: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(40))
    media: Mapped[JsonList]
    external_id: Mapped[str | None] = mapped_column(String(255))
    payload: Mapped[str | None] = mapped_column(String(1000))
    intent: Mapped[str | None] = mapped_column(String(20))
    keyword: Mapped[str | None] = mapped_column(String(40))
    occurred_at: Mapped[dt.datetime]
    received_at: Mapped[dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which inbound messages; an empty field does not restrict."""

    channels: Sequence[str] | None = None
    connector_ids: Sequence[str] | None = None
    query: str | None = None

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [InboundMessage.workspace_id == workspace_id]
        if self.channels is not None:
            found.append(InboundMessage.channel_type.in_(self.channels))
        if self.connector_ids is not None:
            found.append(InboundMessage.connector_id.in_(self.connector_ids))
        if self.query:
            texts = (InboundMessage.sender, InboundMessage.body, InboundMessage.external_id)
            found.append(or_(*(contains(column, self.query) for column in texts)))
        return found


async def store(session: AsyncSession, workspace_id: str, message: InboundMessage) -> bool:
    """False when its connector had this event before."""
    mapped = InboundMessage.__mapper__.column_attrs
    values: dict[Any, Any] = {attr.columns[0].name: getattr(message, attr.key) for attr in mapped}
    values["workspace_id"] = workspace_id
    dialect = session.get_bind().dialect.name
    upsert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(InboundMessage.__table__)  # type: ignore[arg-type]
    stored = await session.scalar(upsert.values(values).on_conflict_do_nothing().returning(InboundMessage.id))
    return stored is not None


async def page(session: AsyncSession, workspace_id: str, where: Filter, window: Window) -> Sequence[InboundMessage]:
    """Newest first."""
    found = window.apply(select(InboundMessage).where(*where.clauses(workspace_id)), (InboundMessage.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    found = select(func.count()).select_from(InboundMessage).where(*where.clauses(workspace_id))
    return await session.scalar(found) or 0


async def get(session: AsyncSession, workspace_id: str, message_id: str) -> InboundMessage | None:
    mine = (InboundMessage.workspace_id == workspace_id, InboundMessage.id == message_id)
    return await session.scalar(select(InboundMessage).where(*mine))


async def by_ids(session: AsyncSession, workspace_id: str, ids: Sequence[str]) -> Sequence[InboundMessage]:
    mine = (InboundMessage.workspace_id == workspace_id, InboundMessage.id.in_(ids))
    return (await session.scalars(select(InboundMessage).where(*mine))).all()
