"""What claiming and finishing a batch costs as the queue and the tables grow, the statements alone."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence

from bench.installation import Engine, Installation, installation, texts, twilio
from bench.sinks import sink
from bench.table import Row
from models import messages, queue, underway
from models.base import now
from models.database import Database
from models.queue import Claim

BATCH = 80
ROUNDS = 12
LEASE = dt.timedelta(seconds=90)


async def measure(engines: list[Engine], sizes: Sequence[int]) -> AsyncIterator[Row]:
    for engine in engines:
        with sink() as provider:
            async with installation(engine) as ours:
                (connector_id,) = await ours.plug(twilio(provider))
                stored, first = 0, 0.0
                for size in sizes:
                    await ours.accept(texts(size - stored, [connector_id]))
                    spent = await _rounds(ours, connector_id, min(ROUNDS, (size - stored) // BATCH))
                    stored = size
                    first = first or spent
                    measured = f"claim and finish {BATCH}, {engine.name}"
                    yield Row(measured, f"{size:,} messages", 1000 * spent, "ms", spent / first, f"{sizes[0]:,}", "≤ 1.5")


async def _rounds(ours: Installation, lane_id: str, rounds: int) -> float:
    """Seconds of the quickest round: the first ones still compile, and any may meet what else runs on the machine."""
    database = Database(ours.settings.database_url)
    try:
        return min([await _round(database, lane_id) for _ in range(rounds)])
    finally:
        await database.close()


async def _round(database: Database, lane_id: str) -> float:
    started = time.perf_counter()
    async with database.write() as session:
        claims = await queue.claim(session, lane_id, "bench", BATCH, 0, LEASE)
        await underway.begin(session, [claim.message_id for claim in claims])
    async with database.write() as session:
        held = await queue.held(session, claims)
        await messages.statuses(session, list(held))
        await queue.finish(session, list(held))
        await messages.write_attempts(session, [_attempt(claim) for claim in claims])
        await messages.write_all(session, [{"id": claim.message_id, "status": "SENT", "sent_at": now()} for claim in claims])
    if len(held) != BATCH:
        raise RuntimeError(f"{len(held)} claimed of {BATCH}")
    return time.perf_counter() - started


def _attempt(claim: Claim) -> dict[str, object]:
    return {"message_id": claim.message_id, "number": claim.attempt, "finished_at": now(), "outcome": "SENT"}
