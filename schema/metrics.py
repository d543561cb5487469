"""How busy connectors are."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from resolvers import metrics as use_cases
from resolvers.metrics import USUAL_MS, Reading
from schema.context import Info

Row = strawberry.Parent[Reading]


@strawberry.type(
    description="How busy a connector is, and how fast its messages go, in milliseconds. The times are of the newest 1,000 "
    "messages it sent in the last 15 minutes, of fewer where several connectors are asked for at once; null without any."
)
class ConnectorMetrics:
    at: dt.datetime = strawberry.field(description="When this was so.")

    @strawberry.field(description="The connector.")
    def connector_id(root: Row) -> strawberry.ID:
        return strawberry.ID(root.metrics.connector_id)

    @strawberry.field(
        description="Messages that wait for their turn, for their next try or for the time they are scheduled for."
    )
    def queued(root: Row) -> int:
        return root.metrics.queued

    @strawberry.field(description="Messages that are being handed to the provider.")
    def in_flight(root: Row) -> int:
        return root.metrics.in_flight

    @strawberry.field(description="Attempts of the last 60 seconds whose message the provider took.")
    def sent_last_minute(root: Row) -> int:
        return root.metrics.sent_last_minute

    @strawberry.field(description="Attempts of the last 60 seconds after which this connector gave a message up.")
    def failed_last_minute(root: Row) -> int:
        return root.metrics.failed_last_minute

    @strawberry.field(description="Half of its messages were taken by the provider within this time of being due.")
    def accept_p50_ms(root: Row) -> float | None:
        return root.metrics.accept_p50_ms

    @strawberry.field(description="95 of 100 of its messages were taken by the provider within this time of being due.")
    def accept_p95_ms(root: Row) -> float | None:
        return root.metrics.accept_p95_ms

    @strawberry.field(description="Half of its messages reached their recipient within this time of being taken.")
    def deliver_p50_ms(root: Row) -> float | None:
        return root.metrics.deliver_p50_ms

    @strawberry.field(description="95 of 100 of its messages reached their recipient within this time of being taken.")
    def deliver_p95_ms(root: Row) -> float | None:
        return root.metrics.deliver_p95_ms


@strawberry.type
class MetricsSubscriptions:
    @strawberry.subscription(
        description="A connector's metrics now, then whenever they changed, looked at every `intervalMs`; unchanged ones at "
        "every tenth look. Ends when the connector is deleted."
    )
    async def connector_metrics(
        self,
        info: Info,
        connector_id: Annotated[strawberry.ID, strawberry.argument(description="The connector.")],
        interval_ms: Annotated[
            int | None, strawberry.argument(description="Milliseconds between two looks: 100 to 60000.")
        ] = USUAL_MS,
    ) -> AsyncGenerator[ConnectorMetrics]:
        interval = USUAL_MS if interval_ms is None else interval_ms
        async with aclosing(use_cases.follow(info.context.call, connector_id, interval)) as found:
            async for reading in found:
                yield reading  # type: ignore[misc]
