"""Tenants: an organization holds workspaces, a workspace holds everything else."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import ids
from models.base import Base, now
from models.events import Counter


class Organization(Base):
    __tablename__ = "organization"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[dt.datetime]


class Workspace(Base):
    __tablename__ = "workspace"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organization.id"))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    will_active: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime]


async def get(session: AsyncSession, workspace_id: str) -> Workspace | None:
    return await session.get(Workspace, workspace_id)


async def lock(session: AsyncSession, workspace_id: str) -> Workspace | None:
    """The workspace, held against other writers until the transaction ends."""
    return await session.scalar(select(Workspace).where(Workspace.id == workspace_id).with_for_update(key_share=True))


async def organization(session: AsyncSession, organization_id: str) -> Organization | None:
    return await session.get(Organization, organization_id)


async def by_name(session: AsyncSession, name: str) -> Workspace | None:
    return await session.scalar(select(Workspace).where(Workspace.name == name))


async def first_or_create(session: AsyncSession, name: str) -> Workspace:
    """The workspace of this name, else the oldest one; an empty database gets one of this name."""
    found = await by_name(session, name)
    return found or await session.scalar(select(Workspace).order_by(Workspace.id).limit(1)) or await create(session, name)


async def change(session: AsyncSession, workspace_id: str, values: dict[str, Any]) -> Workspace:
    changed = update(Workspace).where(Workspace.id == workspace_id).values(**values).returning(Workspace)
    return (await session.scalars(changed.execution_options(populate_existing=True))).one()


async def create(session: AsyncSession, name: str) -> Workspace:
    """A workspace in an organization of its own, with its event counter."""
    created = now()
    organization = Organization(id=ids.new_id(ids.ORGANIZATION), name=name, created_at=created)
    session.add(organization)
    await session.flush()
    workspace = Workspace(
        id=ids.new_id(ids.WORKSPACE), organization_id=organization.id, name=name, will_active=False, created_at=created
    )
    session.add(workspace)
    await session.flush()
    session.add(Counter(workspace_id=workspace.id, seq=0, oldest=1))
    await session.flush()
    return workspace
