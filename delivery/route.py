"""Which connector a message goes through, and why not the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from delivery.receipts import failure_of
from models import connectors, messages, queue
from models.connectors import Connector
from models.messages import Message, MessageStatus
from models.timeline import TimelineSource, message_changed

WAITING = (MessageStatus.SCHEDULED, MessageStatus.QUEUED)


class RouteOutcome(StrEnum):
    """What was decided about one candidate."""

    CHOSEN = "CHOSEN"
    FALLBACK = "FALLBACK"
    NOT_VERIFIED = "NOT_VERIFIED"
    DISABLED = "DISABLED"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    THROTTLED = "THROTTLED"
    UNSUPPORTED_CONTENT = "UNSUPPORTED_CONTENT"
    SENDER_NOT_APPROVED = "SENDER_NOT_APPROVED"
    OPTED_OUT = "OPTED_OUT"
    ALREADY_TRIED = "ALREADY_TRIED"


@dataclass(frozen=True, slots=True)
class Decision:
    """One candidate, in the order they were looked at."""

    connector: Connector
    rank: int
    outcome: RouteOutcome
    reason: str

    def stored(self) -> dict[str, Any]:
        return {
            "connector_id": self.connector.id,
            "rank": self.rank,
            "decision": self.outcome.value,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Route:
    """Every candidate with its decision; `chosen` is the one that gets the message."""

    decisions: Sequence[Decision]

    @property
    def chosen(self) -> Connector | None:
        return next((d.connector for d in self.decisions if d.outcome is RouteOutcome.CHOSEN), None)

    def stored(self) -> list[dict[str, Any]]:
        return [decision.stored() for decision in self.decisions]


def pinned(connector: Connector) -> Route:
    """The caller named the connector: it is taken as it is, unless it is switched off."""
    if not connector.enabled:
        return Route([Decision(connector, 0, RouteOutcome.DISABLED, "The connector is disabled.")])
    return Route([Decision(connector, 0, RouteOutcome.CHOSEN, "Named by the caller.")])


async def of_channel(session: AsyncSession, workspace_id: str, channel_type: str) -> Route:
    """The first usable connector of a channel by priority, then age; those behind it are fallbacks."""
    decisions: list[Decision] = []
    taken = False
    for rank, connector in enumerate(await connectors.all_of(session, workspace_id, channel_type)):
        outcome, reason = _judge(connector, taken)
        taken = taken or outcome is RouteOutcome.CHOSEN
        decisions.append(Decision(connector, rank, outcome, reason))
    return Route(decisions)


def _judge(connector: Connector, taken: bool) -> tuple[RouteOutcome, str]:
    if not connector.enabled:
        return RouteOutcome.DISABLED, "The connector is disabled."
    if not connector.is_verified:
        return RouteOutcome.NOT_VERIFIED, "The connector's last check or test did not succeed."
    if taken:
        return RouteOutcome.FALLBACK, f"Usable, with priority {connector.priority} behind the chosen one."
    return RouteOutcome.CHOSEN, f"Verified and enabled, priority {connector.priority}."


async def rehome(session: AsyncSession, message: Message) -> Connector | None:
    """Give a waiting message whose connector is gone to another one, or fail it when there is none."""
    route = await of_channel(session, message.workspace_id, message.channel_type)
    chosen = None if message.is_pinned else route.chosen
    if chosen is not None and await queue.move_lane(session, message.workspace_id, message.id, chosen.id):
        values: dict[str, Any] = {"connector_id": chosen.id, "route": route.stored()}
        moved = await messages.move(session, message.workspace_id, message.id, WAITING, values)
        if moved is not None:
            detail = "Rerouted: the connector was deleted."
            message_changed(session, moved, moved.status, TimelineSource.DISPATCHER, detail=detail)
        return chosen
    await queue.remove(session, message.workspace_id, [message.id])
    error = SendError(FailureKind.NO_ROUTE, "CONNECTOR_DELETED", "The connector was deleted and no other can take the message.")
    final = {"status": MessageStatus.FAILED, "failure": failure_of(error)}
    failed = await messages.move(session, message.workspace_id, message.id, WAITING, final)
    if failed is not None:
        message_changed(session, failed, message.status, TimelineSource.DISPATCHER, detail=error.message)
    return None
