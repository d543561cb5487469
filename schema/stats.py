"""Messages counted over time."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from channels.base import ChannelType
from models.messages import Filter
from resolvers import stats as use_cases
from resolvers.stats import Stats, StatsBucket
from schema.batches import StatusCount
from schema.context import Info
from schema.messages import MessageFilter

Row = strawberry.Parent[Stats]


@strawberry.type(description="The messages of one channel that were accepted in one hour or day.")
class StatsBucketRow:
    start: dt.datetime = strawberry.field(description="When the hour or the day, in UTC, begins.")
    channel_type: ChannelType = strawberry.field(description="Their channel.")
    counts: list[StatusCount] = strawberry.field(description="Where they stand now; no zeros.")


@strawberry.type(description="Messages accepted in a span of time, by where they stand now.")
class MessageStats:
    totals: list[StatusCount] = strawberry.field(description="All of them by status, the earliest status first; no zeros.")
    buckets: list[StatsBucketRow] = strawberry.field(
        description="By time and channel, oldest first; what has no messages is left out."
    )

    @strawberry.field(
        description="Half of them were taken by their provider within this many milliseconds of being due. Like the other "
        "times, of the newest 10,000 that were sent; null when none was."
    )
    async def accept_p50_ms(root: Row) -> float | None:
        return (await root.latencies()).accept_p50

    @strawberry.field(description="Half of them reached their recipient within this many milliseconds of being taken.")
    async def deliver_p50_ms(root: Row) -> float | None:
        return (await root.latencies()).deliver_p50

    @strawberry.field(description="95 of 100 reached their recipient within this many milliseconds of being taken.")
    async def deliver_p95_ms(root: Row) -> float | None:
        return (await root.latencies()).deliver_p95


@strawberry.type
class StatsQueries:
    @strawberry.field(
        description="How many messages went where, and how fast, of the channels you may read; 400 days, 1,000 buckets at most."
    )
    async def message_stats(
        self,
        info: Info,
        filter: Annotated[MessageFilter | None, strawberry.argument(description="Which messages.")] = None,
        begin: Annotated[
            dt.datetime | None,
            strawberry.argument(name="from", description="Accepted at this time or later; left out, 7 days before `to`."),
        ] = None,
        end: Annotated[
            dt.datetime | None, strawberry.argument(name="to", description="Accepted before this time; left out, now.")
        ] = None,
        bucket: Annotated[StatsBucket | None, strawberry.argument(description="How finely to divide.")] = StatsBucket.DAY,
    ) -> MessageStats | None:
        where = filter.rows() if filter else Filter()
        found = await use_cases.get(info.context.call, where, begin, end, bucket or StatsBucket.DAY)
        return found  # type: ignore[return-value]
