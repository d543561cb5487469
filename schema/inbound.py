"""Messages to us, and receipts that found no message."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterable
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from channels.base import ChannelType
from models import events as event_rows
from models import inbound as rows
from models import receipts
from models.events import INBOUND
from models.messages import MessageStatus
from resolvers import inbound as use_cases
from resolvers.feeds import Feed
from resolvers.pages import PageArguments
from resolvers.watching import readable
from schema.base import Node
from schema.connectors import Connector
from schema.context import Info
from schema.events import Event, Ids, Since
from schema.messages import MediaRef
from schema.pages import After, Before, Connection, First, Last

Row = strawberry.Parent[rows.InboundMessage]
EventRow = strawberry.Parent[event_rows.Event]
ReceiptRow = strawberry.Parent[receipts.Receipt]


@strawberry.type(description="A message to you; or a contact who blocked or unblocked you, which has no body.")
class InboundMessage(Node):
    channel_type: ChannelType = strawberry.field(description="The medium it came through.")
    to: str | None = strawberry.field(description="The address or number it was written to, where the provider tells.")
    body: str | None = strawberry.field(description="Its text.")
    kind: str = strawberry.field(description="The provider's word for what it is, such as text, image or reaction.")
    external_id: str | None = strawberry.field(description="The provider's name for it.")
    payload: str | None = strawberry.field(description="What a pressed button, a deep link or a reaction carries.")
    keyword: str | None = strawberry.field(description="The keyword it was understood as, such as STOP.")
    occurred_at: dt.datetime = strawberry.field(description="When it was written, where the provider tells.")
    received_at: dt.datetime = strawberry.field(description="When it came here.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.InboundMessage))

    @strawberry.field(name="from", description="Who wrote it: an address one can answer to.")
    def sender(root: Row) -> str:
        return root.sender

    @strawberry.field(description="The connector it came through.")
    async def connector(root: Row, info: Info) -> Connector:
        return await info.context.connectors.load(root.connector_id)  # type: ignore[return-value]

    @strawberry.field(description="Its files.")
    def media(root: Row) -> list[MediaRef]:
        return [MediaRef(**item) for item in root.media]


@strawberry.input(description="Which messages to you; what is left out does not restrict.")
class InboundMessageFilter:
    channels: list[ChannelType] | None = strawberry.field(default=None, description="Of these channels.")
    connector_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Through these connectors.")
    query: str | None = strawberry.field(default=None, description="Sender, body or provider's id contains this.")

    def rows(self) -> rows.Filter:
        channels = [channel.value for channel in self.channels] if self.channels is not None else None
        return rows.Filter(channels=channels, connector_ids=self.connector_ids, query=self.query)


@strawberry.type(
    description="A receipt of a provider for a message that is not known; it is applied when the message becomes so."
)
class OrphanReceipt:
    id: strawberry.ID = strawberry.field(description="Opaque.")
    external_id: str = strawberry.field(description="What the provider calls the message.")
    status: MessageStatus = strawberry.field(description="What it says of it.")
    received_at: dt.datetime = strawberry.field(description="When it came.")

    @strawberry.field(description="The connector; null when it came for nobody in particular.")
    async def connector(root: ReceiptRow, info: Info) -> Connector | None:
        if root.connector_id == receipts.ANY:
            return None
        return await info.context.connectors.load(root.connector_id)  # type: ignore[return-value]

    @strawberry.field(graphql_type=JSON, description="What the provider told, without what it says of people.")
    def raw(root: ReceiptRow) -> dict[str, Any]:
        return root.raw


@strawberry.type(description="Somebody wrote to you.")
class InboundMessageReceived(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, event_rows.Event) and value.kind == INBOUND

    @strawberry.field(description="The message.")
    async def message(root: EventRow, info: Info) -> InboundMessage:
        return await info.context.inbound.load(root.subject_id)  # type: ignore[return-value]


@strawberry.type
class InboundQueries:
    @strawberry.field(description="What people wrote to you, newest first.")
    async def inbound_messages(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[InboundMessageFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> Connection[InboundMessage] | None:
        arguments = PageArguments(first=first, after=after, last=last, before=before)
        where = filter.rows() if filter else rows.Filter()
        return Connection(content=await use_cases.page(info.context.call, arguments, where))

    @strawberry.field(description="Receipts whose message is not known, newest first; needs the scope read:*.")
    async def orphan_receipts(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[OrphanReceipt] | None:
        arguments = PageArguments(first=first, after=after, last=last, before=before)
        return Connection(content=await use_cases.orphans(info.context.call, arguments))


@strawberry.type
class InboundSubscriptions:
    @strawberry.subscription(description="Messages to you, as they come.")
    def inbound_message_received(
        self,
        info: Info,
        connector_ids: Annotated[Ids, strawberry.argument(description="Only through these connectors.")] = None,
        channels: Annotated[list[ChannelType] | None, strawberry.argument(description="Only of these channels.")] = None,
        after: Since = None,
    ) -> AsyncIterable[InboundMessageReceived]:
        call = info.context.call
        where = use_cases.Arrivals(readable=readable(call, channels), connector_ids=connector_ids)
        return Feed(call, after, where)  # type: ignore[return-value]
