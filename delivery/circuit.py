"""Circuit breakers: a connector that fails too often is given no traffic for a while, then one message to try it with."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict, deque

from sqlalchemy.ext.asyncio import AsyncSession

from channels.errors import FailureKind, SendError
from delivery.verdict import Finished
from models import connectors, lanes
from models.base import now
from models.connectors import CircuitState, Connector
from models.timeline import channel_changed

WINDOW_SECONDS = 60.0
FEWEST = 10
SHARE = 0.5
OPEN_FOR = dt.timedelta(seconds=30)
FAILING = frozenset({FailureKind.TRANSIENT, FailureKind.UNKNOWN_OUTCOME})


class Circuits:
    """What this process has seen of each connector in the last minute. Only the changes of state are stored."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, deque[tuple[float, bool]]] = defaultdict(deque)

    def next_state(self, finished: Finished) -> CircuitState | None:
        """The state an outcome moves its connector's circuit to; None leaves it."""
        result, connector = finished.outcome.result, finished.connector
        failed = isinstance(result, SendError) and result.kind in FAILING
        if isinstance(result, SendError) and result.kind in (FailureKind.THROTTLED, FailureKind.CONFIGURATION):
            return None
        if connector.circuit != CircuitState.CLOSED:
            self._seen.pop(connector.id, None)
            return CircuitState.OPEN if failed else CircuitState.CLOSED
        return CircuitState.OPEN if self._trips(connector.id, failed) else None

    def _trips(self, connector_id: str, failed: bool) -> bool:
        at, seen = time.monotonic(), self._seen[connector_id]
        seen.append((at, failed))
        while seen[0][0] < at - WINDOW_SECONDS:
            seen.popleft()
        failures = sum(bad for _when, bad in seen)
        trips = failed and len(seen) >= FEWEST and failures >= SHARE * len(seen)
        if trips:
            seen.clear()
        return trips


async def change(session: AsyncSession, connector: Connector, state: CircuitState) -> None:
    """Store a circuit's new state and tell of it. Opening an open one gives it another rest."""
    until = now() + OPEN_FOR if state is CircuitState.OPEN else None
    if state is not CircuitState.HALF_OPEN:
        await lanes.open_circuit(session, connector.id, until)
    changed = await connectors.set_circuit(session, connector.workspace_id, connector.id, state)
    if changed is not None:
        channel_changed(session, changed, "updated", connector.stage, "circuit")
