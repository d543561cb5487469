"""Trying a sender ID: a real message under it, through a real connector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from channels.base import Accepted, Outbound
from channels.errors import SendError
from delivery.attempt import hand_over
from models import ids
from models.connectors import Connector
from models.senders import SenderId, SenderIdStatus
from resolvers import audit, messages, optouts, senders
from resolvers.call import Call
from resolvers.candidates import Lookup
from resolvers.messages import Draft
from resolvers.permits import UNWANTED
from resolvers.problems import Problem, UserErrorCode
from resolvers.verification import delivery_problem, usable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a test message. `problem` is set when the provider did not take it."""

    sender: SenderId
    delivery_time_ms: int
    message: str
    problem: Problem | None = None


async def test(call: Call, sender_id: str, destination: str, connector_id: str | None) -> Trial:
    """Send a real message under an approved sender ID, through the connector that is named or the one whose turn it is."""
    call.require(senders.WRITE)
    await call.spend("senderIdTest")
    async with call.read() as session:
        sender = await senders.found(session, call.workspace_id, sender_id)
        if sender.status != SenderIdStatus.APPROVED:
            message = f"The sender ID is {sender.status}; only an approved one can be tried."
            raise Problem(UserErrorCode.SENDER_ID_NOT_APPROVED, message, ["input", "id"])
        connector = await _connector(Lookup(session, call.workspace_id), call, sender, destination, connector_id)
    provider = usable(call, connector)
    try:
        to = provider.destination(destination)
    except ValueError as error:
        raise Problem(UserErrorCode.INVALID_DESTINATION, str(error), ["input", "testDestination"]) from None
    async with call.read() as session:
        if await optouts.opted_out(session, call, sender.channel_type, to):
            raise Problem(UserErrorCode.RECIPIENT_OPTED_OUT, UNWANTED, ["input", "testDestination"])
    outbound = replace(provider.test_message(to, ids.new_id(ids.MESSAGE)), sender=sender.value)
    return await _send(call, sender, connector, outbound)


async def _connector(lookup: Lookup, call: Call, sender: SenderId, destination: str, connector_id: str | None) -> Connector:
    if connector_id is not None:
        named = await lookup.get(connector_id)
        if named is None:
            raise Problem(UserErrorCode.CONNECTOR_NOT_FOUND, "There is no such connector.", ["input", "connectorId"])
        if named.channel_type != sender.channel_type:
            message = f"The connector is of channel {named.channel_type}, the sender ID of {sender.channel_type}."
            raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "connectorId"])
        return named
    draft = Draft(to=destination, channel=sender.channel_type, body="-")
    way = call.means.router.among(await lookup.of_channel(sender.channel_type), messages.outbound_of(draft))
    if way.chosen is None:
        problem = messages.no_route(way, draft)
        to_blame = "testDestination" if problem.code is UserErrorCode.INVALID_DESTINATION else "connectorId"
        raise Problem(problem.code, problem.message, ["input", to_blame])
    return way.chosen


async def _send(call: Call, sender: SenderId, connector: Connector, outbound: Outbound) -> Trial:
    outcome = await hand_over(call.means.providers.of(connector), call.means.providers.wire(connector), outbound)
    accepted = isinstance(outcome.result, Accepted)
    log.info("sender_id_tested", sender_id=sender.id, connector_id=connector.id, ok=accepted)
    async with call.write() as session:
        audit.record(call, session, "senderIdTest", sender.id, after={"connectorId": connector.id, "success": accepted})
    took = round(outcome.duration_ms or 0)
    if isinstance(outcome.result, SendError):
        return Trial(sender, took, outcome.result.message, delivery_problem(outcome.result, outcome, took))
    return Trial(sender, took, f"Test message sent successfully under {sender.value}")
