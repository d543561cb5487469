"""Mutations of messages: what they take and what they answer."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from channels.base import ChannelType, Media
from resolvers import acceptance
from resolvers.messages import Draft, Fallback, MessageFlow, MessagePriority
from schema.base import THE_INPUT, UserError, answering, no_errors
from schema.context import Info
from schema.inputs import from_a_table
from schema.messages import Message


@strawberry.input(description="A file to send, by URL.")
class MediaInput:
    url: str = strawberry.field(description="Where the provider fetches it: http or https.")
    content_type: str | None = strawberry.field(default=None, description="Its media type.")
    filename: str | None = strawberry.field(default=None, description="The name the recipient sees.")


@strawberry.input(description="Another channel for a message that failed, or of which no receipt came in time.")
class ChannelFallbackInput:
    channel: ChannelType = strawberry.field(description="The channel.")
    to: str | None = strawberry.field(default=None, description="The recipient there; left out, the same as before.")
    after_seconds: int | None = strawberry.field(
        default=None, description="Also when no receipt of delivery came for so long after it was sent: 1 to 86400."
    )


@from_a_table
@strawberry.input(description="A message to one recipient. Say where through: a channel, a connector or a routing key.")
class MessageSendInput:
    to: str = strawberry.field(description="The recipient: an address of the channel.")
    channel: ChannelType | None = strawberry.field(default=None, description="Any connector of this channel, by priority.")
    connector_id: strawberry.ID | None = strawberry.field(default=None, description="This connector and no other.")
    routing_key: str | None = strawberry.field(default=None, description="The connector with this routing key and no other.")
    fallback_channels: list[ChannelFallbackInput] | None = strawberry.field(
        default=None, description="Channels to go on with, in this order; five at most."
    )
    flow: MessageFlow | None = strawberry.field(
        default=MessageFlow.STANDARD, description="OTP is urgent and expires after 5 minutes unless told otherwise."
    )
    priority: MessagePriority | None = strawberry.field(default=None, description="Left out: HIGH for OTP, else NORMAL.")
    sender_id: strawberry.ID | None = strawberry.field(
        default=None, description="An approved sender ID. An SMS needs one, also as a fallback."
    )
    subject: str | None = strawberry.field(default=None, description="A subject line, where the channel has one.")
    body: str | None = strawberry.field(default=None, description="The text.")
    html: str | None = strawberry.field(default=None, description="The text as HTML, beside `body`.")
    template: JSON | None = strawberry.field(default=None, description="A provider's template and what fills it.")
    media: list[MediaInput] | None = strawberry.field(default=None, description="Files, ten at most.")
    metadata: JSON | None = strawberry.field(default=None, description="An object of yours, kept with the message.")
    client_reference: str | None = strawberry.field(default=None, description="Your name for it; need not be unique.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters. The same request again gets the stored answer; another is refused."
    )
    scheduled_at: dt.datetime | None = strawberry.field(default=None, description="Send it then.")
    validity_seconds: int | None = strawberry.field(default=None, description="Not sent in this time, it expires.")

    def draft(self) -> Draft:
        return Draft(
            to=self.to,
            channel=self.channel.value if self.channel else None,
            connector_id=self.connector_id,
            routing_key=self.routing_key,
            flow=(self.flow or MessageFlow.STANDARD).value,
            priority=self.priority.value if self.priority else None,
            sender_id=self.sender_id,
            subject=self.subject,
            body=self.body,
            html=self.html,
            template=self.template,
            media=tuple(Media(item.url, item.content_type, item.filename) for item in self.media or ()),
            metadata=self.metadata,
            client_reference=self.client_reference,
            idempotency_key=self.idempotency_key,
            scheduled_at=self.scheduled_at,
            validity_seconds=self.validity_seconds,
            fallbacks=tuple(
                Fallback(channel=c.channel.value, to=c.to, after_seconds=c.after_seconds) for c in self.fallback_channels or ()
            ),
        )


@strawberry.type(description="What came of `messageSend`.")
class MessageSendPayload:
    message: Message | None = strawberry.field(default=None, description="The message; stored, and going to be sent.")
    is_replay: bool = strawberry.field(default=False, description="An earlier request with this idempotency key was accepted.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class MessageMutations:
    @strawberry.mutation(description="Accept a message. What is answered with an id is stored and will be sent.")
    @answering(lambda errors: MessageSendPayload(user_errors=errors))
    async def message_send(self, info: Info, input: Annotated[MessageSendInput, THE_INPUT]) -> MessageSendPayload | None:
        message, is_replay = await acceptance.send(info.context.call, input.draft())
        return MessageSendPayload(message=message, is_replay=is_replay)  # type: ignore[arg-type]
