"""Circuit breakers: a connector that fails too often is given no traffic for a while, then one message to try it with."""

from __future__ import annotations

import datetime as dt
import time
from collections import defaultdict, deque

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Accepted
from channels.errors import FailureKind
from delivery.verdict import RELEASED, WORKER_LOST, Finished
from models import connectors, lanes
from models.base import now
from models.connectors import CircuitState, Connector
from models.timeline import channel_changed

FAILING = frozenset({FailureKind.TRANSIENT, FailureKind.UNKNOWN_OUTCOME})
SILENT = frozenset({FailureKind.THROTTLED, FailureKind.CONFIGURATION, FailureKind.EXPIRED})


class Circuits:
    """What this process has seen of each connector of late. Only the changes of state are stored.

    Each process counts by itself: a count they shared would cost a write for every message. What they share is the consequence:
    the process that has seen enough opens the circuit for all of them, and the first that claims through it tries it for all.
    Among n processes a connector may thus fail up to n times `fewest` calls before it rests, which their claims in flight come
    to anyhow; one that fails for one process alone is stopped for all, on purpose, as the others would meet it too.

    A circuit opens for `open_seconds` when of at least `fewest` calls within `window_seconds` a `share` or more failed.
    """

    def __init__(
        self, *, window_seconds: float = 60.0, fewest: int = 10, share: float = 0.5, open_seconds: float = 30.0
    ) -> None:
        self._window = window_seconds
        self._fewest = fewest
        self._share = share
        self._open_for = dt.timedelta(seconds=open_seconds)
        self._seen: defaultdict[str, deque[tuple[float, bool]]] = defaultdict(deque)

    def next_state(self, finished: Finished) -> CircuitState | None:
        """The state an outcome moves its connector's circuit to; None leaves it."""
        failed, connector = _failed(finished), finished.connector
        if failed is None:
            return None
        if connector.circuit != CircuitState.CLOSED:
            self._seen.pop(connector.id, None)
            return CircuitState.OPEN if failed else CircuitState.CLOSED
        return CircuitState.OPEN if self._trips(connector.id, failed) else None

    def _trips(self, connector_id: str, failed: bool) -> bool:
        at, seen = time.monotonic(), self._seen[connector_id]
        seen.append((at, failed))
        while seen[0][0] < at - self._window:
            seen.popleft()
        # Counted for a failure alone: after a success nothing trips, and a busy minute has tens of thousands of them.
        trips = failed and len(seen) >= self._fewest and sum(bad for _when, bad in seen) >= self._share * len(seen)
        if trips:
            seen.clear()
        return trips

    async def change(self, session: AsyncSession, connector: Connector, state: CircuitState) -> None:
        """Store a circuit's new state and tell of it. Opening an open one gives it another rest."""
        until = now() + self._open_for if state is CircuitState.OPEN else None
        if state is not CircuitState.HALF_OPEN:
            await lanes.open_circuit(session, connector.id, until)
        changed = await connectors.set_circuit(session, connector.workspace_id, connector.id, state)
        if changed is not None:
            channel_changed(session, changed, "updated", connector.stage, "circuit")


def _failed(finished: Finished) -> bool | None:
    """Whether the provider let a call down; None for what says nothing of it, such as a process of ours that died."""
    result = finished.outcome.result
    if isinstance(result, Accepted):
        return False
    if result.kind in SILENT or result.code in (WORKER_LOST, *RELEASED):
        return None
    return result.kind in FAILING
