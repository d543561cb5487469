"""What a worker looks at before it claims: which lanes have work, and when the next scheduled job is due."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from models import lanes
from models.base import now, table_of
from models.lanes import Lane
from models.queue import BULK, IS_READY, IS_SCHEDULED, Job, is_on
from models.reader import Look, Reader

_job = table_of(Job).c


@dataclass(frozen=True, slots=True)
class BusyLane:
    """A connector with work, how urgent its most urgent message is, and for how many seconds it may send nothing."""

    id: str
    workspace_id: str
    top: int
    rests: float


async def busy_lanes(reader: Reader) -> list[BusyLane]:
    """Lanes with a ready job, the most urgent first."""
    found = await reader.look(_BUSY, clock=now())
    lanes = [(Lane(**dict(zip(_PACE, row, strict=False))), *row[len(_PACE) :]) for row in found]
    return [BusyLane(lane.id, lane.workspace_id, least, lane.rests(at, least == BULK)) for lane, least, at in lanes]


def _busy(is_shared: bool) -> Select[Any]:
    """Hops from lane to lane in the index rather than reading it all."""
    first = select(func.min(_job.lane_id).label("lane_id")).where(IS_READY).cte("busy", recursive=True)
    following = select(func.min(_job.lane_id)).where(IS_READY, _job.lane_id > first.c.lane_id).scalar_subquery()
    found = first.union_all(select(following).where(first.c.lane_id.is_not(None)))
    top = select(func.min(_job.priority)).where(IS_READY, _job.lane_id == found.c.lane_id).scalar_subquery()
    pace = [table_of(Lane).c[name] for name in _PACE]
    listed = select(*pace, top, lanes.clock(is_shared)).join(found, Lane.id == found.c.lane_id).where(is_on(Lane.id))
    return listed.order_by(top, func.random())


_PACE = tuple(column.key for column in table_of(Lane).c)
_BUSY = Look(_busy)


async def next_due(reader: Reader) -> dt.datetime | None:
    """When the next scheduled job becomes due."""
    found = await reader.look(_NEXT_DUE)
    return found[0][0] if found else None


_NEXT_DUE = Look(lambda _: select(_job.run_at).where(IS_SCHEDULED).order_by(_job.run_at).limit(1))
