"""Worker processes that are alive. A lease ends early when the heart of its worker has stopped."""

from __future__ import annotations

import datetime as dt
import socket

from sqlalchemy import Select, String, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, now

DEAD_AFTER = dt.timedelta(seconds=30)
FORGOTTEN_AFTER = dt.timedelta(days=1)


class Worker(Base):
    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(60), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[dt.datetime]
    heartbeat_at: Mapped[dt.datetime]


async def beat(session: AsyncSession, worker_id: str) -> None:
    """Say that a worker lives; the first time also where. Workers long dead are forgotten."""
    at = now()
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(Worker)
    row = insert.values(id=worker_id, host=socket.gethostname()[:255], started_at=at, heartbeat_at=at)
    await session.execute(row.on_conflict_do_update(index_elements=["id"], set_={"heartbeat_at": at}))
    await session.execute(delete(Worker).where(Worker.heartbeat_at < at - FORGOTTEN_AFTER))


async def leave(session: AsyncSession, worker_id: str) -> None:
    """A worker that stopped in good order holds nothing any more."""
    await session.execute(delete(Worker).where(Worker.id == worker_id))


def alive() -> Select[str]:
    """The ids of the workers whose heart beats."""
    return select(Worker.id).where(Worker.heartbeat_at > now() - DEAD_AFTER)
