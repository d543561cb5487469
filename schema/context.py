"""What resolvers of one operation share: the call, and loaders that gather what a list needs into one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import strawberry
from strawberry.dataloader import DataLoader

from models import connectors, events, inbound, lanes, messages, optouts, webhook_deliveries, webhooks
from models.connectors import Connector
from models.events import Event
from models.inbound import InboundMessage
from models.lanes import Lane
from models.messages import Attempt, Message
from models.optouts import OptOut
from models.reader import Columns
from models.senders import SenderId
from models.webhook_deliveries import WebhookDelivery
from models.webhooks import WebhookSubscription
from resolvers import metrics, senders
from resolvers.call import Call
from resolvers.metrics import Reading
from schema.documents import Operation


class Context:
    """Made anew for every operation and for every event of a subscription: a loader's memory must not outlive what it read.
    Most operations need no loader or one, so each is made when it is first asked for.
    """

    def __init__(self, call: Call, operation: Operation | None = None) -> None:
        self.call = call
        self._operation = operation

    def columns(self, name: str) -> Columns:
        """What has to be read of the rows that are shown as this type."""
        return None if self._operation is None else self._operation.reads.of(name)

    @cached_property
    def connectors(self) -> DataLoader[str, Connector | None]:
        return DataLoader(load_fn=self._connectors)

    @cached_property
    def messages(self) -> DataLoader[str, Message | None]:
        return DataLoader(load_fn=self._messages)

    @cached_property
    def inbound(self) -> DataLoader[str, InboundMessage | None]:
        return DataLoader(load_fn=self._inbound)

    @cached_property
    def attempts(self) -> DataLoader[str, Sequence[Attempt]]:
        return DataLoader(load_fn=self._attempts)

    @cached_property
    def timelines(self) -> DataLoader[str, Sequence[Event]]:
        return DataLoader(load_fn=self._timelines)

    @cached_property
    def lanes(self) -> DataLoader[str, Lane | None]:
        return DataLoader(load_fn=self._lanes)

    @cached_property
    def senders(self) -> DataLoader[str, SenderId | None]:
        return DataLoader(load_fn=self._senders)

    @cached_property
    def opt_outs(self) -> DataLoader[str, OptOut | None]:
        return DataLoader(load_fn=self._opt_outs)

    @cached_property
    def hints(self) -> DataLoader[SenderId, list[str]]:
        return DataLoader(load_fn=self._hints)

    @cached_property
    def metrics(self) -> DataLoader[str, Reading]:
        return DataLoader(load_fn=self._metrics)

    @cached_property
    def webhooks(self) -> DataLoader[str, WebhookSubscription | None]:
        return DataLoader(load_fn=self._webhooks)

    @cached_property
    def deliveries(self) -> DataLoader[str, WebhookDelivery | None]:
        return DataLoader(load_fn=self._deliveries)

    async def _connectors(self, ids: list[str]) -> list[Connector | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await connectors.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _messages(self, ids: list[str]) -> list[Message | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await messages.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _inbound(self, ids: list[str]) -> list[InboundMessage | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await inbound.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _attempts(self, ids: list[str]) -> list[Sequence[Attempt]]:
        grouped: dict[str, list[Attempt]] = defaultdict(list)
        async with self.call.read() as session:
            for attempt in await messages.attempts_of(session, self.call.workspace_id, ids):
                grouped[attempt.message_id].append(attempt)
        return [grouped[key] for key in ids]

    async def _timelines(self, ids: list[str]) -> list[Sequence[Event]]:
        grouped: dict[str, list[Event]] = defaultdict(list)
        async with self.call.read() as session:
            for event in await events.of_subjects(session, self.call.workspace_id, ids):
                grouped[event.subject_id].append(event)
        return [grouped[key] for key in ids]

    async def _senders(self, ids: list[str]) -> list[SenderId | None]:
        return await senders.by_ids(self.call, ids)

    async def _opt_outs(self, ids: list[str]) -> list[OptOut | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await optouts.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _hints(self, rows: list[SenderId]) -> list[list[str]]:
        return await senders.hints(self.call, rows)

    async def _metrics(self, ids: list[str]) -> list[Reading]:
        return await metrics.read(self.call, ids)

    async def _lanes(self, ids: list[str]) -> list[Lane | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await lanes.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _webhooks(self, ids: list[str]) -> list[WebhookSubscription | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await webhooks.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _deliveries(self, ids: list[str]) -> list[WebhookDelivery | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await webhook_deliveries.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]


Info = strawberry.Info[Context, None]
