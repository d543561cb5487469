"""How busy a connector is and how fast its messages go, once or as it changes."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from delivery.metrics import seconds
from models import connectors
from models import metrics as rows
from models.base import now
from models.metrics import Load
from models.stats import Times
from resolvers.call import Call
from resolvers.connectors import READ, missing
from resolvers.problems import Problem, RequestErrorCode
from resolvers.stats import quantile

RECENT = dt.timedelta(minutes=15)
SAMPLE, LEAST_SAMPLE, MOST_IN_ALL = 1_000, 50, 5_000
FASTEST_MS, USUAL_MS, SLOWEST_MS = 100, 1_000, 60_000
LONGEST_SILENCE = 10  # intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """A connector's numbers. The times are milliseconds; None when there was nothing to measure."""

    connector_id: str
    queued: int
    in_flight: int
    sent_last_minute: int
    failed_last_minute: int
    accept_p50_ms: float | None
    accept_p95_ms: float | None
    deliver_p50_ms: float | None
    deliver_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Metrics as they were at one moment."""

    metrics: Metrics
    at: dt.datetime


async def read(call: Call, connector_ids: Sequence[str]) -> list[Reading]:
    """One for each id, in their order; a connector that is gone does nothing. Times are of the newest 1,000 messages sent in
    the last 15 minutes; where many connectors are asked for at once, of fewer."""
    at = now()
    limit = max(LEAST_SAMPLE, min(SAMPLE, MOST_IN_ALL // max(1, len(connector_ids))))
    async with call.read() as session:
        loads = await rows.loads(session, call.workspace_id, connector_ids)
        times = await rows.times(session, call.workspace_id, connector_ids, at - RECENT, limit)
    return [Reading(_metrics(key, loads.get(key, Load()), times[key]), at) for key in connector_ids]


def _metrics(connector_id: str, load: Load, times: Sequence[Times]) -> Metrics:
    accepts = [1000 * seconds(each.due_at, each.sent_at) for each in times]
    delivers = [1000 * seconds(each.sent_at, each.delivered_at) for each in times if each.delivered_at is not None]
    return Metrics(
        connector_id=connector_id,
        queued=load.queued,
        in_flight=load.in_flight,
        sent_last_minute=load.sent,
        failed_last_minute=load.failed,
        accept_p50_ms=quantile(accepts, 0.5),
        accept_p95_ms=quantile(accepts, 0.95),
        deliver_p50_ms=quantile(delivers, 0.5),
        deliver_p95_ms=quantile(delivers, 0.95),
    )


async def follow(call: Call, connector_id: str, interval_ms: int) -> AsyncGenerator[Reading]:
    """A connector's metrics now and whenever they changed, looked at every `interval_ms`; unchanged ones at every tenth look.

    Ends when the connector is deleted. Raises CONNECTOR_NOT_FOUND, and BAD_USER_INPUT for an interval out of range.
    """
    call.require(READ)
    if not FASTEST_MS <= interval_ms <= SLOWEST_MS:
        message = f"intervalMs must be from {FASTEST_MS} to {SLOWEST_MS}."
        raise Problem(RequestErrorCode.BAD_USER_INPUT, message, ["intervalMs"])
    shown = await _reading(call, connector_id)
    if shown is None:
        raise missing(["connectorId"])
    yield shown
    silence = 0
    while (current := await _next(call, connector_id, interval_ms)) is not None:
        silence += 1
        if current.metrics != shown.metrics or silence == LONGEST_SILENCE:
            shown, silence = current, 0
            yield shown


async def _next(call: Call, connector_id: str, interval_ms: int) -> Reading | None:
    """The next look; a database that is away is waited for."""
    while True:
        await asyncio.sleep(interval_ms / 1000)
        try:
            return await _reading(call, connector_id)
        except Problem as problem:
            if problem.code is not RequestErrorCode.UNAVAILABLE:
                raise


async def _reading(call: Call, connector_id: str) -> Reading | None:
    """None when the workspace has no such connector any more."""
    async with call.read() as session:
        connector = await connectors.get(session, call.workspace_id, connector_id)
    return (await read(call, [connector_id]))[0] if connector is not None else None
