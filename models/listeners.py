"""Who sees to it that messages come in, where a connector's provider has to be told to call us, or to be asked.

One process at a time has a connector, for as long as its lease runs, so that nothing is asked for twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ForeignKey, String, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, now, table_of
from models.connectors import Connector


class Listener(Base):
    """`cursor` is how far the provider has been asked; `subscribed` is the address it was told to call."""

    __tablename__ = "listener"

    connector_id: Mapped[str] = mapped_column(ForeignKey("connector.id"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    holder: Mapped[str] = mapped_column(String(60))
    lease_until: Mapped[dt.datetime]
    cursor: Mapped[str | None] = mapped_column(String(255))
    subscribed: Mapped[str | None] = mapped_column(String(1000))
    config_revision: Mapped[int | None]


async def candidates(session: AsyncSession, template_refs: Sequence[str]) -> list[tuple[Connector, str | None]]:
    """Working connectors of any workspace whose provider may have to be listened to, and the address it was told to call."""
    mine = (
        Connector.template_ref.in_(template_refs),
        Connector.enabled.is_(True),
        Connector.is_verified.is_(True),
        Connector.deleted_at.is_(None),
    )
    told = select(Connector, Listener.subscribed).outerjoin(Listener, Listener.connector_id == Connector.id)
    return [(connector, url) for connector, url in await session.execute(told.where(*mine).order_by(Connector.id))]


async def claim(session: AsyncSession, connector: Connector, holder: str, until: dt.datetime) -> Listener | None:
    """Take a connector upon oneself, or keep it, until `until`; None when another process has it."""
    values = {"connector_id": connector.id, "workspace_id": connector.workspace_id, "holder": holder, "lease_until": until}
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table_of(Listener)).values(values)
    free = or_(Listener.holder == holder, Listener.lease_until < now())
    taken = insert.on_conflict_do_update(
        index_elements=["connector_id"], set_={"holder": holder, "lease_until": until}, where=free
    )
    await session.execute(taken)
    mine = (Listener.connector_id == connector.id, Listener.holder == holder)
    return await session.scalar(select(Listener).where(*mine).execution_options(populate_existing=True))


async def advance(session: AsyncSession, connector: Connector, holder: str, cursor: str) -> bool:
    """Write down how far the provider has been asked; False when another process has the connector by now."""
    mine = (Listener.connector_id == connector.id, Listener.holder == holder)
    moved = update(Listener).where(*mine).values(cursor=cursor).returning(Listener.connector_id)
    return await session.scalar(moved) is not None


async def subscribed(session: AsyncSession, connector: Connector, holder: str, url: str | None) -> None:
    """Write down which address the provider was told to call, or that it was told to call none."""
    mine = (Listener.connector_id == connector.id, Listener.holder == holder)
    values = {"subscribed": url, "config_revision": connector.config_revision}
    await session.execute(update(Listener).where(*mine).values(values))


async def release(session: AsyncSession, holder: str) -> None:
    """Leave all that a process has to others, at once."""
    await session.execute(update(Listener).where(Listener.holder == holder).values(lease_until=now()))
