"""Messages that have not left: their jobs, as those outside the worker may touch them.

Everything here begins with the job. Whoever claims it first has the message: a worker sends it, anyone else may change it or
take it back. A job that is claimed is out of reach.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.messages import MessageStatus
from models.queue import LEASED, READY, SCHEDULED, Job

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)
UNDER_WAY = (*WAITING, MessageStatus.PROCESSING)


async def hold(session: AsyncSession, workspace_id: str, message_id: str) -> bool:
    """Keep workers from claiming a message until the transaction ends; False when there is nothing to keep them from."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id, Job.state != LEASED)
    return await session.scalar(select(Job.message_id).where(*mine).with_for_update()) is not None


async def hasten(
    session: AsyncSession, workspace_id: str, message_id: str, priority: int, expires_at: dt.datetime | None
) -> None:
    """Give a message that is held another place among those that wait, and another end."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id)
    await session.execute(update(Job).where(*mine).values(priority=priority, expires_at=expires_at))


async def postpone(session: AsyncSession, workspace_id: str, message_id: str, run_at: dt.datetime | None) -> None:
    """Make a message that is held due at `run_at`; without it, at once."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id)
    state = READY if run_at is None else SCHEDULED
    await session.execute(update(Job).where(*mine).values(state=state, run_at=run_at))
