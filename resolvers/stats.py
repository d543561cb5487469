"""How many messages went where, and how fast."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby

from models import stats as rows
from models.base import now
from models.batches import Count, counted
from models.messages import Filter
from models.stats import Cell, Span, Times
from resolvers import watching
from resolvers.call import Call
from resolvers.problems import Problem, RequestErrorCode

USUAL = dt.timedelta(days=7)
LONGEST = dt.timedelta(days=400)
MOST_BUCKETS = 1_000
SAMPLE = 10_000


class StatsBucket(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"


WIDTHS = {StatsBucket.HOUR: 3_600, StatsBucket.DAY: 86_400}
NAMES = {StatsBucket.HOUR: "an hour", StatsBucket.DAY: "a day"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """The messages of one channel that were accepted from `start` on, until the next bucket starts."""

    start: dt.datetime
    channel_type: str
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Milliseconds; None when there was nothing to measure."""

    accept_p50: float | None
    deliver_p50: float | None
    deliver_p95: float | None


class Stats:
    """Counts of a span of time. Latencies are read only when somebody asks."""

    def __init__(self, call: Call, where: Filter, span: Span, cells: Sequence[Cell]) -> None:
        self.totals = _totals(cells)
        self.buckets = [
            Bucket(start, channel, _totals(list(found)))
            for (start, channel), found in groupby(_sorted(cells), key=lambda cell: (cell.start, cell.channel_type))
        ]
        self._call, self._where, self._span = call, where, span
        self._latencies: asyncio.Future[Latencies] | None = None

    async def latencies(self) -> Latencies:
        """Of the newest messages of the span that were sent; read once however many fields ask."""
        if self._latencies is None:
            self._latencies = asyncio.ensure_future(self._read())
        return await self._latencies

    async def _read(self) -> Latencies:
        async with self._call.read() as session:
            found = await rows.times(session, self._call.workspace_id, self._where, self._span, SAMPLE)
        accepts, delivers = _milliseconds(found)
        return Latencies(
            accept_p50=quantile(accepts, 0.5), deliver_p50=quantile(delivers, 0.5), deliver_p95=quantile(delivers, 0.95)
        )


async def get(call: Call, where: Filter, begin: dt.datetime | None, end: dt.datetime | None, bucket: StatsBucket) -> Stats:
    """Of the channels the viewer may read. Raises BAD_USER_INPUT for a span that is too long or ends before it begins."""
    where = replace(where, channels=watching.readable(call, where.channels))
    span = _span(begin, end, bucket)
    async with call.read() as session:
        cells = await rows.cells(session, call.workspace_id, where, span, WIDTHS[bucket])
    return Stats(call, where, span, cells)


def _span(begin: dt.datetime | None, end: dt.datetime | None, bucket: StatsBucket) -> Span:
    end = end or now()
    begin = begin or end - USUAL
    if begin >= end:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, "from must lie before to.", ["from"])
    longest = min(LONGEST, dt.timedelta(seconds=WIDTHS[bucket] * MOST_BUCKETS))
    if end - begin > longest:
        message = f"Buckets of {NAMES[bucket]} span at most {_days(longest)} days from from to to."
        raise Problem(RequestErrorCode.BAD_USER_INPUT, message, ["from"])
    return Span(begin, end)


def _days(span: dt.timedelta) -> str:
    return f"{span / dt.timedelta(days=1):.4g}"


def _sorted(cells: Iterable[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: (cell.start, cell.channel_type))


def _totals(cells: Iterable[Cell]) -> tuple[Count, ...]:
    found: dict[str, int] = {}
    for cell in cells:
        found[cell.status] = found.get(cell.status, 0) + cell.count
    return counted(found)


def _milliseconds(found: Sequence[Times]) -> tuple[list[float], list[float]]:
    """From due to sent, and from sent to delivered. A receipt's clock is the provider's: it may be a little early."""
    accepts = [_ms(times.sent_at - times.due_at) for times in found]
    return accepts, [_ms(times.delivered_at - times.sent_at) for times in found if times.delivered_at is not None]


def _ms(span: dt.timedelta) -> float:
    return max(0.0, span / dt.timedelta(milliseconds=1))


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return round(ordered[max(0, -int(-share * len(ordered) // 1) - 1)], 3) if ordered else None
