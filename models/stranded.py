"""Messages that wait for a connector which cannot take them now: switched off, dead, broken or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, literal_column, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import table_of
from models.connectors import CircuitState, ComponentStatus, Connector
from models.queue import READY, SUSPECT, Job


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a message stands among those that wait in a lane."""

    priority: int
    message_id: str


START = Place(SUSPECT, "")
_WAITS = or_(Job.state == literal_column("0"), Job.state == literal_column("3"))  # in the words of the partial indexes


async def waiting(session: AsyncSession, lane_id: str, after: Place, limit: int, pinned: bool) -> list[Place]:
    """The next messages that wait in a lane, held until the transaction ends; with `pinned`, also those that name it."""
    behind = tuple_(Job.priority, Job.message_id) > (after.priority, after.message_id)
    mine = [Job.lane_id == lane_id, _WAITS, behind]
    if not pinned:
        mine.append(Job.is_pinned.is_(False))
    found = select(Job.priority, Job.message_id).where(*mine).order_by(Job.priority, Job.message_id).limit(limit)
    return [Place(*row) for row in await session.execute(found.with_for_update(skip_locked=True))]


async def hand_on(session: AsyncSession, moves: Sequence[tuple[str, str]], hurried: Sequence[str]) -> None:
    """Move jobs the caller holds to other lanes: (message, lane) of each. The `hurried` ones are due at once."""
    if not moves:
        return
    table = table_of(Job)
    moved = update(table).where(table.c.message_id == bindparam("k_message_id")).values(lane_id=bindparam("v_lane"), tries=0)
    rows = [{"k_message_id": message_id, "v_lane": lane_id} for message_id, lane_id in moves]
    await (await session.connection()).execute(moved, rows)
    due = update(Job).where(Job.message_id.in_(hurried), Job.state == literal_column("3")).values(state=READY, run_at=None)
    await session.execute(due.execution_options(synchronize_session=False))


async def waiting_lanes(session: AsyncSession) -> list[tuple[str, str]]:
    """(workspace, connector) of lanes where messages wait for a connector that cannot take them now."""
    broken = or_(
        Connector.deleted_at.is_not(None),
        Connector.enabled.is_(False),
        Connector.component_status == ComponentStatus.ERROR,
        Connector.held_since.is_not(None),
        Connector.circuit == CircuitState.OPEN,
    )
    has_jobs = select(Job.message_id).where(Job.lane_id == Connector.id, _WAITS).exists()
    found = select(Connector.workspace_id, Connector.id).where(broken, has_jobs)
    return [(workspace_id, connector_id) for workspace_id, connector_id in await session.execute(found)]
