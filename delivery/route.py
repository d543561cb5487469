"""Which connector a message goes through, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Outbound, TrafficType
from channels.errors import SendError
from delivery.providers import Providers, UnusableError
from models import connectors, lanes
from models.base import now
from models.connectors import CircuitState, Connector
from models.lanes import Lane


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
    """One candidate. `to` is the recipient in its provider's form; `refusal` why its provider would not take the message."""

    connector: Connector
    rank: int
    outcome: RouteOutcome
    reason: str
    to: str | None = None
    refusal: SendError | ValueError | None = None

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
    def choice(self) -> Decision | None:
        return next((decision for decision in self.decisions if decision.outcome is RouteOutcome.CHOSEN), None)

    @property
    def chosen(self) -> Connector | None:
        return self.choice.connector if self.choice else None

    def barred(self, outcome: RouteOutcome, reason: str) -> Route:
        """Nobody may take the message after all, for a reason that is not the connectors'."""
        open_ways = (RouteOutcome.CHOSEN, RouteOutcome.FALLBACK, RouteOutcome.THROTTLED)
        barred = [replace(d, outcome=outcome, reason=reason) if d.outcome in open_ways else d for d in self.decisions]
        return Route(barred)

    def stored(self) -> list[dict[str, Any]]:
        return [decision.stored() for decision in self.decisions]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The connectors of a channel at one moment, in sending order; `paused` are those that rest."""

    workspace_id: str
    channel_type: str
    connectors: Sequence[Connector]
    paused: Mapping[str, Lane]


async def candidates(session: AsyncSession, workspace_id: str, channel_type: str) -> Candidates:
    at = now()
    found = await connectors.all_of(session, workspace_id, channel_type)
    resting = await lanes.by_ids(session, workspace_id, [connector.id for connector in found])
    paused = {lane.id: lane for lane in resting if lane.paused_until is not None and lane.paused_until > at}
    return Candidates(workspace_id, channel_type, found, paused)


class Router:
    """Chooses by priority; among equals that suit equally well, each in its turn."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._turns: Counter[tuple[str, str]] = Counter()

    def named(self, connector: Connector, message: Outbound) -> Route:
        """The caller named the connector: it is taken as it is, unless it is switched off or cannot carry the message."""
        decision = self._judge(0, connector, message, frozenset())
        if decision.outcome in (RouteOutcome.NOT_VERIFIED, RouteOutcome.CIRCUIT_OPEN):
            decision = self._carries(0, connector, message)
        if decision.outcome is RouteOutcome.FALLBACK:
            decision = Decision(connector, 0, RouteOutcome.CHOSEN, "Named by the caller.", decision.to)
        return Route([decision])

    async def of_channel(
        self,
        session: AsyncSession,
        workspace_id: str,
        channel_type: str,
        message: Outbound,
        tried: Collection[str] = frozenset(),
        waits: bool = False,
    ) -> Route:
        """The usable connector that comes first: priority, then fitness for one-time passwords, then its turn."""
        return self.among(await candidates(session, workspace_id, channel_type), message, tried, waits=waits)

    def among(
        self,
        found: Candidates,
        message: Outbound,
        tried: Collection[str] = frozenset(),
        *,
        waits: bool = False,
        peeks: bool = False,
    ) -> Route:
        """As `of_channel`, of connectors that have been read. With `waits`, and nobody better, the message waits for one whose
        circuit is open; who only `peeks` takes nobody's turn."""
        judged = [self._judge(rank, connector, message, tried) for rank, connector in enumerate(found.connectors)]
        usable = [d for d in judged if d.outcome is RouteOutcome.FALLBACK]
        rested = [d for d in usable if d.connector.id not in found.paused]
        broken = [d for d in judged if waits and d.outcome is RouteOutcome.CIRCUIT_OPEN and d.to is not None]
        chosen = self._next((found.workspace_id, found.channel_type), rested or usable or broken, message.flow, peeks)
        return Route([self._explained(decision, chosen, found.paused) for decision in judged])

    def is_usable(self, connector: Connector) -> bool:
        """Whether it takes messages at all now."""
        return connector.enabled and connector.is_verified and connector.circuit != CircuitState.OPEN

    def _next(self, turn: tuple[str, str], usable: Sequence[Decision], flow: str, peeks: bool) -> Decision | None:
        if not usable:
            return None
        ranks = [(decision.connector.priority, not self._suits(decision.connector, flow)) for decision in usable]
        equals = [decision for decision, rank in zip(usable, ranks, strict=True) if rank == min(ranks)]
        chosen = equals[self._turns[turn] % len(equals)]
        if len(equals) > 1 and not peeks:
            self._turns[turn] += 1
        return chosen

    def _suits(self, connector: Connector, flow: str) -> bool:
        """A number registered for one-time passwords is preferred for them, and left alone otherwise."""
        traffic = self._providers.of(connector).traffic
        return traffic is None or (traffic is TrafficType.TWO_FACTOR) == (flow == "OTP")

    def _explained(self, decision: Decision, chosen: Decision | None, paused: Mapping[str, Lane]) -> Decision:
        if decision is chosen:
            reason = f"Verified and enabled, priority {decision.connector.priority}."
            if decision.outcome is RouteOutcome.CIRCUIT_OPEN:
                reason = "It failed too often of late, but there is no other: the message waits for it."
            return replace(decision, outcome=RouteOutcome.CHOSEN, reason=reason)
        lane = paused.get(decision.connector.id)
        if decision.outcome is RouteOutcome.FALLBACK and lane is not None:
            reason = f"Its provider asked for a pause until {lane.paused_until:%H:%M:%S} UTC."
            return replace(decision, outcome=RouteOutcome.THROTTLED, reason=reason)
        return decision

    def _judge(self, rank: int, connector: Connector, message: Outbound, tried: Collection[str]) -> Decision:
        if not connector.enabled:
            return Decision(connector, rank, RouteOutcome.DISABLED, "The connector is disabled.")
        if not connector.is_verified:
            return Decision(connector, rank, RouteOutcome.NOT_VERIFIED, "Its last check or test did not succeed.")
        if connector.circuit == CircuitState.OPEN:
            return self._broken(rank, connector, message)
        if connector.id in tried:
            return Decision(connector, rank, RouteOutcome.ALREADY_TRIED, "It was tried for this message before.")
        return self._carries(rank, connector, message)

    def _broken(self, rank: int, connector: Connector, message: Outbound) -> Decision:
        """With `to` when its provider would take the message, once it works again."""
        able = self._carries(rank, connector, message)
        if able.outcome is not RouteOutcome.FALLBACK:
            return able
        return replace(able, outcome=RouteOutcome.CIRCUIT_OPEN, reason="It failed too often of late.")

    def _carries(self, rank: int, connector: Connector, message: Outbound) -> Decision:
        """FALLBACK when the provider would take the message as it is."""
        try:
            provider = self._providers.of(connector)
            to = provider.destination(message.to)
            provider.check(message if message.to == to else replace(message, to=to))
        except UnusableError as error:
            return Decision(connector, rank, RouteOutcome.NOT_VERIFIED, str(error))
        except (ValueError, SendError) as refusal:
            return Decision(connector, rank, RouteOutcome.UNSUPPORTED_CONTENT, str(refusal), refusal=refusal)
        reason = f"Usable, with priority {connector.priority} behind the chosen one."
        return Decision(connector, rank, RouteOutcome.FALLBACK, reason, to=to)
