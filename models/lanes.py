"""Lanes: how fast each connector may send."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Sequence
from functools import cache

from sqlalchemy import ColumnElement, ForeignKey, String, bindparam, func, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Instant, now

MAX_IN_FLIGHT = 500
BURSTS_A_SECOND = 20
CLOCK_JITTER = 1.0


class Lane(Base):
    """How fast a connector may send: a token bucket, a limit on what is in flight, pauses the provider asked for (BULK rests
    longer), and the end of the time its circuit is open."""

    __tablename__ = "lane"

    id: Mapped[str] = mapped_column(ForeignKey("connector.id"), primary_key=True)
    workspace_id: Mapped[str] = mapped_column(String(40))
    per_second: Mapped[float | None]
    burst: Mapped[int]
    tokens: Mapped[float]
    tokens_at: Mapped[dt.datetime]
    max_in_flight: Mapped[int]
    paused_until: Mapped[dt.datetime | None]
    bulk_paused_until: Mapped[dt.datetime | None]
    open_until: Mapped[dt.datetime | None]

    @property
    def refill(self) -> float:
        """Tokens a second. A full bucket and what flows into it within a second make `per_second`, so no second has more."""
        return math.inf if self.per_second is None else max(self.per_second * 0.9, self.per_second - self.burst + 1)

    def filled(self, at: dt.datetime) -> float:
        """The tokens in the bucket. A clock that was set back begins anew with one."""
        if self.per_second is None:
            return math.inf
        elapsed = (at - self.tokens_at).total_seconds()
        if elapsed < -CLOCK_JITTER:
            return 1.0
        return min(float(self.burst), self.tokens + max(0.0, elapsed) * self.refill)

    def rests(self, at: dt.datetime, only_bulk: bool) -> float:
        """Seconds until it may send something again; 0 when it may now."""
        pauses = [self.paused_until, self.open_until, self.bulk_paused_until if only_bulk else None]
        paused = max((pause - at).total_seconds() for pause in [at, *pauses] if pause is not None)
        return max(paused, max(0.0, 1 - self.filled(at)) / self.refill)


async def open(session: AsyncSession, workspace_id: str, connector_id: str, per_second: float | None) -> None:
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


async def lock(session: AsyncSession, connector_ids: Collection[str]) -> None:
    """Hold lanes until the transaction ends. Who changes a connector and its lane begins with the lane, as claims do, which
    hold it when they half open a circuit: otherwise each could wait for the other."""
    held = select(Lane.id).where(Lane.id.in_(connector_ids)).order_by(Lane.id).with_for_update()
    await session.execute(held)


async def throttle(session: AsyncSession, workspace_id: str, connector_id: str, per_second: float | None) -> None:
    burst = _burst(per_second)
    mine = (Lane.workspace_id == workspace_id, Lane.id == connector_id)
    await session.execute(update(Lane).where(*mine).values(per_second=per_second, burst=burst, tokens=burst, tokens_at=now()))


async def pause(session: AsyncSession, lane_id: str, until: dt.datetime, bulk_until: dt.datetime) -> None:
    """Stop claiming for a connector; a longer pause already set stays."""
    for column, value in ((Lane.paused_until, until), (Lane.bulk_paused_until, bulk_until)):
        shorter = or_(column.is_(None), column < value)
        await session.execute(update(Lane).where(Lane.id == lane_id, shorter).values({column.key: value}))


async def open_circuit(session: AsyncSession, lane_id: str, until: dt.datetime | None) -> None:
    """Give a connector no traffic until `until`, then one message to try it with; None closes the circuit."""
    await session.execute(update(Lane).where(Lane.id == lane_id).values(open_until=until))


async def by_ids(session: AsyncSession, workspace_id: str, connector_ids: Sequence[str]) -> Sequence[Lane]:
    mine = (Lane.workspace_id == workspace_id, Lane.id.in_(connector_ids))
    return (await session.scalars(select(Lane).where(*mine))).all()


@cache
def clock(is_shared: bool) -> ColumnElement[dt.datetime]:
    """The one clock buckets are measured by, however many machines there are; for one machine it is given as `clock`."""
    return type_coerce(func.clock_timestamp(), Instant()) if is_shared else bindparam("clock", type_=Instant())


def is_shared(session: AsyncSession) -> bool:
    """Whether several machines may use the database."""
    return session.get_bind().dialect.name == "postgresql"


def _burst(per_second: float | None) -> int:
    return max(1, math.floor((per_second or 1) / BURSTS_A_SECOND))
