"""Work that is due now and then, and that one process does for all."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import String
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, now


class Chore(Base):
    __tablename__ = "chore"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_at: Mapped[dt.datetime]


async def claim(session: AsyncSession, name: str, every: dt.timedelta) -> bool:
    """Whether a chore is due and the caller's; it is due again after `every`, also when the caller dies over it."""
    at = now()
    insert = (postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert)(Chore)
    first = insert.values(name=name, due_at=at + every)
    taken = first.on_conflict_do_update(index_elements=["name"], set_={"due_at": at + every}, where=Chore.due_at <= at)
    return await session.scalar(taken.returning(Chore.name)) is not None
