"""The queue: one job per message that is still to be sent, in the lane of its connector.

A job is claimed with a lease and a fence; the claim stores the attempt, so it is durable before anything is on the wire. A
finished job is deleted: the truth is on the message. Scheduled jobs stay out of the ready index until they are due.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ForeignKey, Index, String, and_, delete, func, insert, literal_column, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, now
from models.connectors import Connector
from models.messages import Attempt

READY, LEASED, SCHEDULED = 0, 1, 3
OTP, HIGH, NORMAL, BULK = 0, 1, 2, 3
MAX_IN_FLIGHT = 100


class Job(Base):
    """`attempts` counts hand-overs, `tries` those that count against the retry policy, `fence` the claims."""

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "ix_job_ready",
            "lane_id",
            "priority",
            "message_id",
            sqlite_where=text("state = 0"),
            postgresql_where=text("state = 0"),
        ),
        Index("ix_job_leased", "lane_id", "lease_until", sqlite_where=text("state = 1"), postgresql_where=text("state = 1")),
        Index("ix_job_scheduled", "run_at", sqlite_where=text("state = 3"), postgresql_where=text("state = 3")),
        Index(
            "ix_job_expires",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL"),
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
    )

    message_id: Mapped[str] = mapped_column(ForeignKey("message.id"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    lane_id: Mapped[str] = mapped_column(String(40))
    priority: Mapped[int]
    state: Mapped[int]
    run_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[dt.datetime | None]
    worker: Mapped[str | None] = mapped_column(String(60))


class Lane(Base):
    """How fast a connector may send: a token bucket, a limit on what is in flight, and a pause the provider asked for."""

    __tablename__ = "lane"

    id: Mapped[str] = mapped_column(ForeignKey("connector.id"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    per_second: Mapped[float | None]
    burst: Mapped[int]
    tokens: Mapped[float]
    tokens_at: Mapped[dt.datetime]
    max_in_flight: Mapped[int]
    paused_until: Mapped[dt.datetime | None]

    def filled(self, at: dt.datetime) -> float:
        """The tokens in the bucket; a clock that steps back adds none."""
        if self.per_second is None:
            return math.inf
        elapsed = max(0.0, (at - self.tokens_at).total_seconds())
        return min(float(self.burst), self.tokens + elapsed * self.per_second)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job taken for one attempt."""

    message_id: str
    workspace_id: str
    connector_id: str
    attempt: int
    tries: int
    fence: int


_IS_READY = Job.state == literal_column("0")  # a bound parameter would not match the partial index
_IS_LEASED = Job.state == literal_column("1")
_IS_SCHEDULED = Job.state == literal_column("3")


async def open_lane(session: AsyncSession, workspace_id: str, connector_id: str, per_second: float | None) -> None:
    session.add(
        Lane(
            id=connector_id,
            workspace_id=workspace_id,
            tokens_at=now(),
            max_in_flight=MAX_IN_FLIGHT,
            tokens=_burst(per_second),
            per_second=per_second,
            burst=_burst(per_second),
        )
    )
    await session.flush()


async def throttle_lane(session: AsyncSession, workspace_id: str, connector_id: str, per_second: float | None) -> None:
    burst = _burst(per_second)
    mine = (Lane.workspace_id == workspace_id, Lane.id == connector_id)
    await session.execute(update(Lane).where(*mine).values(per_second=per_second, burst=burst, tokens=burst, tokens_at=now()))


async def pause_lane(session: AsyncSession, workspace_id: str, connector_id: str, until: dt.datetime) -> None:
    """Stop claiming for a connector until `until`; a longer pause already set stays."""
    shorter = or_(Lane.paused_until.is_(None), Lane.paused_until < until)
    mine = and_(Lane.workspace_id == workspace_id, Lane.id == connector_id, shorter)
    await session.execute(update(Lane).where(mine).values(paused_until=until))


async def lanes(session: AsyncSession, workspace_id: str, connector_ids: Sequence[str]) -> Sequence[Lane]:
    mine = (Lane.workspace_id == workspace_id, Lane.id.in_(connector_ids))
    return (await session.scalars(select(Lane).where(*mine))).all()


async def enqueue(
    session: AsyncSession,
    workspace_id: str,
    message_id: str,
    lane_id: str,
    priority: int,
    *,
    run_at: dt.datetime | None = None,
    expires_at: dt.datetime | None = None,
) -> None:
    """`run_at` is when the job becomes due; without it, it is due now. Past `expires_at` it is not sent any more."""
    await session.execute(
        insert(Job).values(
            message_id=message_id,
            workspace_id=workspace_id,
            lane_id=lane_id,
            priority=priority,
            state=READY if run_at is None else SCHEDULED,
            run_at=run_at,
            expires_at=expires_at,
            attempts=0,
            tries=0,
            fence=0,
        )
    )


async def busy_lanes(session: AsyncSession) -> Sequence[str]:
    """Lanes with a ready job, most urgent job first, by hopping from lane to lane in the index rather than reading it all."""
    first = select(func.min(Job.lane_id).label("lane_id")).where(_IS_READY).cte("lanes", recursive=True)
    following = select(func.min(Job.lane_id)).where(_IS_READY, Job.lane_id > first.c.lane_id).scalar_subquery()
    found = first.union_all(select(following).where(first.c.lane_id.is_not(None)))
    top = select(func.min(Job.priority)).where(_IS_READY, Job.lane_id == found.c.lane_id).scalar_subquery()
    ordered = select(found.c.lane_id).where(found.c.lane_id.is_not(None)).order_by(top, func.random())
    return (await session.scalars(ordered)).all()


async def claim(session: AsyncSession, lane_id: str, worker: str, limit: int, lease: dt.timedelta) -> list[Claim]:
    """Take up to `limit` jobs of a lane, as many as its bucket, its pause and its room in flight allow, and store an attempt
    for each. A lane another worker is claiming from is left alone."""
    at = now()
    unpaused = or_(Lane.paused_until.is_(None), Lane.paused_until <= at)
    usable = select(Connector.id).where(Connector.id == lane_id, Connector.enabled, Connector.deleted_at.is_(None)).exists()
    found = select(Lane).where(Lane.id == lane_id, unpaused, usable).with_for_update(skip_locked=True)
    lane = await session.scalar(found)
    if lane is None:
        return []
    in_flight = await session.scalar(select(func.count()).select_from(Job).where(_IS_LEASED, Job.lane_id == lane_id)) or 0
    tokens = lane.filled(at)
    room = int(min(limit, lane.max_in_flight - in_flight, tokens))
    if room <= 0:
        return []
    claims = await _take(session, lane_id, worker, room, at + lease)
    if claims and lane.per_second is not None:
        lane.tokens, lane.tokens_at = tokens - len(claims), at
        await session.flush()
    return claims


async def _take(session: AsyncSession, lane_id: str, worker: str, room: int, until: dt.datetime) -> list[Claim]:
    next_up = (
        select(Job.message_id)
        .where(_IS_READY, Job.lane_id == lane_id)
        .order_by(Job.priority, Job.message_id)
        .limit(room)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(Job)
        .where(Job.message_id.in_(next_up.scalar_subquery()), _IS_READY)
        .values(state=LEASED, attempts=Job.attempts + 1, fence=Job.fence + 1, lease_until=until, worker=worker, run_at=None)
        .returning(Job.message_id, Job.workspace_id, Job.lane_id, Job.attempts, Job.tries, Job.fence)
        .execution_options(synchronize_session=False)
    )
    claims = sorted((Claim(*row) for row in await session.execute(taken)), key=lambda claim: claim.message_id)
    if claims:
        await session.execute(insert(Attempt), [_attempt(claim) for claim in claims])
    return claims


def _attempt(claim: Claim) -> dict[str, Any]:
    return {
        "message_id": claim.message_id,
        "number": claim.attempt,
        "workspace_id": claim.workspace_id,
        "connector_id": claim.connector_id,
        "started_at": now(),
    }


async def finish(session: AsyncSession, claim: Claim) -> bool:
    """The message needs no further attempt. False when the lease was lost meanwhile: its new holder decides."""
    mine = (Job.message_id == claim.message_id, Job.fence == claim.fence, _IS_LEASED)
    gone = await session.scalar(delete(Job).where(*mine).returning(Job.message_id))
    return gone is not None


async def put_back(session: AsyncSession, claim: Claim, run_at: dt.datetime | None, counts: bool) -> bool:
    """Have the message tried again at `run_at`, or at once. `counts` says whether the try is held against the message."""
    mine = (Job.message_id == claim.message_id, Job.fence == claim.fence, _IS_LEASED)
    values = {
        "state": READY if run_at is None else SCHEDULED,
        "run_at": run_at,
        "lease_until": None,
        "worker": None,
        "tries": Job.tries + (1 if counts else 0),
    }
    done = await session.scalar(update(Job).where(*mine).values(values).returning(Job.message_id))
    return done is not None


async def promote(session: AsyncSession, limit: int = 500) -> list[tuple[str, str]]:
    """Make scheduled jobs that are due ready: (workspace, message) of each."""
    due = select(Job.message_id).where(_IS_SCHEDULED, Job.run_at <= now()).order_by(Job.run_at).limit(limit)
    ready = (
        update(Job)
        .where(Job.message_id.in_(due.with_for_update(skip_locked=True).scalar_subquery()), _IS_SCHEDULED)
        .values(state=READY, run_at=None)
        .returning(Job.workspace_id, Job.message_id)
        .execution_options(synchronize_session=False)
    )
    return [(workspace_id, message_id) for workspace_id, message_id in await session.execute(ready)]


async def next_due(session: AsyncSession) -> dt.datetime | None:
    """When the next scheduled job becomes due."""
    return await session.scalar(select(Job.run_at).where(_IS_SCHEDULED).order_by(Job.run_at).limit(1))


async def overdue(session: AsyncSession, limit: int = 500) -> list[tuple[str, str]]:
    """Take out the jobs that wait and must not be sent any more: (workspace, message) of each."""
    late = and_(Job.expires_at.is_not(None), Job.expires_at <= now(), Job.state != LEASED)
    found = select(Job.message_id).where(late).order_by(Job.expires_at).limit(limit).with_for_update(skip_locked=True)
    gone = (
        delete(Job)
        .where(Job.message_id.in_(found.scalar_subquery()), late)
        .returning(Job.workspace_id, Job.message_id)
        .execution_options(synchronize_session=False)
    )
    return [(workspace_id, message_id) for workspace_id, message_id in await session.execute(gone)]


async def lost(session: AsyncSession, before: dt.datetime | None, worker: str, limit: int = 500) -> list[Claim]:
    """Claims whose lease ended before `before`; without it, all that are not `worker`'s own (nobody else can be alive)."""
    gone = Job.worker != worker if before is None else Job.lease_until < before
    found = (
        select(Job.message_id, Job.workspace_id, Job.lane_id, Job.attempts, Job.tries, Job.fence)
        .where(_IS_LEASED, gone)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Claim(*row) for row in await session.execute(found)]


async def remove(session: AsyncSession, workspace_id: str, message_ids: Sequence[str]) -> list[str]:
    """Take jobs that nobody has claimed out of the queue; whose they were."""
    mine = (Job.workspace_id == workspace_id, Job.message_id.in_(message_ids), Job.state != LEASED)
    return list((await session.scalars(delete(Job).where(*mine).returning(Job.message_id))).all())


async def move_lane(session: AsyncSession, workspace_id: str, message_id: str, lane_id: str) -> bool:
    """Give a job that nobody has claimed to another connector."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id, Job.state != LEASED)
    moved = await session.scalar(update(Job).where(*mine).values(lane_id=lane_id).returning(Job.message_id))
    return moved is not None


async def stranded(session: AsyncSession, limit: int = 500) -> list[tuple[str, str]]:
    """Jobs that wait for a connector that is gone: (workspace, message) of each."""
    waiting = select(Job.workspace_id, Job.message_id).join(Connector, Connector.id == Job.lane_id)
    found = waiting.where(Connector.deleted_at.is_not(None), Job.state != LEASED).limit(limit)
    return [(workspace_id, message_id) for workspace_id, message_id in await session.execute(found)]


async def depth(session: AsyncSession, workspace_id: str, lane_id: str) -> tuple[int, int]:
    """How many messages of a connector wait, and how many are in flight."""
    mine = (Job.workspace_id == workspace_id, Job.lane_id == lane_id)
    counted = select(Job.state == LEASED, func.count()).where(*mine).group_by(Job.state == LEASED)
    found = {bool(leased): number for leased, number in await session.execute(counted)}
    return found.get(False, 0), found.get(True, 0)


def _burst(per_second: float | None) -> int:
    return max(1, math.ceil(per_second or 1))
