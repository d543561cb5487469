"""Customers' webhooks: who wants to hear of what, where, and how that has gone of late."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonList
from models.events import Counter
from models.paging import Window


class WebhookStatus(StrEnum):
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class WebhookSubscription(Base):
    """Events past `since_seq` are delivered. `signing_keys` holds the sealed keys, the newest first: `id`, `sealed`, and
    `until` when it ends (ISO 8601) or None. `failures` counts attempts that failed since the last that did not, `rests_until`
    is when a receiver that keeps failing is tried again, with one delivery."""

    __tablename__ = "webhook_subscription"
    __table_args__ = (Index("ix_webhook_subscription_list", "workspace_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"))
    service: Mapped[str] = mapped_column(String(20))
    event: Mapped[str] = mapped_column(String(60))
    event_filters: Mapped[JsonList]
    url: Mapped[str] = mapped_column(String(2000))
    naming: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    status_reason: Mapped[str | None] = mapped_column(String(500))
    signing_keys: Mapped[JsonList]
    since_seq: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[dt.datetime | None]
    rests_until: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]


class WebhookCursor(Base):
    """How far a workspace's log was turned into deliveries; there from its first subscription on."""

    __tablename__ = "webhook_cursor"

    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspace.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)


async def add(session: AsyncSession, workspace_id: str, subscription: WebhookSubscription) -> None:
    """Store a subscription, and have the workspace's log followed from here on if it was not."""
    session.add(subscription)
    await session.flush()
    dialect = session.get_bind().dialect.name
    begin = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(WebhookCursor)
    head = select(Counter.seq).where(Counter.workspace_id == workspace_id).scalar_subquery()
    await session.execute(begin.values(workspace_id=workspace_id, seq=head).on_conflict_do_nothing())


async def get(session: AsyncSession, workspace_id: str, subscription_id: str) -> WebhookSubscription | None:
    return await session.scalar(select(WebhookSubscription).where(*_mine(workspace_id, subscription_id)))


async def lock(session: AsyncSession, workspace_id: str, subscription_id: str) -> WebhookSubscription | None:
    """A subscription, held against other writers until the transaction ends."""
    found = select(WebhookSubscription).where(*_mine(workspace_id, subscription_id)).with_for_update()
    return await session.scalar(found.execution_options(populate_existing=True))


async def by_ids(session: AsyncSession, workspace_id: str, ids: Sequence[str]) -> Sequence[WebhookSubscription]:
    mine = (WebhookSubscription.workspace_id == workspace_id, WebhookSubscription.id.in_(ids))
    return (await session.scalars(select(WebhookSubscription).where(*mine))).all()


async def page(session: AsyncSession, workspace_id: str, window: Window) -> Sequence[WebhookSubscription]:
    """Newest first."""
    mine = select(WebhookSubscription).where(WebhookSubscription.workspace_id == workspace_id)
    found = window.apply(mine, (WebhookSubscription.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str) -> int:
    counted = select(func.count()).select_from(WebhookSubscription)
    return await session.scalar(counted.where(WebhookSubscription.workspace_id == workspace_id)) or 0


async def active(session: AsyncSession, workspace_id: str) -> Sequence[WebhookSubscription]:
    """Those that are told of what happens."""
    mine = (WebhookSubscription.workspace_id == workspace_id, WebhookSubscription.status == WebhookStatus.ACTIVE)
    return (await session.scalars(select(WebhookSubscription).where(*mine).order_by(WebhookSubscription.id))).all()


async def change(
    session: AsyncSession, workspace_id: str, subscription_id: str, values: dict[str, Any]
) -> WebhookSubscription | None:
    changed = update(WebhookSubscription).where(*_mine(workspace_id, subscription_id)).values(**values)
    found = await session.scalars(changed.returning(WebhookSubscription).execution_options(populate_existing=True))
    return found.one_or_none()


async def remove(session: AsyncSession, workspace_id: str, subscription_id: str) -> None:
    """What was still to be delivered is given up by a chore of the worker."""
    await session.execute(delete(WebhookSubscription).where(*_mine(workspace_id, subscription_id)))


async def recovered(session: AsyncSession, workspace_id: str, subscription_id: str) -> None:
    """A delivery arrived: forget failures and rests, if there were any."""
    troubled = or_(WebhookSubscription.failures > 0, WebhookSubscription.rests_until.is_not(None))
    well = {"failures": 0, "failing_since": None, "rests_until": None}
    await session.execute(update(WebhookSubscription).where(*_mine(workspace_id, subscription_id), troubled).values(**well))


async def failed(session: AsyncSession, workspace_id: str, subscription_id: str, at: dt.datetime) -> WebhookSubscription | None:
    """Count an attempt that failed; the subscription as it is now, held until the transaction ends."""
    since = func.coalesce(WebhookSubscription.failing_since, at)
    values = {"failures": WebhookSubscription.failures + 1, "failing_since": since}
    return await change(session, workspace_id, subscription_id, values)


async def rest(session: AsyncSession, workspace_id: str, subscription_id: str, until: dt.datetime) -> None:
    """Give a receiver no deliveries until then; a longer rest stays."""
    shorter = or_(WebhookSubscription.rests_until.is_(None), WebhookSubscription.rests_until < until)
    mine = (*_mine(workspace_id, subscription_id), shorter)
    await session.execute(update(WebhookSubscription).where(*mine).values(rests_until=until))


def _mine(workspace_id: str, subscription_id: str) -> tuple[Any, Any]:
    return WebhookSubscription.workspace_id == workspace_id, WebhookSubscription.id == subscription_id
