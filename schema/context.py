"""What resolvers of one operation share: the call, and loaders that gather what a list needs into one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import strawberry
from strawberry.dataloader import DataLoader

from models import connectors, events, lanes, messages
from models.connectors import Connector
from models.events import Event
from models.lanes import Lane
from models.messages import Attempt, Message
from resolvers import metrics
from resolvers.call import Call
from resolvers.metrics import Reading


class Context:
    """Made anew for every operation and for every event of a subscription: a loader's memory must not outlive what it read."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.connectors: DataLoader[str, Connector | None] = DataLoader(load_fn=self._connectors)
        self.messages: DataLoader[str, Message | None] = DataLoader(load_fn=self._messages)
        self.attempts: DataLoader[str, Sequence[Attempt]] = DataLoader(load_fn=self._attempts)
        self.timelines: DataLoader[str, Sequence[Event]] = DataLoader(load_fn=self._timelines)
        self.lanes: DataLoader[str, Lane | None] = DataLoader(load_fn=self._lanes)
        self.metrics: DataLoader[str, Reading] = DataLoader(load_fn=self._metrics)

    async def _connectors(self, ids: list[str]) -> list[Connector | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await connectors.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]

    async def _messages(self, ids: list[str]) -> list[Message | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await messages.by_ids(session, self.call.workspace_id, ids)}
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

    async def _metrics(self, ids: list[str]) -> list[Reading]:
        return await metrics.read(self.call, ids)

    async def _lanes(self, ids: list[str]) -> list[Lane | None]:
        async with self.call.read() as session:
            found = {row.id: row for row in await lanes.by_ids(session, self.call.workspace_id, ids)}
        return [found.get(key) for key in ids]


Info = strawberry.Info[Context, None]
