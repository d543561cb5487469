"""Messages as the world sees them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from channels.base import ChannelType
from channels.errors import FailureKind
from channels.sms_text import TextEncoding
from delivery import status
from delivery.route import RouteOutcome
from models import messages as rows
from models.messages import MessageStatus
from models.timeline import TimelineSource
from resolvers import events as event_cases
from resolvers import messages as use_cases
from resolvers.messages import MessageFlow, MessagePriority
from resolvers.pages import PageArguments
from schema.base import Node
from schema.connectors import Connector
from schema.context import Info
from schema.pages import After, Before, Connection, First, Last
from schema.senders import SenderId

Row = strawberry.Parent[rows.Message]
AttemptRow = strawberry.Parent[rows.Attempt]


@strawberry.type(description="A file of a message, by URL.")
class MediaRef:
    url: str = strawberry.field(
        description="Where the provider fetches it. In a message to you, where you can; or, where that takes the provider's "
        "credentials, its name there (`telegram-file:…`, `whatsapp-media:…`, `bird-media:…`)."
    )
    content_type: str | None = strawberry.field(description="Its media type.")
    filename: str | None = strawberry.field(description="The name the recipient sees.")
    caption: str | None = strawberry.field(description="In a message to you: what was written under it.")


@strawberry.type(description="Why it did not get through.")
class DeliveryFailure:
    code: str = strawberry.field(description="Our code; stable.")
    kind: FailureKind = strawberry.field(description="The kind of failure.")
    message: str = strawberry.field(description="A sentence for people.")
    provider_code: str | None = strawberry.field(description="The provider's code.")
    provider_message: str | None = strawberry.field(description="The provider's words.")
    is_retryable: bool = strawberry.field(description="Sending it again may work.")


def failure(stored: dict[str, Any] | None) -> DeliveryFailure | None:
    return DeliveryFailure(**stored) if stored else None


@strawberry.type(description="One hand-over to a provider.")
class DeliveryAttempt:
    number: int = strawberry.field(description="1 is the first.")
    started_at: dt.datetime = strawberry.field(description="When it was begun; stored before the provider was called.")
    finished_at: dt.datetime | None = strawberry.field(description="When its outcome was known.")
    duration_ms: float | None = strawberry.field(description="Milliseconds the provider took.")
    provider_status: int | None = strawberry.field(description="The provider's HTTP status or reply code.")
    exchange: JSON | None = strawberry.field(description="What was said, without secrets and without the message's text.")
    next_attempt_at: dt.datetime | None = strawberry.field(description="When the message is tried again.")

    @strawberry.field(description="STARTED, SENT, RETRY, THROTTLED, RELEASED (it had not left), SKIPPED, FAILED or UNKNOWN.")
    def outcome(root: AttemptRow) -> str:
        return root.outcome or "STARTED"

    @strawberry.field(description="The connector it went through.")
    async def connector(root: AttemptRow, info: Info) -> Connector | None:
        return await info.context.connectors.load(root.connector_id)  # type: ignore[return-value]

    @strawberry.field(description="Why it did not succeed.")
    def failure(root: AttemptRow) -> DeliveryFailure | None:
        return failure(root.failure)


@strawberry.type(description="One thing that happened to a message.")
class TimelineEntry:
    connector_id: strawberry.Private[str | None]
    event_id: strawberry.ID = strawberry.field(description="The same event in `events` and subscriptions.")
    cursor: str = strawberry.field(description="Its place in the event log.")
    type: str = strawberry.field(description="Such as `email.sent`.")
    status: MessageStatus | None = strawberry.field(description="The status since then.")
    source: TimelineSource = strawberry.field(description="Who made it happen.")
    detail: str | None = strawberry.field(description="More in a sentence.")
    attempt: int | None = strawberry.field(description="The attempt it belongs to.")
    occurred_at: dt.datetime = strawberry.field(description="When it happened.")

    @strawberry.field(description="The connector concerned.")
    async def connector(self, info: Info) -> Connector | None:
        if self.connector_id is None:
            return None
        return await info.context.connectors.load(self.connector_id)  # type: ignore[return-value]


@strawberry.type(description="What the router decided about one connector.")
class RouteDecision:
    connector_id: strawberry.Private[str]
    rank: int = strawberry.field(description="0 was looked at first.")
    decision: RouteOutcome = strawberry.field(description="What was decided.")
    reason: str = strawberry.field(description="Why, in a sentence.")

    @strawberry.field(description="The connector.")
    async def connector(self, info: Info) -> Connector | None:
        return await info.context.connectors.load(self.connector_id)  # type: ignore[return-value]


@strawberry.type(description="A message to one recipient.")
class Message(Node):
    workspace_id: strawberry.ID = strawberry.field(description="Its workspace.")
    channel_type: ChannelType = strawberry.field(description="The medium it travels through.")
    flow: MessageFlow = strawberry.field(description="What kind of traffic it is.")
    priority: MessagePriority = strawberry.field(description="How urgent it is.")
    status: MessageStatus = strawberry.field(description="Where it stands.")
    to: str = strawberry.field(description="The recipient, in the channel's canonical form.")
    subject: str | None = strawberry.field(description="Its subject line.")
    body: str | None = strawberry.field(description="Its text.")
    html: str | None = strawberry.field(description="Its text as HTML.")
    template: JSON | None = strawberry.field(description="The provider's template and what fills it.")
    client_reference: str | None = strawberry.field(description="Your name for it.")
    external_id: str | None = strawberry.field(description="The provider's name for it.")
    batch_id: strawberry.ID | None = strawberry.field(description="The batch it was accepted in.")
    encoding: TextEncoding | None = strawberry.field(description="How the text of an SMS is written; null for other messages.")
    segments: int | None = strawberry.field(description="Parts of an SMS: our count, then the provider's where it tells one.")
    scheduled_at: dt.datetime | None = strawberry.field(description="When it is to be sent.")
    expires_at: dt.datetime | None = strawberry.field(description="After this it is not sent any more.")
    sent_at: dt.datetime | None = strawberry.field(description="When the provider took it.")
    delivered_at: dt.datetime | None = strawberry.field(description="When it reached the recipient.")
    created_at: dt.datetime = strawberry.field(description="When it was accepted.")
    updated_at: dt.datetime = strawberry.field(description="When it last changed.")
    redacted_at: dt.datetime | None = strawberry.field(
        description="When its recipient and content were deleted: since then `to` is empty, and so is all that quoted them."
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.Message))

    @strawberry.field(name="from", description="The address or number it comes from, where it is known.")
    def sender(root: Row) -> str | None:
        return root.sender

    @strawberry.field(description="The sender ID it was accepted with.")
    async def sender_id(root: Row, info: Info) -> SenderId | None:
        if root.sender_id is None:
            return None
        return await info.context.senders.load(root.sender_id)  # type: ignore[return-value]

    @strawberry.field(graphql_type=JSON | None, description="What you gave with it.")
    def metadata(root: Row) -> dict[str, Any] | None:
        return root.details

    @strawberry.field(description="Its files.")
    def media(root: Row) -> list[MediaRef]:
        return [MediaRef(**item) for item in root.media]

    @strawberry.field(description="The connector it goes or went through.")
    async def connector(root: Row, info: Info) -> Connector | None:
        if root.connector_id is None:
            return None
        return await info.context.connectors.load(root.connector_id)  # type: ignore[return-value]

    @strawberry.field(description="Why it did not get through.")
    def failure(root: Row) -> DeliveryFailure | None:
        return failure(root.failure)

    @strawberry.field(description="Every hand-over, oldest first.")
    async def attempts(root: Row, info: Info) -> list[DeliveryAttempt]:
        return list(await info.context.attempts.load(root.id))  # type: ignore[arg-type]

    @strawberry.field(description="Everything that happened to it, oldest first.")
    async def timeline(root: Row, info: Info) -> list[TimelineEntry]:
        call = info.context.call
        return [
            TimelineEntry(
                event_id=strawberry.ID(event.id),
                cursor=event_cases.cursor_of(call, event.seq),
                type=event.type,
                status=event.payload.get("status"),
                source=event.payload["source"],
                detail=event.payload.get("detail"),
                attempt=event.payload.get("attempt"),
                occurred_at=event.occurred_at,
                connector_id=event.connector_id,
            )
            for event in await info.context.timelines.load(root.id)
        ]

    @strawberry.field(description="Every connector that was considered, with the decision and its reason.")
    async def route(root: Row, info: Info) -> list[RouteDecision]:
        waits = root.status == MessageStatus.QUEUED and root.connector_id is not None
        connector = await info.context.connectors.load(root.connector_id or "") if waits else None
        return [RouteDecision(**decision) for decision in status.route(root, connector)]


@strawberry.type(description="A page of messages, found by cursor or by its number.")
class MessageConnection(Connection[Message]):
    @strawberry.field(description="The page's number, when it was asked for by number.")
    def page(self) -> int | None:
        return self.content.page

    @strawberry.field(description="How many pages there are, when a page was asked for by number.")
    async def page_count(self) -> int | None:
        if self.content.page_size is None:
            return None
        total: int = await self.content.total()
        return -(-total // self.content.page_size)


@strawberry.input(description="Which messages; what is left out does not restrict.")
class MessageFilter:
    channels: list[ChannelType] | None = strawberry.field(default=None, description="Of these channels.")
    flow: MessageFlow | None = strawberry.field(default=None, description="Of this kind of traffic.")
    statuses: list[MessageStatus] | None = strawberry.field(default=None, description="Standing here.")
    connector_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Through these connectors.")
    sender_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="From these sender IDs.")
    batch_id: strawberry.ID | None = strawberry.field(default=None, description="Of this batch.")
    query: str | None = strawberry.field(default=None, description="Recipient, body or provider's id contains this.")
    client_reference: str | None = strawberry.field(default=None, description="With this name of yours.")
    created_after: dt.datetime | None = strawberry.field(default=None, description="Accepted after this.")
    created_before: dt.datetime | None = strawberry.field(default=None, description="Accepted before this.")

    def rows(self) -> rows.Filter:
        return rows.Filter(
            channels=[channel.value for channel in self.channels] if self.channels is not None else None,
            flow=self.flow.value if self.flow else None,
            statuses=[status.value for status in self.statuses] if self.statuses is not None else None,
            connector_ids=self.connector_ids,
            sender_ids=self.sender_ids,
            batch_id=self.batch_id,
            query=self.query,
            client_reference=self.client_reference,
            created_after=self.created_after,
            created_before=self.created_before,
        )


@strawberry.type
class MessageQueries:
    @strawberry.field(description="The workspace's messages, newest first.")
    async def messages(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        page: Annotated[int | None, strawberry.argument(description="A page by number, from 1; not with cursors.")] = None,
        page_size: Annotated[int | None, strawberry.argument(description="Entries on a page: 1 to 100.")] = None,
        filter: Annotated[MessageFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> MessageConnection | None:
        arguments = PageArguments(first=first, after=after, last=last, before=before, page=page, page_size=page_size)
        where = filter.rows() if filter else rows.Filter()
        columns = info.context.columns("Message")
        return MessageConnection(content=await use_cases.page(info.context.call, arguments, where, columns))

    @strawberry.field(description="One message; null when the workspace has none of this id.")
    async def message(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Message | None:
        columns = info.context.columns("Message")
        return await use_cases.get(info.context.call, id, columns)  # type: ignore[return-value]

    @strawberry.field(description="The newest message a provider knows by this id.")
    async def message_by_external_id(
        self, info: Info, external_id: Annotated[str, strawberry.argument(description="The provider's id.")]
    ) -> Message | None:
        return await use_cases.by_external_id(info.context.call, external_id)  # type: ignore[return-value]
