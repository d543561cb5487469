"""Mutations of messages that were accepted: change, cancel, send again, forget."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from resolvers import control as use_cases
from resolvers.messages import MessagePriority
from schema.base import THE_INPUT, UserError, answering, no_errors
from schema.context import Info
from schema.messages import Message


@strawberry.input(description="A change of a message that has not left. What is left out stays; null clears.")
class MessageUpdateInput:
    id: strawberry.ID = strawberry.field(description="The message.")
    scheduled_at: strawberry.Maybe[dt.datetime | None] = strawberry.field(
        default=None, description="Send it then; null, or a time that has passed, sends it as soon as possible."
    )
    priority: strawberry.Maybe[MessagePriority | None] = strawberry.field(
        default=None, description="How urgent it is; null is HIGH for OTP, else NORMAL."
    )
    validity_seconds: strawberry.Maybe[int | None] = strawberry.field(
        default=None,
        description="Not sent in this time, counted from when it is due or from now, it expires; null is 5 minutes for OTP, "
        "else never. Left out, a message that is rescheduled keeps the time it had.",
    )


@strawberry.input(description="A message to take back.")
class MessageCancelInput:
    id: strawberry.ID = strawberry.field(description="The message.")


@strawberry.input(description="A message to send again.")
class MessageResendInput:
    id: strawberry.ID = strawberry.field(description="The message that has left, or never will.")
    connector_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="Through this connector of its channel and no other. Left out: as before, by channel or through the "
        "connector the first one named.",
    )


@strawberry.input(description="A message to forget.")
class MessageDeleteInput:
    id: strawberry.ID = strawberry.field(description="The message.")


@strawberry.type(description="What came of `messageUpdate`.")
class MessageUpdatePayload:
    message: Message | None = strawberry.field(default=None, description="The message as it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `messageCancel`.")
class MessageCancelPayload:
    message: Message | None = strawberry.field(default=None, description="The canceled message.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `messageResend`.")
class MessageResendPayload:
    message: Message | None = strawberry.field(default=None, description="The new message, with an id of its own.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `messageDelete`.")
class MessageDeletePayload:
    message: Message | None = strawberry.field(default=None, description="What is left of the message.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class ControlMutations:
    @strawberry.mutation(
        description="Reschedule a message that has not left, or change its priority or validity. INVALID_STATE once it is "
        "being handed to its provider."
    )
    @answering(lambda errors: MessageUpdatePayload(user_errors=errors))
    async def message_update(self, info: Info, input: Annotated[MessageUpdateInput, THE_INPUT]) -> MessageUpdatePayload | None:
        given: dict[str, object] = {}
        if input.scheduled_at is not None:
            given["scheduled_at"] = input.scheduled_at.value
        if input.priority is not None:
            given["priority"] = input.priority.value.value if input.priority.value else None
        if input.validity_seconds is not None:
            given["validity_seconds"] = input.validity_seconds.value
        message = await use_cases.update(info.context.call, input.id, given)
        return MessageUpdatePayload(message=message)  # type: ignore[arg-type]

    @strawberry.mutation(
        description="Take back a message that has not left: it is CANCELED, and will not be sent. Once a worker has it, it is "
        "INVALID_STATE. Canceling again answers the same."
    )
    @answering(lambda errors: MessageCancelPayload(user_errors=errors))
    async def message_cancel(self, info: Info, input: Annotated[MessageCancelInput, THE_INPUT]) -> MessageCancelPayload | None:
        message = await use_cases.cancel(info.context.call, input.id)
        return MessageCancelPayload(message=message)  # type: ignore[arg-type]

    @strawberry.mutation(
        description="Send the same content to the same recipient again, now, as a new message. Allowed once nothing more is "
        "going to be tried for the first one. It may have arrived, above all when it is UNKNOWN: then it arrives twice. Each "
        "call sends another one."
    )
    @answering(lambda errors: MessageResendPayload(user_errors=errors))
    async def message_resend(self, info: Info, input: Annotated[MessageResendInput, THE_INPUT]) -> MessageResendPayload | None:
        message = await use_cases.resend(info.context.call, input.id, input.connector_id)
        return MessageResendPayload(message=message)  # type: ignore[arg-type]

    @strawberry.mutation(
        description="Forget a message's recipient and content, with what its provider said of them. Its status, times, codes "
        "and events stay, and it is counted as before. One that has not left is canceled first; one that is being handed to "
        "its provider is INVALID_STATE. It cannot be undone."
    )
    @answering(lambda errors: MessageDeletePayload(user_errors=errors))
    async def message_delete(self, info: Info, input: Annotated[MessageDeleteInput, THE_INPUT]) -> MessageDeletePayload | None:
        message = await use_cases.redact(info.context.call, input.id)
        return MessageDeletePayload(message=message)  # type: ignore[arg-type]
