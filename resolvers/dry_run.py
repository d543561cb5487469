"""A message tried without sending it: where it would go and what stands in the way. Nothing is stored, no turn taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from channels.sms_text import Estimate
from delivery.route import Decision, Route, RouteOutcome
from resolvers import estimates, limits, messages, permits
from resolvers.call import Call
from resolvers.candidates import Lookup
from resolvers.messages import Draft
from resolvers.problems import Problem, UserErrorCode, collected


@dataclass(frozen=True, slots=True)
class DryRun:
    """Every candidate with its decision, how the text would travel, and all that `messageSend` would refuse."""

    decisions: Sequence[Decision]
    estimate: Estimate | None
    problems: Sequence[Problem]

    @property
    def would_send(self) -> bool:
        return not self.problems


async def of(call: Call, draft: Draft) -> DryRun:
    """Raises Problem where the caller may not send at all."""
    problems: list[Problem] = []
    with collected(problems):
        limits.check(draft)
    if problems:
        return DryRun((), None, problems)
    way = await _route(call, draft, problems)
    for problem in problems:
        if not isinstance(problem.code, UserErrorCode):
            raise problem
    return DryRun(way.decisions, _estimate(draft, way), problems)


async def _route(call: Call, draft: Draft, problems: list[Problem]) -> Route:
    way = Route(())
    async with call.read() as session:
        lookup = Lookup(session, call.workspace_id)
        with collected(problems):
            way = await messages.route(call, draft, lookup, peeks=True)
            if way.choice is None:
                problems.append(messages.no_route(way, draft))
        with collected(problems):
            try:
                await permits.sender(lookup, call, draft, way)
            except Problem as problem:
                way = way.barred(RouteOutcome.SENDER_NOT_APPROVED, problem.message)
                raise
        with collected(problems):
            if way.choice is not None:
                asked = draft, way.choice.connector.channel_type, way.choice.to or draft.to
                for unwanted in (await permits.opted_out(session, call, {0: asked})).values():
                    way = way.barred(RouteOutcome.OPTED_OUT, unwanted.message)
                    raise unwanted
        with collected(problems):
            await messages.check_fallbacks(lookup, call, draft)
    return way


def _estimate(draft: Draft, way: Route) -> Estimate | None:
    channel = permits.channel_of(draft, way)
    return estimates.of(draft.body, channel) if draft.body and channel is not None else None
