"""Whom a provider's call is for. Calls come without a workspace: these find one, for a caller who has proved who they are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.connectors import Connector
from models.messages import Message


async def behind_door(session: AsyncSession, connector_id: str) -> Connector | None:
    """A connector of any workspace that is not deleted: who asks must show its key before anything else happens."""
    return await session.scalar(select(Connector).where(Connector.id == connector_id, Connector.deleted_at.is_(None)))


async def by_line(session: AsyncSession, provider: str, identifiers: Sequence[str]) -> Sequence[Connector]:
    """Connectors of any workspace that send from one of these addresses of a provider."""
    mine = (Connector.provider == provider, Connector.identifier.in_(identifiers), Connector.deleted_at.is_(None))
    return (await session.scalars(select(Connector).where(*mine).order_by(Connector.created_at, Connector.id))).all()


async def senders_to(
    session: AsyncSession, channel_type: str, address: str, marks: Sequence[str], connector_id: str | None = None
) -> Sequence[Connector]:
    """The connectors of any workspace, or the one named, that sent something to an address, or to who has one of its marks; who
    sent last is last."""
    latest = func.max(Message.id).label("latest")
    to = (Message.to == address) | Message.recipient_mark.in_(marks)
    mine = [to, Message.channel_type == channel_type, Message.sent_at.is_not(None)]
    if connector_id is not None:
        mine.append(Message.connector_id == connector_id)
    sent = select(Message.connector_id, latest).where(*mine).group_by(Message.connector_id).subquery()
    found = select(Connector).join(sent, sent.c.connector_id == Connector.id).where(Connector.deleted_at.is_(None))
    return (await session.scalars(found.order_by(sent.c.latest))).all()
