"""Batches: many messages accepted at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from models.batches import Progress
from models.messages import MessageStatus
from resolvers import batches as use_cases
from resolvers.batches import Order
from schema.base import THE_INPUT, Node, UserError, answering, no_errors
from schema.context import Info
from schema.inputs import from_a_table
from schema.message_changes import MessageSendInput
from schema.messages import Message

Row = strawberry.Parent[Progress]


@strawberry.type(description="How many messages stand somewhere.")
class StatusCount:
    status: MessageStatus = strawberry.field(description="Where.")
    count: int = strawberry.field(description="How many.")


@strawberry.type(description="Messages accepted together, and how far they have come.")
class MessageBatch(Node):
    total: int = strawberry.field(description="How many messages it has.")
    already_accepted: int = strawberry.field(
        description="How many more were given whose idempotency key an earlier request had used: they are not sent again, and "
        "are not part of this batch."
    )
    counts: list[StatusCount] = strawberry.field(description="Its messages by status, the earliest status first; no zeros.")
    is_complete: bool = strawberry.field(
        description="Nothing more is going to be sent: no message is SCHEDULED, QUEUED or PROCESSING. Receipts may still come."
    )
    created_at: dt.datetime = strawberry.field(description="When it was accepted.")
    completed_at: dt.datetime | None = strawberry.field(
        description="When the last of its messages was sent or given up; null while it is not complete."
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, Progress))

    @strawberry.field(description="The first ten messages that failed or expired, in the order given.")
    async def first_failures(root: Row, info: Info) -> list[Message]:
        return list(await use_cases.failures(info.context.call, root.id))  # type: ignore[arg-type]


@from_a_table
@strawberry.input(description="Messages to accept together.")
class MessageSendBatchInput:
    messages: list[MessageSendInput] = strawberry.field(
        description="1 to 1,000 messages, each as in `messageSend`. An idempotency key of one that an earlier request has used "
        "keeps it from being sent again."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters. The same batch again gets the stored one; another is refused."
    )


@strawberry.type(description="What came of `messageSendBatch`.")
class MessageSendBatchPayload:
    batch: MessageBatch | None = strawberry.field(default=None, description="The batch; all of it is stored, and will be sent.")
    is_replay: bool = strawberry.field(default=False, description="An earlier request had accepted all of it.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class BatchQueries:
    @strawberry.field(
        description="A batch; null when the workspace has none of this id, or when you may not read all channels it uses."
    )
    async def batch(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> MessageBatch | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]


@strawberry.type
class BatchMutations:
    @strawberry.mutation(
        description="Accept up to 1,000 messages in one transaction: all of them, or none. Each that is refused is named in "
        "`userErrors` by its index, as in [input, messages, 17, to]."
    )
    @answering(lambda errors: MessageSendBatchPayload(user_errors=errors))
    async def message_send_batch(
        self, info: Info, input: Annotated[MessageSendBatchInput, THE_INPUT]
    ) -> MessageSendBatchPayload | None:
        order = Order([message.draft() for message in input.messages], input.idempotency_key)
        batch, is_replay = await use_cases.send(info.context.call, order)
        return MessageSendBatchPayload(batch=batch, is_replay=is_replay)  # type: ignore[arg-type]


@strawberry.type
class BatchSubscriptions:
    @strawberry.subscription(
        description="A batch as it is, then as it comes along, at most once in `intervalMs`; ends when the batch is complete."
    )
    async def batch_progressed(
        self,
        info: Info,
        batch_id: Annotated[strawberry.ID, strawberry.argument(description="The batch.")],
        interval_ms: Annotated[
            int | None, strawberry.argument(description="Milliseconds between two answers: 50 to 60000.")
        ] = 500,
    ) -> AsyncGenerator[MessageBatch]:
        interval = 500 if interval_ms is None else interval_ms
        async with aclosing(use_cases.follow(info.context.call, batch_id, interval)) as found:
            async for progress in found:
                yield progress  # type: ignore[misc]
