"""Events: the log as a list, and live."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterable
from typing import Annotated

import strawberry

from channels.base import ChannelType
from models import events as rows
from models.connectors import Stage, StatusView
from models.events import CHANNEL, MESSAGE
from models.messages import MessageStatus
from models.timeline import TimelineSource
from resolvers import connectors, watching
from resolvers import events as use_cases
from resolvers.feeds import Feed
from resolvers.messages import MessageFlow
from resolvers.pages import PageArguments
from schema.connectors import Connector, ConnectorStatus
from schema.context import Info
from schema.messages import Message
from schema.pages import After, First, Slice

Row = strawberry.Parent[rows.Event]
Since = Annotated[
    str | None,
    strawberry.argument(
        description="A cursor: everything since, in order, without gap or double, then live. Without it, from now."
    ),
]


@strawberry.interface(description="Something that happened. The same id and cursor wherever it is shown.")
class Event:
    id: strawberry.ID = strawberry.field(description="Opaque.")
    type: str = strawberry.field(description="A dotted name, such as `email.sent`.")
    occurred_at: dt.datetime = strawberry.field(description="When it happened.")

    @strawberry.field(description="Its place in the workspace's log.")
    def cursor(root: Row, info: Info) -> str:
        return use_cases.cursor_of(info.context.call, root.seq, root.workspace_id)


@strawberry.type(description="A connector's channel came up, went down or changed.")
class ChannelStatusChanged(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, rows.Event) and value.kind == CHANNEL

    @strawberry.field(description="The connector.")
    async def connector(root: Row, info: Info) -> Connector:
        return await info.context.connectors.load(root.subject_id)  # type: ignore[return-value]

    @strawberry.field(description="Its channel.")
    def channel_id(root: Row) -> strawberry.ID | None:
        return strawberry.ID(root.payload["status"]["channel_id"])

    @strawberry.field(description="The address or number messages come from, where it is known.")
    async def identifier(root: Row, info: Info) -> str | None:
        found = await info.context.connectors.load(root.subject_id)
        return found.identifier if found else None

    @strawberry.field(description="Its status as it was then.")
    def status(root: Row) -> ConnectorStatus:
        return StatusView.load(root.payload["status"])  # type: ignore[return-value]

    @strawberry.field(description="The stage before.")
    def previous_stage(root: Row) -> Stage | None:
        return root.payload["previousStage"]  # type: ignore[no-any-return]

    @strawberry.field(description="Why: created, provisioning, verify, test, delivery, settings, configuration or deleted.")
    def cause(root: Row) -> str | None:
        return root.payload["cause"]  # type: ignore[no-any-return]


@strawberry.type(description="A message moved.")
class DeliveryUpdated(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, rows.Event) and value.kind == MESSAGE

    @strawberry.field(description="The message as it is now.")
    async def message(root: Row, info: Info) -> Message:
        return await info.context.messages.load(root.subject_id)  # type: ignore[return-value]

    @strawberry.field(description="Its status after this event.")
    def status(root: Row) -> MessageStatus:
        return root.payload["status"]  # type: ignore[no-any-return]

    @strawberry.field(description="Its status before.")
    def previous_status(root: Row) -> MessageStatus | None:
        return root.payload["previousStatus"]  # type: ignore[no-any-return]

    @strawberry.field(description="Who moved it.")
    def source(root: Row) -> TimelineSource:
        return root.payload["source"]  # type: ignore[no-any-return]

    @strawberry.field(description="More in a sentence.")
    def detail(root: Row) -> str | None:
        return root.payload["detail"]  # type: ignore[no-any-return]


@strawberry.type(description="A page of the log, oldest first; its `endCursor` is where to subscribe from.")
class EventConnection(Slice[Event]):
    pass


@strawberry.input(description="Which events; what is left out does not restrict.")
class EventFilter:
    types: list[str] | None = strawberry.field(
        default=None, description="Dotted names, a trailing * allowed: `email.sent`, `sms.*`, `message.failed`, `channel.*`."
    )
    subject_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="About these messages or connectors.")


def _where(info: Info, filter: EventFilter | None) -> rows.Filter:
    return use_cases.visible(info.context.call, filter.types if filter else None, filter.subject_ids if filter else None)


Filtered = Annotated[EventFilter | None, strawberry.argument(description="Which ones.")]


@strawberry.type
class EventQueries:
    @strawberry.field(description="What happened in the workspace, oldest first. `after` takes any event's cursor.")
    async def events(
        self, info: Info, first: First = None, after: After = None, filter: Filtered = None
    ) -> EventConnection | None:
        arguments = PageArguments(first=first, after=after)
        return EventConnection(content=await use_cases.page(info.context.call, arguments, _where(info, filter)))


Ids = list[strawberry.ID] | None


@strawberry.type
class EventSubscriptions:
    @strawberry.subscription(
        description="Channels coming up, going down and changing. Named connectors begin with their state."
    )
    def channel_status_changed(
        self,
        info: Info,
        connector_ids: Annotated[Ids, strawberry.argument(description="Only these connectors.")] = None,
        channels: Annotated[list[ChannelType] | None, strawberry.argument(description="Only these channels.")] = None,
        after: Since = None,
    ) -> AsyncIterable[ChannelStatusChanged]:
        call = info.context.call
        call.require(connectors.READ)
        where = watching.Channels(connector_ids=connector_ids, channels=channels)
        return Feed(call, after, where, connector_ids)  # type: ignore[return-value]

    @strawberry.subscription(description="Messages moving. Named messages begin with their state.")
    def delivery_updated(
        self,
        info: Info,
        message_ids: Annotated[Ids, strawberry.argument(description="Only these messages.")] = None,
        connector_ids: Annotated[Ids, strawberry.argument(description="Only through these connectors.")] = None,
        batch_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this batch.")] = None,
        channels: Annotated[list[ChannelType] | None, strawberry.argument(description="Only of these channels.")] = None,
        flow: Annotated[MessageFlow | None, strawberry.argument(description="Only this kind of traffic.")] = None,
        statuses: Annotated[list[MessageStatus] | None, strawberry.argument(description="Only moving here.")] = None,
        after: Since = None,
    ) -> AsyncIterable[DeliveryUpdated]:
        call = info.context.call
        where = watching.Deliveries(
            readable=watching.readable(call, channels),
            message_ids=message_ids,
            connector_ids=connector_ids,
            batch_id=batch_id,
            flow=flow.value if flow else None,
            statuses=statuses,
        )
        return Feed(call, after, where, message_ids)  # type: ignore[return-value]

    @strawberry.subscription(description="Everything that happens in the workspace, or what the filter lets through.")
    def events(self, info: Info, filter: Filtered = None, after: Since = None) -> AsyncIterable[Event]:
        call = info.context.call
        where = _where(info, filter)
        first = filter.subject_ids if filter else None
        return Feed(call, after, where, first)  # type: ignore[return-value]
