"""What workers do with customers' webhooks, of all workspaces: follow the logs, claim what is due, give up, forget.

A claim is a lease: a delivery whose worker died is due again when the lease ends, and the receiver knows it by its id. Of the
deliveries about one object only the oldest that has not ended may be claimed, so each subscription hears of it in order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from models.base import Instant, now
from models.events import Counter, Event
from models.reader import Look, Reader
from models.webhook_deliveries import DeliveryStatus, WebhookDelivery
from models.webhooks import WebhookCursor, WebhookStatus, WebhookSubscription

LOGS_AT_ONCE = 100
_IS_OPEN = WebhookDelivery.finished_at.is_(None)


async def lagging(reader: Reader) -> list[str]:
    """Workspaces whose log has gone on: some of them."""
    return [workspace_id for (workspace_id,) in await reader.look(_LAGGING)]


def _lagging(_: bool) -> Select[Any]:
    behind = select(WebhookCursor.workspace_id).join(Counter, Counter.workspace_id == WebhookCursor.workspace_id)
    return behind.where(Counter.seq > WebhookCursor.seq).limit(LOGS_AT_ONCE)


_LAGGING = Look(_lagging)


async def take_up(session: AsyncSession, workspace_id: str) -> int | None:
    """How far a workspace's log was followed, held until the transaction ends; None while another process follows it."""
    held = select(WebhookCursor.seq).where(WebhookCursor.workspace_id == workspace_id)
    return await session.scalar(held.with_for_update(skip_locked=True))


async def advance(session: AsyncSession, workspace_id: str, seq: int) -> None:
    await session.execute(update(WebhookCursor).where(WebhookCursor.workspace_id == workspace_id).values(seq=seq))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A subscription with something due. `rested_until` is set where its receiver kept failing: it gets one delivery."""

    id: str
    rested_until: dt.datetime | None


async def waiting(reader: Reader, limit: int) -> list[Waiting]:
    """Active subscriptions that do not rest and have something due, in any order."""
    return [Waiting(*row) for row in await reader.look(_WAITING, at=now(), limit=limit)]


def _waiting(_: bool) -> Select[Any]:
    at = bindparam("at", type_=Instant())
    due = select(WebhookDelivery.id).where(WebhookDelivery.subscription_id == WebhookSubscription.id, *_due(at)).exists()
    rested = or_(WebhookSubscription.rests_until.is_(None), WebhookSubscription.rests_until <= at)
    columns: list[Any] = [WebhookSubscription.id, WebhookSubscription.rests_until]
    found = select(*columns).where(WebhookSubscription.status == WebhookStatus.ACTIVE, rested, due)
    return found.order_by(func.random()).limit(bindparam("limit", type_=Integer()))


def _due(at: ColumnElement[dt.datetime] | dt.datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until <= at)
    return _IS_OPEN, WebhookDelivery.due_at <= at, free


_WAITING = Look(_waiting)


async def claim(session: AsyncSession, lane: Waiting, limit: int, lease: dt.timedelta) -> Sequence[WebhookDelivery]:
    """Take deliveries of one subscription; of one whose receiver kept failing a single one, and only for one worker."""
    at = now()
    if lane.rested_until is not None:
        seen = (WebhookSubscription.id == lane.id, WebhookSubscription.rests_until == lane.rested_until)
        probe = update(WebhookSubscription).where(*seen).values(rests_until=at + lease).returning(WebhookSubscription.id)
        if await session.scalar(probe) is None:
            return []
        limit = 1
    older = aliased(WebhookDelivery)
    before = and_(
        older.subscription_id == WebhookDelivery.subscription_id,
        older.subject_id == WebhookDelivery.subject_id,
        older.event_seq < WebhookDelivery.event_seq,
        older.finished_at.is_(None),
    )
    next_up = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.subscription_id == lane.id, *_due(at), ~select(older.id).where(before).exists())
        .order_by(WebhookDelivery.due_at, WebhookDelivery.event_seq)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    taken = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(select(next_up.c.id)), *_due(at))
        .values(lease_until=at + lease, fence=WebhookDelivery.fence + 1)
        .returning(WebhookDelivery)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return (await session.scalars(taken)).all()


async def subscriptions(session: AsyncSession, ids: Sequence[str]) -> dict[str, WebhookSubscription]:
    found = await session.scalars(select(WebhookSubscription).where(WebhookSubscription.id.in_(ids)))
    return {subscription.id: subscription for subscription in found}


async def events(session: AsyncSession, ids: Sequence[str]) -> dict[str, Event]:
    """Those that are still kept."""
    found = await session.scalars(select(Event).where(Event.id.in_(ids)))
    return {event.id: event for event in found}


async def settle(session: AsyncSession, delivery: WebhookDelivery, values: dict[str, Any]) -> WebhookDelivery | None:
    """Write down what came of a claim; None when the lease was lost meanwhile."""
    mine = (WebhookDelivery.id == delivery.id, WebhookDelivery.fence == delivery.fence)
    settled = update(WebhookDelivery).where(*mine).values(**values, lease_until=None).returning(WebhookDelivery)
    return (await session.scalars(settled.execution_options(populate_existing=True))).one_or_none()


async def postpone_line(session: AsyncSession, delivery: WebhookDelivery, until: dt.datetime) -> None:
    """What waits behind a delivery that is tried again later is not looked at before."""
    behind = (
        WebhookDelivery.subscription_id == delivery.subscription_id,
        WebhookDelivery.subject_id == delivery.subject_id,
        WebhookDelivery.event_seq > delivery.event_seq,
        WebhookDelivery.due_at < until,
        _IS_OPEN,
    )
    later = update(WebhookDelivery).where(*behind).values(due_at=until)
    await session.execute(later.execution_options(synchronize_session=False))


async def give_up(session: AsyncSession, before: dt.datetime, limit: int) -> list[WebhookDelivery]:
    """End what waits since before `before`, or whose subscription is gone, and is in nobody's hands."""
    at = now()
    known = select(WebhookSubscription.id).where(WebhookSubscription.id == WebhookDelivery.subscription_id).exists()
    free = or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until <= at)
    ended: list[WebhookDelivery] = []
    reasons = (
        (~known, "The subscription was deleted."),
        (WebhookDelivery.queued_at < before, "It could not be delivered in time."),
    )
    for hopeless, reason in reasons:
        found = select(WebhookDelivery.id).where(_IS_OPEN, free, hopeless).limit(limit).with_for_update(skip_locked=True).cte()
        dead = (
            update(WebhookDelivery)
            .where(WebhookDelivery.id.in_(select(found.c.id)), _IS_OPEN)
            .values(status=DeliveryStatus.DEAD, status_reason=reason, finished_at=at)
            .returning(WebhookDelivery)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        ended += (await session.scalars(dead)).all()
    return ended


async def forget(session: AsyncSession, before: dt.datetime, limit: int) -> int:
    """Delete deliveries that ended before then; how many."""
    old = select(WebhookDelivery.id).where(WebhookDelivery.finished_at < before).limit(limit).cte()
    gone = delete(WebhookDelivery).where(WebhookDelivery.id.in_(select(old.c.id)))
    return len((await session.scalars(gone.returning(WebhookDelivery.id))).all())


async def open_by_status(session: AsyncSession) -> dict[str, int]:
    """How many deliveries have not ended."""
    counted = select(WebhookDelivery.status, func.count()).where(_IS_OPEN).group_by(WebhookDelivery.status)
    return {status: number for status, number in await session.execute(counted)}
