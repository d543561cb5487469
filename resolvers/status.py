"""Why a connector is not ready to send."""

from __future__ import annotations

from models.connectors import CircuitState, ComponentStatus, Connector, Stage, StatusView


def reasons(status: StatusView | Connector) -> list[str]:
    """Sentences for its owner; empty when it is ready."""
    found = []
    if not status.enabled:
        found.append("The connector is disabled.")
    if status.stage == Stage.PROVISIONING:
        found.append("Its checks have not finished yet.")
    elif status.stage in (Stage.DEPROVISIONING, Stage.DEPROVISIONED):
        found.append("It was deleted.")
    elif status.component_status != ComponentStatus.OK:
        found.append(status.status_error or "Its last checks did not succeed.")
    if status.circuit == CircuitState.OPEN:
        found.append("It failed too often of late and is given no traffic.")
    return found
