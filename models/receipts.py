"""What providers told us of messages, each once. A receipt that overtook the answer to the send waits here for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Index, String, and_, bindparam, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject
from models.messages import Attempt


class Receipt(Base):
    """`message_id` is empty while no message with this `external_id` is known."""

    __tablename__ = "receipt"
    __table_args__ = (
        Index("ix_receipt_external", "connector_id", "external_id"),
        Index(
            "ix_receipt_parked",
            "received_at",
            sqlite_where=text("message_id IS NULL"),
            postgresql_where=text("message_id IS NULL"),
        ),
    )

    connector_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    external_id: Mapped[str] = mapped_column(String(255))
    message_id: Mapped[str | None] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20))
    failure: Mapped[JsonObject | None]
    detail: Mapped[str | None] = mapped_column(String(1000))
    raw: Mapped[JsonObject]
    occurred_at: Mapped[dt.datetime]
    received_at: Mapped[dt.datetime]


async def store(session: AsyncSession, workspace_id: str, receipt: Receipt) -> bool:
    """False when this receipt was stored before."""
    values = {column.key: getattr(receipt, column.key) for column in Receipt.__table__.columns}
    values["workspace_id"] = workspace_id
    dialect = session.get_bind().dialect.name
    upsert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(Receipt)
    stored = await session.scalar(upsert.values(values).on_conflict_do_nothing().returning(Receipt.event_id))
    return stored is not None


_PARKED = (
    select(Receipt)
    .where(
        Receipt.connector_id.in_(bindparam("connector_ids", expanding=True)),
        Receipt.external_id.in_(bindparam("external_ids", expanding=True)),
        Receipt.message_id.is_(None),
    )
    .order_by(Receipt.received_at)
)


async def parked(session: AsyncSession, names: Sequence[tuple[str, str]]) -> Sequence[Receipt]:
    """Receipts that came before their message was known, in the order they came, by (connector, provider's id)."""
    given = {"connector_ids": sorted({connector_id for connector_id, _ in names}), "external_ids": [name for _, name in names]}
    wanted, found = set(names), await session.scalars(_PARKED, given)
    return [receipt for receipt in found if (receipt.connector_id, receipt.external_id) in wanted]


async def parked_and_known(session: AsyncSession, since: dt.datetime, limit: int = 100) -> list[tuple[str, str]]:
    """Parked receipts received since then whose message is known by now: (connector, provider's id) of each."""
    known = and_(Attempt.connector_id == Receipt.connector_id, Attempt.external_id == Receipt.external_id)
    parked = (Receipt.message_id.is_(None), Receipt.received_at > since)
    found = select(Receipt.connector_id, Receipt.external_id).join(Attempt, known).where(*parked).limit(limit)
    return [(connector_id, external_id) for connector_id, external_id in await session.execute(found)]


async def assign(session: AsyncSession, workspace_id: str, receipt: Receipt, message_id: str) -> bool:
    """Say whose a parked receipt is; False when that was said before."""
    mine = (
        Receipt.workspace_id == workspace_id,
        Receipt.connector_id == receipt.connector_id,
        Receipt.event_id == receipt.event_id,
        Receipt.message_id.is_(None),
    )
    assigned = update(Receipt).where(*mine).values(message_id=message_id).returning(Receipt.event_id)
    return await session.scalar(assigned) is not None
