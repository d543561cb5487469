"""Sender IDs: what they are, who asks for them and who allows them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from channels.base import ChannelType
from models import senders as rows
from models.senders import SenderIdKind, SenderIdStatus
from resolvers import sender_reviews, sender_tests
from resolvers import senders as use_cases
from resolvers.pages import PageArguments
from resolvers.sender_reviews import ReviewDecision
from resolvers.senders import NewSender
from schema.base import THE_INPUT, Node, UserError, answering, no_errors, user_error
from schema.context import Info
from schema.pages import After, Connection, First

Row = strawberry.Parent[rows.SenderId]


@strawberry.type(description="A name or number a workspace may send under, once it is approved.")
class SenderId(Node):
    workspace_id: strawberry.ID = strawberry.field(description="Whose it is.")
    value: str = strawberry.field(description="What the recipient sees.")
    kind: SenderIdKind = strawberry.field(description="What kind of sender it is.")
    channel_type: ChannelType = strawberry.field(description="The channel it is for.")
    country: str | None = strawberry.field(description="Where it is meant to be used (ISO 3166-1); null is anywhere.")
    use_case: str | None = strawberry.field(description="What it is wanted for.")
    sample_message: str | None = strawberry.field(description="A message as it will be sent.")
    status: SenderIdStatus = strawberry.field(description="Where it stands.")
    review_note: str | None = strawberry.field(description="What the reviewer said.")
    reviewed_at: dt.datetime | None = strawberry.field(description="When it was reviewed.")
    reviewed_by: str | None = strawberry.field(description="Who reviewed it.")
    created_at: dt.datetime = strawberry.field(description="When it was asked for.")
    updated_at: dt.datetime = strawberry.field(description="When it last changed.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.SenderId))

    @strawberry.field(
        description="What a reviewer should know: protected names it looks like, digits in place of letters, other owners, "
        "earlier rejections, rules of its country. Computed now; empty for all but platform administrators."
    )
    async def hints(root: Row, info: Info) -> list[str]:
        return await info.context.hints.load(root) if use_cases.reviews(info.context.call) else []


@strawberry.input(description="Which sender IDs; what is left out does not restrict.")
class SenderIdFilter:
    statuses: list[SenderIdStatus] | None = strawberry.field(default=None, description="Standing here.")
    channels: list[ChannelType] | None = strawberry.field(default=None, description="For these channels.")
    query: str | None = strawberry.field(default=None, description="Value or use case contains this.")
    all_workspaces: bool | None = strawberry.field(
        default=False, description="Of every workspace; for platform administrators, who review them."
    )

    def rows(self) -> rows.Filter:
        return rows.Filter(
            statuses=[status.value for status in self.statuses] if self.statuses is not None else None,
            channels=[channel.value for channel in self.channels] if self.channels is not None else None,
            query=self.query,
        )


@strawberry.type
class SenderIdQueries:
    @strawberry.field(description="The workspace's sender IDs, newest first.")
    async def sender_ids(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[SenderIdFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> Connection[SenderId] | None:
        where, everywhere = (filter.rows(), bool(filter.all_workspaces)) if filter else (rows.Filter(), False)
        arguments = PageArguments(first=first, after=after)
        return Connection(content=await use_cases.page(info.context.call, arguments, where, everywhere))

    @strawberry.field(description="One sender ID; null when the workspace has none of this id.")
    async def sender_id(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> SenderId | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]


@strawberry.input(description="A sender ID to ask for.")
class SenderIdCreateInput:
    value: str = strawberry.field(
        description="A name of up to 11 letters, digits, blanks and _ & + . - with a letter in it; a number in E.164; or a "
        "short code of 3 to 8 digits."
    )
    channel: ChannelType | None = strawberry.field(default=ChannelType.SMS, description="SMS, or SIMULATOR to try things out.")
    country: str | None = strawberry.field(default=None, description="Where it is meant to be used (ISO 3166-1), as in GB.")
    use_case: str | None = strawberry.field(default=None, description="What it is wanted for; at most 2000 characters.")
    sample_message: str | None = strawberry.field(
        default=None, description="A message as it will be sent; at most 1600 characters."
    )


@strawberry.input(description="A change of a request. What is left out stays; null clears. The value itself stays.")
class SenderIdUpdateInput:
    id: strawberry.ID = strawberry.field(description="The sender ID: a PENDING or REJECTED one.")
    country: strawberry.Maybe[str | None] = strawberry.field(default=None, description="Where it is meant to be used.")
    use_case: strawberry.Maybe[str | None] = strawberry.field(default=None, description="What it is wanted for.")
    sample_message: strawberry.Maybe[str | None] = strawberry.field(default=None, description="A message as it will be sent.")


@strawberry.input(description="A real test message under a sender ID.")
class SenderIdTestInput:
    id: strawberry.ID = strawberry.field(description="The sender ID; it must be approved.")
    test_destination: str = strawberry.field(description="Who gets it: an address of its channel.")
    connector_id: strawberry.ID | None = strawberry.field(
        default=None, description="Through this connector; left out, the one a message would go through."
    )


@strawberry.input(description="A sender ID to give up.")
class SenderIdDeleteInput:
    id: strawberry.ID = strawberry.field(description="The sender ID.")


@strawberry.input(description="A decision about a sender ID.")
class SenderIdReviewInput:
    id: strawberry.ID = strawberry.field(description="The sender ID; it must be PENDING.")
    decision: ReviewDecision = strawberry.field(description="May it be sent under?")
    note: str | None = strawberry.field(default=None, description="Why; its owner sees it. At most 2000 characters.")


@strawberry.type(description="What came of `senderIdCreate`.")
class SenderIdCreatePayload:
    sender_id: SenderId | None = strawberry.field(default=None, description="The request, PENDING.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `senderIdUpdate`.")
class SenderIdUpdatePayload:
    sender_id: SenderId | None = strawberry.field(default=None, description="The sender ID, PENDING.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `senderIdTest`.")
class SenderIdTestPayload:
    success: bool = strawberry.field(default=False, description="The provider took the test message.")
    message: str = strawberry.field(default="The test message was not sent.", description="The outcome in a sentence.")
    delivery_time_ms: int | None = strawberry.field(default=None, description="Milliseconds the hand-over took.")
    sender_id: SenderId | None = strawberry.field(default=None, description="The sender ID.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `senderIdDelete`.")
class SenderIdDeletePayload:
    deleted_sender_id: strawberry.ID | None = strawberry.field(default=None, description="The sender ID, now REVOKED.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `senderIdReview`.")
class SenderIdReviewPayload:
    sender_id: SenderId | None = strawberry.field(default=None, description="The sender ID, approved or rejected.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class SenderIdMutations:
    @strawberry.mutation(description="Ask for a sender ID. It is PENDING until a platform administrator reviews it.")
    @answering(lambda errors: SenderIdCreatePayload(user_errors=errors))
    async def sender_id_create(
        self, info: Info, input: Annotated[SenderIdCreateInput, THE_INPUT]
    ) -> SenderIdCreatePayload | None:
        new = NewSender(
            value=input.value,
            channel=(input.channel or ChannelType.SMS).value,
            country=input.country,
            use_case=input.use_case,
            sample_message=input.sample_message,
        )
        return SenderIdCreatePayload(sender_id=await use_cases.create(info.context.call, new))  # type: ignore[arg-type]

    @strawberry.mutation(
        description="Change what is told about a sender ID that is not approved; a REJECTED one goes back to PENDING. What was "
        "approved or revoked stays as it was reviewed: INVALID_STATE."
    )
    @answering(lambda errors: SenderIdUpdatePayload(user_errors=errors))
    async def sender_id_update(
        self, info: Info, input: Annotated[SenderIdUpdateInput, THE_INPUT]
    ) -> SenderIdUpdatePayload | None:
        given = {"country": input.country, "use_case": input.use_case, "sample_message": input.sample_message}
        values = {name: some.value for name, some in given.items() if some is not None}
        return SenderIdUpdatePayload(sender_id=await use_cases.update(info.context.call, input.id, values))  # type: ignore[arg-type]

    @strawberry.mutation(description="Send a real message under an approved sender ID and see how long it took.")
    @answering(lambda errors: SenderIdTestPayload(user_errors=errors))
    async def sender_id_test(self, info: Info, input: Annotated[SenderIdTestInput, THE_INPUT]) -> SenderIdTestPayload | None:
        trial = await sender_tests.test(info.context.call, input.id, input.test_destination, input.connector_id)
        return SenderIdTestPayload(
            success=trial.problem is None,
            message=trial.message,
            delivery_time_ms=trial.delivery_time_ms,
            sender_id=trial.sender,  # type: ignore[arg-type]
            user_errors=[user_error(trial.problem)] if trial.problem else [],
        )

    @strawberry.mutation(
        description="Give a sender ID up: it is REVOKED for good; what waits to be sent under it fails when its turn comes. It "
        "may be asked for again. A platform administrator may revoke any."
    )
    @answering(lambda errors: SenderIdDeletePayload(user_errors=errors))
    async def sender_id_delete(
        self, info: Info, input: Annotated[SenderIdDeleteInput, THE_INPUT]
    ) -> SenderIdDeletePayload | None:
        revoked = await use_cases.delete(info.context.call, input.id)
        return SenderIdDeletePayload(deleted_sender_id=strawberry.ID(revoked.id))

    @strawberry.mutation(
        description="Approve or reject a PENDING sender ID of any workspace. For platform administrators in a session, and "
        "never for who asked for it; another one's decision stands: ALREADY_REVIEWED."
    )
    @answering(lambda errors: SenderIdReviewPayload(user_errors=errors))
    async def sender_id_review(
        self, info: Info, input: Annotated[SenderIdReviewInput, THE_INPUT]
    ) -> SenderIdReviewPayload | None:
        sender = await sender_reviews.review(info.context.call, input.id, input.decision, input.note)
        return SenderIdReviewPayload(sender_id=sender)  # type: ignore[arg-type]
