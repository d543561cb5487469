"""Opt-outs: who does not want messages, and how that changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterable
from typing import Annotated

import strawberry

from channels.base import ChannelType
from models import events as event_rows
from models import optouts as rows
from models.events import OPT_OUT
from models.optouts import OptOutAction
from resolvers import optouts as use_cases
from resolvers import watching
from resolvers.feeds import Feed
from resolvers.pages import PageArguments
from schema.base import THE_INPUT, Node, UserError, answering, no_errors
from schema.context import Info
from schema.events import Event, Since
from schema.pages import After, Connection, First

EventRow = strawberry.Parent[event_rows.Event]


@strawberry.type(
    description="Somebody who does not want messages of the workspace through a channel. It stops everything but one-time "
    "passwords, which people ask for themselves."
)
class OptOut(Node):
    recipient: str = strawberry.field(description="Their address, in lower case.")
    channel_type: ChannelType = strawberry.field(description="The channel.")
    source: str = strawberry.field(
        description="API, INBOUND (they wrote a keyword or blocked us), UNSUBSCRIBE (a mail's link) or PROVIDER (it refused)."
    )
    keyword: str | None = strawberry.field(description="The word they wrote, such as STOP.")
    reason: str | None = strawberry.field(description="A note of who added it.")
    created_at: dt.datetime = strawberry.field(description="Since when.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.OptOut))


@strawberry.type(description="Somebody opted out, or in again.")
class OptOutChanged(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, event_rows.Event) and value.kind == OPT_OUT

    @strawberry.field(description="Their address, in lower case.")
    def recipient(root: EventRow) -> str:
        return root.payload["recipient"]  # type: ignore[no-any-return]

    @strawberry.field(description="The channel.")
    def channel_type(root: EventRow) -> ChannelType:
        return root.channel_type  # type: ignore[return-value]

    @strawberry.field(description="What happened.")
    def action(root: EventRow) -> OptOutAction:
        return root.payload["action"]  # type: ignore[no-any-return]

    @strawberry.field(description="The opt-out as it is now; null when it is gone.")
    async def opt_out(root: EventRow, info: Info) -> OptOut | None:
        return await info.context.opt_outs.load(root.subject_id)  # type: ignore[return-value]


@strawberry.input(description="Which opt-outs; what is left out does not restrict.")
class OptOutFilter:
    channels: list[ChannelType] | None = strawberry.field(default=None, description="Of these channels.")
    recipient: str | None = strawberry.field(default=None, description="The address contains this.")

    def rows(self) -> rows.Filter:
        channels = [channel.value for channel in self.channels] if self.channels is not None else None
        return rows.Filter(channels=channels, recipient=self.recipient)


@strawberry.input(description="Somebody who wants no more messages.")
class OptOutAddInput:
    recipient: str = strawberry.field(description="An address of the channel.")
    channel: ChannelType = strawberry.field(description="The channel.")
    reason: str | None = strawberry.field(default=None, description="A note; at most 500 characters.")


@strawberry.input(description="Somebody who wants messages again, and said so.")
class OptOutRemoveInput:
    recipient: str = strawberry.field(description="An address of the channel.")
    channel: ChannelType = strawberry.field(description="The channel.")


@strawberry.type(description="What came of `optOutAdd`.")
class OptOutAddPayload:
    opt_out: OptOut | None = strawberry.field(default=None, description="The opt-out, new or as it was.")
    canceled_messages: int = strawberry.field(default=0, description="Waiting messages that were canceled with it.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `optOutRemove`.")
class OptOutRemovePayload:
    removed_opt_out_id: strawberry.ID | None = strawberry.field(default=None, description="The opt-out that is gone.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class OptOutQueries:
    @strawberry.field(description="Who does not want messages, newest first.")
    async def opt_outs(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[OptOutFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> Connection[OptOut] | None:
        where = filter.rows() if filter else rows.Filter()
        arguments = PageArguments(first=first, after=after)
        return Connection(content=await use_cases.page(info.context.call, arguments, where))


@strawberry.type
class OptOutMutations:
    @strawberry.mutation(
        description="Note that somebody wants no more messages. What waits for them is CANCELED in the same moment, and what "
        "is sent later is refused with RECIPIENT_OPTED_OUT, except for one-time passwords (flow OTP)."
    )
    @answering(lambda errors: OptOutAddPayload(user_errors=errors))
    async def opt_out_add(self, info: Info, input: Annotated[OptOutAddInput, THE_INPUT]) -> OptOutAddPayload | None:
        added = await use_cases.add(info.context.call, input.recipient, input.channel.value, input.reason)
        return OptOutAddPayload(opt_out=added.opt_out, canceled_messages=added.canceled)  # type: ignore[arg-type]

    @strawberry.mutation(
        description="Take an opt-out back, on the recipient's word. A block of the carrier or the provider stays: only the "
        "recipient can lift it, by writing START."
    )
    @answering(lambda errors: OptOutRemovePayload(user_errors=errors))
    async def opt_out_remove(self, info: Info, input: Annotated[OptOutRemoveInput, THE_INPUT]) -> OptOutRemovePayload | None:
        removed = await use_cases.remove(info.context.call, input.recipient, input.channel.value)
        return OptOutRemovePayload(removed_opt_out_id=strawberry.ID(removed.id))


@strawberry.type
class OptOutSubscriptions:
    @strawberry.subscription(description="People opting out and in again.")
    def opt_out_changed(self, info: Info, after: Since = None) -> AsyncIterable[OptOutChanged]:
        call = info.context.call
        call.require(use_cases.READ)
        return Feed(call, after, watching.Kind(OPT_OUT))  # type: ignore[return-value]
