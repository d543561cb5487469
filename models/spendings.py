"""How often a viewer has done what may be done a few times only: counted here, so that every process sees the same count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ForeignKey, String, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

KEPT = dt.timedelta(days=2)  # twice the longest window


class Spending(Base):
    """One viewer's use of one rate, since `began_at`."""

    __tablename__ = "spending"

    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    viewer: Mapped[str] = mapped_column(String(300), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    began_at: Mapped[dt.datetime]
    used: Mapped[int]


async def take(
    session: AsyncSession, workspace_id: str, viewer: str, name: str, limit: int, window: dt.timedelta, at: dt.datetime
) -> Spending | None:
    """Count one more, in one statement; None, and nothing counted, when the limit is reached. A window that is over, or that a
    clock put back has carried into the future, begins anew."""
    over = or_(Spending.began_at <= at - window, Spending.began_at >= at + window)
    dialect = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(Spending)
    first = dialect.values(workspace_id=workspace_id, viewer=viewer, name=name, began_at=at, used=1)
    counted = first.on_conflict_do_update(
        index_elements=["workspace_id", "viewer", "name"],
        set_={"began_at": case((over, at), else_=Spending.began_at), "used": case((over, 1), else_=Spending.used + 1)},
        where=or_(over, Spending.used < limit),
    )
    taken = await session.scalars(counted.returning(Spending).execution_options(populate_existing=True))
    return taken.first()


async def get(session: AsyncSession, workspace_id: str, viewer: str, name: str) -> Spending | None:
    return await session.get(Spending, (workspace_id, viewer, name))


async def of_viewer(session: AsyncSession, workspace_id: str, viewer: str) -> Sequence[Spending]:
    mine = (Spending.workspace_id == workspace_id, Spending.viewer == viewer)
    return (await session.scalars(select(Spending).where(*mine))).all()


async def forget(session: AsyncSession, before: dt.datetime) -> None:
    """Drop what began so long ago, in any workspace, that no window is open any more."""
    await session.execute(delete(Spending).where(Spending.began_at < before))
