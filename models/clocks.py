"""What a clock that jumped ahead and came back leaves behind: pauses and retries far in the future, which nobody meant."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import literal_column, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import now
from models.lanes import Lane
from models.queue import READY, Job

PAUSES = (Lane.paused_until, Lane.bulk_paused_until, Lane.open_until)


async def set_right(session: AsyncSession, longest: dt.timedelta) -> None:
    """Make due what waits longer than anything is ever told to. What a client scheduled has had no attempt, and stays."""
    limit = now() + longest
    stuck = (Job.state == literal_column("3"), Job.run_at > limit, Job.attempts > 0)
    due = update(Job).where(*stuck).values(state=READY, run_at=None)
    await session.execute(due.execution_options(synchronize_session=False))
    for pause in PAUSES:
        await session.execute(update(Lane).where(pause > limit).values({pause.key: None}))
