"""Lanes: how fast each connector may send."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

from sqlalchemy import ForeignKey, String, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, now

MAX_IN_FLIGHT = 100


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

    def filled(self, at: dt.datetime) -> float:
        """The tokens in the bucket; a clock that steps back adds none."""
        if self.per_second is None:
            return math.inf
        elapsed = max(0.0, (at - self.tokens_at).total_seconds())
        return min(float(self.burst), self.tokens + elapsed * self.per_second)


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


def _burst(per_second: float | None) -> int:
    return max(1, math.ceil(per_second or 1))
