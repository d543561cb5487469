"""Messages that have not left: their jobs, as those outside the worker may touch them.

Everything here begins with the job. Whoever claims it first has the message: a worker sends it, anyone else may change it or
take it back. A job that is claimed is out of reach.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.messages import MessageStatus
from models.queue import LEASED, READY, SCHEDULED, SUSPECT, Job

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)
UNDER_WAY = (*WAITING, MessageStatus.PROCESSING)


async def hold(session: AsyncSession, workspace_id: str, message_id: str) -> bool:
    """Keep workers from claiming a message until the transaction ends; False when there is nothing to keep them from."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id, Job.state != LEASED)
    return await session.scalar(select(Job.message_id).where(*mine).with_for_update()) is not None


async def hasten(
    session: AsyncSession, workspace_id: str, message_id: str, priority: int, expires_at: dt.datetime | None
) -> None:
    """Give a message that is held another place among those that wait, unless it is a suspect, and another end."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id)
    place = case((Job.priority == SUSPECT, SUSPECT), else_=priority)
    await session.execute(update(Job).where(*mine).values(priority=place, expires_at=expires_at))


async def postpone(session: AsyncSession, workspace_id: str, message_id: str, run_at: dt.datetime | None) -> None:
    """Make a message that is held due at `run_at`; without it, at once."""
    mine = (Job.workspace_id == workspace_id, Job.message_id == message_id)
    state = READY if run_at is None else SCHEDULED
    await session.execute(update(Job).where(*mine).values(state=state, run_at=run_at))


async def drop(session: AsyncSession, message_ids: Sequence[str]) -> None:
    """Take messages of any workspace that need not be sent any more out of the queue, unless a worker has them."""
    gone = delete(Job).where(Job.message_id.in_(message_ids), Job.state != LEASED)
    await session.execute(gone.execution_options(synchronize_session=False))


async def remove(session: AsyncSession, workspace_id: str, message_ids: Sequence[str]) -> list[str]:
    """Take jobs that nobody has claimed out of the queue; whose they were."""
    mine = (Job.workspace_id == workspace_id, Job.message_id.in_(message_ids), Job.state != LEASED)
    return list((await session.scalars(delete(Job).where(*mine).returning(Job.message_id))).all())
