"""Tenants: an organization holds workspaces, a workspace holds everything else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ForeignKey, String, Text, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import ids
from models.base import Base, now, table_of
from models.events import Counter
from models.paging import Window
from models.reader import Query, Reader


class Organization(Base):
    __tablename__ = "organization"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    whatsapp_phone_number_id: Mapped[str | None] = mapped_column(String(32), unique=True)
    whatsapp_access_token: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[dt.datetime]


class Workspace(Base):
    __tablename__ = "workspace"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organization.id"))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    will_active: Mapped[bool] = mapped_column(default=False)
    retention_days: Mapped[int | None]
    created_at: Mapped[dt.datetime]


async def get(session: AsyncSession, workspace_id: str) -> Workspace | None:
    return await session.get(Workspace, workspace_id)


async def shown(reader: Reader, workspace_id: str) -> Workspace | None:
    """As `get`, in one step."""
    return await reader.first(_SHOWN, id=workspace_id)


_SHOWN = Query(Workspace, lambda found: found.where(table_of(Workspace).c.id == bindparam("id")))


async def lock(session: AsyncSession, workspace_id: str) -> Workspace | None:
    """The workspace, held against other writers until the transaction ends."""
    return await session.scalar(select(Workspace).where(Workspace.id == workspace_id).with_for_update(key_share=True))


async def organization(session: AsyncSession, organization_id: str) -> Organization | None:
    return await session.get(Organization, organization_id)


async def change_organization(session: AsyncSession, organization_id: str, values: dict[str, Any]) -> Organization:
    changed = update(Organization).where(Organization.id == organization_id).values(**values).returning(Organization)
    return (await session.scalars(changed.execution_options(populate_existing=True))).one()


async def by_name(session: AsyncSession, name: str) -> Workspace | None:
    return await session.scalar(select(Workspace).where(Workspace.name == name))


async def first_or_create(session: AsyncSession, name: str) -> Workspace:
    """The workspace of this name, else the oldest one; an empty database gets one of this name."""
    found = await by_name(session, name) or await session.scalar(select(Workspace).order_by(Workspace.id).limit(1))
    return found or (await find_or_create(session, name))[0]


async def find_or_create(session: AsyncSession, name: str) -> tuple[Workspace, bool]:
    """The workspace of this name, and whether it was made just now; several processes may ask at once."""
    if (found := await by_name(session, name)) is not None:
        return found, False
    try:
        async with session.begin_nested():
            return await create(session, name), True
    except IntegrityError:
        if (found := await by_name(session, name)) is None:
            raise
        return found, False


async def change(session: AsyncSession, workspace_id: str, values: dict[str, Any]) -> Workspace:
    changed = update(Workspace).where(Workspace.id == workspace_id).values(**values).returning(Workspace)
    return (await session.scalars(changed.execution_options(populate_existing=True))).one()


async def page(session: AsyncSession, window: Window) -> Sequence[Workspace]:
    """Of the whole platform, newest first."""
    return window.trim((await session.scalars(window.apply(select(Workspace), (Workspace.id,), descending=True))).all())


async def everything(session: AsyncSession) -> Sequence[Workspace]:
    return (await session.scalars(select(Workspace).order_by(Workspace.id))).all()


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Workspace)) or 0


async def create(session: AsyncSession, name: str, organization_id: str | None = None) -> Workspace:
    """A workspace with its event counter; in a new organization of the same name unless one is given."""
    created = now()
    if organization_id is None:
        organization_id = ids.new_id(ids.ORGANIZATION)
        session.add(Organization(id=organization_id, name=name, created_at=created))
        await session.flush()
    workspace = Workspace(
        id=ids.new_id(ids.WORKSPACE), organization_id=organization_id, name=name, will_active=False, created_at=created
    )
    session.add(workspace)
    await session.flush()
    session.add(Counter(workspace_id=workspace.id, seq=0))
    await session.flush()
    return workspace
