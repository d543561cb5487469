"""Keys that programs come with. Of a key's text only the beginning and a hash are kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ForeignKey, Index, String, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, table_of
from models.paging import Window
from models.reader import Query, Reader

HINT = "keys"
USE_PRECISION = dt.timedelta(minutes=1)


class ApiKey(Base):
    """`scopes` are separated by spaces; `prefix` is the beginning of the text, and finds the key."""

    __tablename__ = "api_key"
    __table_args__ = (Index("uq_api_key_prefix", "prefix", unique=True), Index("ix_api_key_workspace", "workspace_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(20))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(4000))
    created_by: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime]


async def page(session: AsyncSession, workspace_id: str, window: Window) -> Sequence[ApiKey]:
    """Newest first."""
    found = window.apply(select(ApiKey).where(ApiKey.workspace_id == workspace_id), (ApiKey.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str) -> int:
    return await session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.workspace_id == workspace_id)) or 0


async def get(session: AsyncSession, workspace_id: str, key_id: str) -> ApiKey | None:
    return await session.scalar(select(ApiKey).where(ApiKey.workspace_id == workspace_id, ApiKey.id == key_id))


async def revoke(session: AsyncSession, workspace_id: str, key_id: str, at: dt.datetime) -> ApiKey | None:
    """The key, if this ended it; None when it had been revoked before or is not there."""
    mine = (ApiKey.workspace_id == workspace_id, ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    return await session.scalar(update(ApiKey).where(*mine).values(revoked_at=at).returning(ApiKey))


async def by_prefix(reader: Reader, prefix: str) -> ApiKey | None:
    """The key that begins like this, in whichever workspace."""
    return await reader.first(_BY_PREFIX, prefix=prefix)


_BY_PREFIX = Query(ApiKey, lambda found: found.where(table_of(ApiKey).c.prefix == bindparam("prefix")))


async def revoked(session: AsyncSession, key_ids: Collection[str]) -> set[str]:
    """Which of these keys, of any workspaces, must not be used any more."""
    ended = select(ApiKey.id).where(ApiKey.id.in_(key_ids), ApiKey.revoked_at.is_not(None))
    return set((await session.scalars(ended)).all())


async def note_use(session: AsyncSession, uses: Mapping[str, dt.datetime]) -> None:
    """Write when keys of any workspaces were used last, unless another process has just done so."""
    for key_id in sorted(uses):  # in one order, so that two processes cannot deadlock
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= uses[key_id] - USE_PRECISION)
        await session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=uses[key_id]))
