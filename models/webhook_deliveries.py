"""Deliveries: one event on its way to one subscription, each pair once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, String, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models import ids
from models.base import Base, JsonList, now
from models.events import WEBHOOK, Event, NewEvent, record
from models.paging import Window

TEST = "webhook.test"


class DeliveryStatus(StrEnum):
    """PENDING was not tried yet, RETRYING failed and will be tried again; the other two have ended."""

    PENDING = "PENDING"
    RETRYING = "RETRYING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


_OPEN = text("finished_at IS NULL")
_ENDED = text("finished_at IS NOT NULL")


class WebhookDelivery(Base):
    """Due at `due_at` unless `finished_at` is set or somebody's lease runs. `queued_at` is when it was made or last replayed,
    `tries` counts the failures since then, `fence` the claims; `attempts` is the log of the newest attempts."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("uq_webhook_delivery_event", "subscription_id", "event_id", unique=True),
        Index("ix_webhook_delivery_list", "workspace_id", "id"),
        Index("ix_webhook_delivery_subscription", "workspace_id", "subscription_id", "id"),
        Index("ix_webhook_delivery_due", "subscription_id", "due_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index(
            "ix_webhook_delivery_line",
            "subscription_id",
            "subject_id",
            "event_seq",
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_webhook_delivery_open", "queued_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_webhook_delivery_ended", "finished_at", sqlite_where=_ENDED, postgresql_where=_ENDED),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    subscription_id: Mapped[str] = mapped_column(String(40))
    event_id: Mapped[str] = mapped_column(String(40))
    event_seq: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[str] = mapped_column(String(60))
    subject_id: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20))
    status_reason: Mapped[str | None] = mapped_column(String(500))
    attempts: Mapped[JsonList]
    tries: Mapped[int]
    fence: Mapped[int]
    due_at: Mapped[dt.datetime]
    lease_until: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    queued_at: Mapped[dt.datetime]
    created_at: Mapped[dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which deliveries; an empty field does not restrict."""

    subscription_id: str | None = None
    statuses: Sequence[str] | None = None

    def clauses(self, workspace_id: str) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [WebhookDelivery.workspace_id == workspace_id]
        if self.subscription_id is not None:
            found.append(WebhookDelivery.subscription_id == self.subscription_id)
        if self.statuses is not None:
            found.append(WebhookDelivery.status.in_(self.statuses))
        return found


def changed(session: AsyncSession, delivery: WebhookDelivery, previous: str) -> None:
    """`webhook.delivered`, `webhook.retrying` or `webhook.dead`, in the log of events."""
    told = {name: getattr(delivery, name) for name in _TOLD}
    record(
        session,
        NewEvent(
            workspace_id=delivery.workspace_id,
            kind=WEBHOOK,
            type=f"webhook.{delivery.status.lower()}",
            subject_id=delivery.id,
            payload={**told, "previousStatus": previous},
        ),
    )


_TOLD = ("subscription_id", "event_id", "event_seq", "event_type", "status", "status_reason")


def remembered(event: Event) -> WebhookDelivery:
    """A delivery as an event of the log tells of it, for when it is not kept any more."""
    told = {name: event.payload[name] for name in _TOLD}
    rest = {"attempts": [], "due_at": event.occurred_at, "finished_at": event.occurred_at, "created_at": event.occurred_at}
    return WebhookDelivery(id=event.subject_id, workspace_id=event.workspace_id, **told, **rest)


def entry(subscription_id: str, event: Event, at: dt.datetime) -> dict[str, Any]:
    """A delivery of `event`, due at once, for `enqueue`."""
    return {
        "id": ids.new_id(ids.DELIVERY),
        "workspace_id": event.workspace_id,
        "subscription_id": subscription_id,
        "event_id": event.id,
        "event_seq": event.seq,
        "event_type": event.type,
        "subject_id": event.subject_id,
        "status": DeliveryStatus.PENDING,
        "attempts": [],
        "tries": 0,
        "fence": 0,
        "due_at": at,
        "queued_at": at,
        "created_at": at,
    }


async def enqueue(session: AsyncSession, workspace_id: str, entries: Sequence[dict[str, Any]]) -> None:
    """Store deliveries; an event the subscription has already is passed over."""
    if entries:
        await session.execute(_insert(session).on_conflict_do_nothing(), list(entries))


async def again(session: AsyncSession, workspace_id: str, entries: Sequence[dict[str, Any]]) -> None:
    """Store deliveries; one that is there already begins anew, whatever came of it."""
    if entries:
        anew = _insert(session).on_conflict_do_update(index_elements=["subscription_id", "event_id"], set_=_fresh())
        await session.execute(anew, list(entries))


async def again_one(session: AsyncSession, workspace_id: str, delivery_id: str) -> WebhookDelivery | None:
    """Begin one delivery anew, whatever came of it."""
    mine = (WebhookDelivery.workspace_id == workspace_id, WebhookDelivery.id == delivery_id)
    anew = update(WebhookDelivery).where(*mine).values(_fresh()).returning(WebhookDelivery)
    return (await session.scalars(anew.execution_options(populate_existing=True))).one_or_none()


def _fresh() -> dict[str, Any]:
    at = now()
    begun = {"status": DeliveryStatus.PENDING, "status_reason": None, "tries": 0, "finished_at": None}
    return {**begun, "due_at": at, "queued_at": at}


def _insert(session: AsyncSession) -> Any:
    dialect = session.get_bind().dialect.name
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(WebhookDelivery)


async def get(session: AsyncSession, workspace_id: str, delivery_id: str) -> WebhookDelivery | None:
    mine = (WebhookDelivery.workspace_id == workspace_id, WebhookDelivery.id == delivery_id)
    return await session.scalar(select(WebhookDelivery).where(*mine).execution_options(populate_existing=True))


async def by_ids(session: AsyncSession, workspace_id: str, delivery_ids: Sequence[str]) -> Sequence[WebhookDelivery]:
    mine = (WebhookDelivery.workspace_id == workspace_id, WebhookDelivery.id.in_(delivery_ids))
    return (await session.scalars(select(WebhookDelivery).where(*mine))).all()


async def page(session: AsyncSession, workspace_id: str, where: Filter, window: Window) -> Sequence[WebhookDelivery]:
    """Newest first."""
    found = window.apply(select(WebhookDelivery).where(*where.clauses(workspace_id)), (WebhookDelivery.id,), descending=True)
    return window.trim((await session.scalars(found)).all())


async def count(session: AsyncSession, workspace_id: str, where: Filter) -> int:
    counted = select(func.count()).select_from(WebhookDelivery).where(*where.clauses(workspace_id))
    return await session.scalar(counted) or 0
