"""The queue: one job per message that is still to be sent, in the lane of its connector.

A job is claimed with a lease and a fence; the claim stores the attempt, so it is durable before anything is on the wire. A
finished job is deleted: the truth is on the message. Scheduled jobs stay out of the ready index until they are due.

A SUSPECT has been lost with its process so often that once more would be the last time. A worker takes one of these at a time:
when it dies again, the others that died with it before are not among the dead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Select,
    String,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from models import lanes, many, messages, workers
from models.base import Base, now, table_of
from models.connectors import Connector
from models.lanes import Lane

READY, LEASED, SCHEDULED = 0, 1, 3
SUSPECT, OTP, HIGH, NORMAL, BULK = -1, 0, 1, 2, 3


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
            "ix_job_scheduled_lane",
            "lane_id",
            "priority",
            sqlite_where=text("state = 3"),
            postgresql_where=text("state = 3"),
        ),
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
    is_pinned: Mapped[bool]
    attempts: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[dt.datetime | None]
    worker: Mapped[str | None] = mapped_column(String(60))


def urgency(flow: str, priority: str) -> int:
    """A message's place among others: one-time passwords before everything."""
    return OTP if flow == "OTP" and priority != "BULK" else {"HIGH": HIGH, "NORMAL": NORMAL, "BULK": BULK}[priority]


@dataclass(frozen=True, slots=True)
class Claim:
    """A job taken for one attempt."""

    message_id: str
    workspace_id: str
    connector_id: str
    attempt: int
    tries: int
    fence: int


_TABLE = table_of(Job)
_job = _TABLE.c
IS_READY = _job.state == literal_column("0")  # a bound parameter would not match the partial index
_IS_LEASED = _job.state == literal_column("1")
IS_SCHEDULED = _job.state == literal_column("3")


async def enqueue(
    session: AsyncSession,
    workspace_id: str,
    message_id: str,
    lane_id: str,
    priority: int,
    *,
    run_at: dt.datetime | None = None,
    expires_at: dt.datetime | None = None,
    is_pinned: bool = False,
    attempts: int = 0,
) -> None:
    """`run_at` is when the job becomes due; without it, it is due now. Past `expires_at` it is not sent any more.

    `attempts` is how many the message has had, so that their numbers go on.
    """
    job = entry(
        workspace_id,
        message_id,
        lane_id,
        priority,
        run_at=run_at,
        expires_at=expires_at,
        is_pinned=is_pinned,
        attempts=attempts,
    )
    await enqueue_all(session, [job])


def entry(
    workspace_id: str,
    message_id: str,
    lane_id: str,
    priority: int,
    *,
    run_at: dt.datetime | None,
    expires_at: dt.datetime | None,
    is_pinned: bool,
    attempts: int = 0,
) -> dict[str, Any]:
    """A job for `enqueue_all`. The fence goes on with the attempts: it must not meet the claim of an earlier job."""
    return {
        "message_id": message_id,
        "workspace_id": workspace_id,
        "lane_id": lane_id,
        "priority": priority,
        "state": READY if run_at is None else SCHEDULED,
        "run_at": run_at,
        "expires_at": expires_at,
        "is_pinned": is_pinned,
        "attempts": attempts,
        "tries": 0,
        "fence": attempts,
    }


def is_urgent(entry: Mapping[str, Any]) -> bool:
    """Whether it is a one-time password's that is due now."""
    return bool(entry["priority"] == OTP and entry["state"] == READY)


async def enqueue_all(session: AsyncSession, entries: Sequence[Mapping[str, Any]]) -> None:
    """Many jobs in one statement."""
    await many.insert_all(await session.connection(), _TABLE, entries)


def is_on(lane_id: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    may = (Connector.enabled, Connector.held_since.is_(None), Connector.deleted_at.is_(None))
    return select(Connector.id).where(Connector.id == lane_id, *may).exists()


async def claim(
    session: AsyncSession,
    lane_id: str,
    worker: str,
    limit: int,
    urgent_limit: int,
    lease: dt.timedelta,
    suspect: bool = False,
) -> list[Claim]:
    """Take jobs of a lane and store an attempt for each: up to `urgent_limit` of the most urgent kind, up to `limit` in all,
    and one `suspect`, unless the worker has one.

    No more than its bucket, its pauses, its circuit and its room in flight allow; a fifth of that room is kept for urgent
    messages. A lane another worker is claiming from is left alone.
    """
    locked = (await session.execute(_lane(lanes.is_shared(session)), {"clock": now(), "lane_id": lane_id})).first()
    if locked is None or locked[0].rests(locked[1], only_bulk=False) > 0:
        return []
    (lane, at, in_flight), until = locked, now() + lease
    room, common = _room(lane, in_flight, limit, urgent_limit, at)
    bulk_rests = lane.bulk_paused_until is not None and lane.bulk_paused_until > at
    claims = await _take(session, lane_id, worker, room, (OTP, OTP), until) if room and urgent_limit else []
    if suspect and len(claims) < room and not await _has_suspect(session, worker):
        claims += await _take(session, lane_id, worker, 1, (SUSPECT, SUSPECT), until)
    common = min(common, room - len(claims))
    if common > 0:
        claims += await _take(session, lane_id, worker, common, (HIGH, NORMAL if bulk_rests else BULK), until)
    if claims and lane.per_second is not None:
        lane.tokens, lane.tokens_at = lane.filled(at) - len(claims), at
        await session.flush()
    return claims


def _room(lane: Lane, in_flight: int, limit: int, urgent_limit: int, at: dt.datetime) -> tuple[int, int]:
    """How many jobs may be taken, and how many of them may be other than urgent."""
    if lane.open_until is not None:
        probe = 1 if lane.open_until <= at and in_flight == 0 else 0
        return probe, min(probe, limit)
    tokens = lane.filled(at)
    room = min(max(limit, urgent_limit), lane.max_in_flight - in_flight, tokens)
    common = min(limit, lane.max_in_flight * 4 // 5 - in_flight, tokens)
    return max(0, int(room)), max(0, int(common))


@cache
def _lane(is_shared: bool) -> Select[Any]:
    """A lane that may send, the time, and how many of its jobs are in flight."""
    in_flight = select(func.count()).where(_IS_LEASED, _job.lane_id == Lane.id).correlate(Lane).scalar_subquery()
    found = select(Lane, lanes.clock(is_shared), in_flight).where(Lane.id == bindparam("lane_id"), is_on(Lane.id))
    return found.with_for_update(skip_locked=True, of=Lane)


async def _has_suspect(session: AsyncSession, worker: str) -> bool:
    mine = select(_job.message_id).where(_IS_LEASED, _job.priority == SUSPECT, _job.worker == worker)
    return await session.scalar(mine.limit(1)) is not None


async def _take(
    session: AsyncSession, lane_id: str, worker: str, room: int, priorities: tuple[int, int], until: dt.datetime
) -> list[Claim]:
    first, last = priorities
    given = {"lane": lane_id, "first": first, "last": last, "room": room, "until": until, "by": worker}
    claims = sorted((Claim(*row) for row in await session.execute(_TAKE, given)), key=lambda claim: claim.message_id)
    if claims:
        await messages.begin_attempts(session, [_attempt(claim) for claim in claims])
    return claims


def _once(found: Select[str]) -> Select[str]:
    """What was found and locked, in a form PostgreSQL evaluates once. A plain subquery may run again for each row: it passes
    over what the statement has changed already, and so finds more than its limit."""
    return select(found.cte().c.message_id)


def _attempt(claim: Claim) -> dict[str, Any]:
    return {
        "message_id": claim.message_id,
        "number": claim.attempt,
        "workspace_id": claim.workspace_id,
        "connector_id": claim.connector_id,
        "started_at": now(),
    }


# What runs for every handful of messages is built once.
_next_up = (
    select(_job.message_id)
    .where(IS_READY, _job.lane_id == bindparam("lane"), _job.priority.between(bindparam("first"), bindparam("last")))
    .order_by(_job.priority, _job.message_id)
    .limit(bindparam("room"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(_TABLE)
    .where(_job.message_id.in_(_once(_next_up)), IS_READY)
    .values(
        state=LEASED, attempts=_job.attempts + 1, fence=_job.fence + 1, lease_until=bindparam("until"), worker=bindparam("by")
    )
    .returning(_job.message_id, _job.workspace_id, _job.lane_id, _job.attempts, _job.tries, _job.fence)
)
_MINE = _job.message_id.in_(bindparam("ids", expanding=True))
_HELD = select(_job.message_id, _job.fence).where(_MINE, _IS_LEASED).order_by(_job.message_id).with_for_update()
_FINISH = delete(_TABLE).where(_MINE)


async def held(session: AsyncSession, claims: Sequence[Claim]) -> set[str]:
    """The messages of those claims that still hold their lease, kept against others until the transaction ends."""
    fences = {claim.message_id: claim.fence for claim in claims}
    found = await session.execute(_HELD, {"ids": many.padded(list(fences))})
    return {message_id for message_id, fence in found if fence == fences[message_id]}


async def finish(session: AsyncSession, message_ids: Sequence[str]) -> None:
    """These messages, which the caller holds, need no further attempt."""
    if message_ids:
        await session.execute(_FINISH, {"ids": many.padded(message_ids)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A job the caller holds goes back: due at `run_at` or at once, with so many `tries`, in the same lane or another. One
    that is not suspected now stays what it was."""

    message_id: str
    lane_id: str
    run_at: dt.datetime | None
    tries: int
    is_suspect: bool = False


async def put_back(session: AsyncSession, jobs: Sequence[Again]) -> None:
    rows = [
        {
            "message_id": job.message_id,
            "state": READY if job.run_at is None else SCHEDULED,
            "run_at": job.run_at,
            "tries": job.tries,
            "lane_id": job.lane_id,
            "lease_until": None,
            "worker": None,
            **({"priority": SUSPECT} if job.is_suspect else {}),
        }
        for job in jobs
    ]
    await many.update_all(await session.connection(), _TABLE, ("message_id",), rows)


async def promote(session: AsyncSession, limit: int = 500) -> list[tuple[str, str]]:
    """Make scheduled jobs that are due ready: (workspace, message) of each."""
    due = select(Job.message_id).where(IS_SCHEDULED, Job.run_at <= now()).order_by(Job.run_at).limit(limit)
    ready = (
        update(Job)
        .where(Job.message_id.in_(_once(due.with_for_update(skip_locked=True))), IS_SCHEDULED)
        .values(state=READY, run_at=None)
        .returning(Job.workspace_id, Job.message_id)
        .execution_options(synchronize_session=False)
    )
    return [(workspace_id, message_id) for workspace_id, message_id in await session.execute(ready)]


async def overdue(session: AsyncSession, limit: int = 500) -> list[tuple[str, str]]:
    """Take out the jobs that wait and must not be sent any more: (workspace, message) of each."""
    late = and_(Job.expires_at.is_not(None), Job.expires_at <= now(), Job.state != LEASED)
    found = select(Job.message_id).where(late).order_by(Job.expires_at).limit(limit).with_for_update(skip_locked=True)
    gone = (
        delete(Job)
        .where(Job.message_id.in_(_once(found)), late)
        .returning(Job.workspace_id, Job.message_id)
        .execution_options(synchronize_session=False)
    )
    return [(workspace_id, message_id) for workspace_id, message_id in await session.execute(gone)]


async def lost(
    session: AsyncSession, before: dt.datetime | None, worker: str, besides: Collection[str] = (), limit: int = 500
) -> list[Claim]:
    """Claims whose lease ended before `before` or whose worker's heart has stopped; without it, all that are not `worker`'s
    own, for nobody else can be alive. Those of the messages `besides` are passed over."""
    gone = Job.worker != worker if before is None else or_(Job.lease_until < before, Job.worker.not_in(workers.alive()))
    found = (
        select(Job.message_id, Job.workspace_id, Job.lane_id, Job.attempts, Job.tries, Job.fence)
        .where(_IS_LEASED, gone, Job.message_id.not_in(besides))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Claim(*row) for row in await session.execute(found)]
