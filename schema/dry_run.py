"""A message tried without sending it."""

from __future__ import annotations

from typing import Annotated

import strawberry

from resolvers import dry_run as use_cases
from schema.base import THE_INPUT, UserError, no_errors, user_error
from schema.context import Info
from schema.estimates import MessageEstimate
from schema.message_changes import MessageSendInput
from schema.messages import RouteDecision


@strawberry.type(description="What would come of `messageSend` with this input.")
class MessageTestPayload:
    would_send: bool = strawberry.field(description="It would be accepted.")
    route: list[RouteDecision] = strawberry.field(
        description="Every connector that was considered, also when none was chosen; empty where none could be meant."
    )
    estimate: MessageEstimate | None = strawberry.field(description="How its text would travel; null without one.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class DryRunMutations:
    @strawberry.mutation(
        description="Try a message without sending it: where it would go and what `messageSend` would refuse. Nothing is "
        "stored, and the idempotency key is not looked at. Needs the scope to send it."
    )
    async def message_test(self, info: Info, input: Annotated[MessageSendInput, THE_INPUT]) -> MessageTestPayload | None:
        tried = await use_cases.of(info.context.call, input.draft())
        return MessageTestPayload(
            would_send=tried.would_send,
            route=[RouteDecision(**decision.stored()) for decision in tried.decisions],
            estimate=tried.estimate,  # type: ignore[arg-type]
            user_errors=[user_error(problem) for problem in tried.problems],
        )
