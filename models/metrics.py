"""How busy connectors are, as the database knows it: the same whichever process asks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, Select, String, case, func, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import now
from models.connectors import CircuitState, Connector
from models.events import Counter
from models.lanes import Lane
from models.messages import Attempt, Message
from models.queue import Job
from models.stats import Times

LAST_MINUTE = dt.timedelta(minutes=1)
STATES = {"0": "ready", "1": "in_flight", "3": "scheduled"}  # as SQL spells a job's state; a parameter would miss the indexes


@dataclass(frozen=True, slots=True)
class Load:
    """`queued` is what waits, for its turn or its time. The other two are attempts that ended in the last minute: accepted by
    the provider, and failed for good."""

    queued: int = 0
    in_flight: int = 0
    sent: int = 0
    failed: int = 0


async def loads(session: AsyncSession, workspace_id: str, connector_ids: Sequence[str]) -> dict[str, Load]:
    """By connector; one that is not the workspace's is left out. Found by ix_job_ready, ix_job_leased, ix_job_scheduled_lane
    and ix_attempt_finished: 30 ms where 100,000 messages wait and 50,000 were sent in the last minute."""
    since = now() - LAST_MINUTE
    queued = _jobs("0") + _jobs("3")
    counted = select(Lane.id, queued, _jobs("1"), _ended("SENT", since), _ended("FAILED", since))
    mine = (Lane.workspace_id == workspace_id, Lane.id.in_(connector_ids))
    return {lane_id: Load(*numbers) for lane_id, *numbers in await session.execute(counted.where(*mine))}


def _jobs(state: str) -> ScalarSelect[int]:
    counted = select(func.count()).select_from(Job).where(Job.lane_id == Lane.id, Job.state == literal_column(state))
    return counted.correlate(Lane).scalar_subquery()


def _ended(outcome: str, since: dt.datetime) -> ScalarSelect[int]:
    mine = (Attempt.connector_id == Lane.id, Attempt.outcome == outcome, Attempt.finished_at > since)
    return select(func.count()).select_from(Attempt).where(*mine).correlate(Lane).scalar_subquery()


async def times(
    session: AsyncSession, workspace_id: str, connector_ids: Sequence[str], since: dt.datetime, limit: int
) -> dict[str, list[Times]]:
    """When messages were due, sent and delivered: of each connector the newest `limit` it sent since then."""
    found: dict[str, list[Times]] = {connector_id: [] for connector_id in connector_ids}
    if not connector_ids:
        return found
    newest = union_all(*(select(_newest(connector_id, since, limit).subquery()) for connector_id in connector_ids)).subquery()
    columns = (newest.c.connector_id, Message.created_at, Message.scheduled_at, Message.sent_at, Message.delivered_at)
    mine = (Message.workspace_id == workspace_id, Message.sent_at.is_not(None))
    timed = select(*columns).join(newest, Message.id == newest.c.message_id).where(*mine)
    for connector_id, created, planned, sent, arrived in await session.execute(timed):
        found[connector_id].append(Times(max(created, planned or created), sent, arrived))
    return found


def _newest(connector_id: str, since: dt.datetime, limit: int) -> Select[str, str]:
    mine = (Attempt.connector_id == connector_id, Attempt.outcome == "SENT", Attempt.finished_at > since)
    found = select(Attempt.connector_id, Attempt.message_id).where(*mine)
    return found.order_by(Attempt.finished_at.desc()).limit(limit)


@dataclass(frozen=True, slots=True)
class Jobs:
    """How many jobs of one urgency are in one state in the lane of one connector."""

    connector_id: str
    priority: int
    state: str
    count: int


async def jobs(session: AsyncSession) -> list[Jobs]:
    """Everything in the queue, of all workspaces."""
    counted = union_all(*(_by_lane(state, name) for state, name in STATES.items()))
    return [Jobs(*row) for row in await session.execute(counted)]


def _by_lane(state: str, name: str) -> Select[str, int, str, int]:
    named = literal_column(f"'{name}'", String)
    return (
        select(Job.lane_id, Job.priority, named, func.count())
        .where(Job.state == literal_column(state))
        .group_by(Job.lane_id, Job.priority)
    )


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a connector's circuit breaker is at."""

    connector_id: str
    channel_type: str
    provider: str
    state: str


async def circuits(session: AsyncSession, limit: int) -> list[Circuit]:
    """Of the connectors of all workspaces; those that are not closed first."""
    columns = (Connector.id, Connector.channel_type, Connector.provider, Connector.circuit)
    is_closed: ColumnElement[int] = case((Connector.circuit == CircuitState.CLOSED, 1), else_=0)
    found = select(*columns).where(Connector.deleted_at.is_(None)).order_by(is_closed, Connector.id).limit(limit)
    return [Circuit(*row) for row in await session.execute(found)]


async def connectors_by_circuit(session: AsyncSession) -> dict[str, int]:
    """How many connectors of all workspaces have their circuit in each state."""
    counted = select(Connector.circuit, func.count()).where(Connector.deleted_at.is_(None)).group_by(Connector.circuit)
    return {state: number for state, number in await session.execute(counted)}


async def heads(session: AsyncSession, workspace_ids: Sequence[str]) -> dict[str, int]:
    """The number of the newest event of each of these workspaces."""
    found = select(Counter.workspace_id, Counter.seq).where(Counter.workspace_id.in_(workspace_ids))
    return {workspace_id: seq for workspace_id, seq in await session.execute(found)}
