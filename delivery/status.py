"""Why a connector is not ready to send, and a message waits for it."""

from __future__ import annotations

from typing import Any

from channels.base import CheckStatus
from models.connectors import CircuitState, ComponentStatus, Connector, Stage, StatusView
from models.messages import Message

_FAULTS = {
    CheckStatus.ERROR: ComponentStatus.ERROR,
    CheckStatus.INVALID: ComponentStatus.ERROR,
    CheckStatus.INDETERMINATE: ComponentStatus.UNKNOWN,
}


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
    if status.held_since is not None:
        found.append("Its provider refused it, not the message: what waits for it is kept until it is verified or changed.")
    if status.circuit == CircuitState.OPEN:
        found.append("It failed too often of late and is given no traffic.")
    return found


def number(status: StatusView) -> tuple[ComponentStatus, str | None] | None:
    """How the number messages come from is, by the last checks, and what is wrong; None where they did not look at it."""
    found = next((check for check in status.checks or () if check["name"] == "phone_number"), None)
    if found is None:
        return None
    wrong = [assertion["message"] for assertion in found["assertions"] if assertion["status"] in _FAULTS]
    return _FAULTS.get(found["status"], ComponentStatus.OK), " ".join(wrong) or None


def route(message: Message, through: Connector | None) -> list[dict[str, Any]]:
    """The route of a message as it was decided; where it waits for a connector that is held, with the reason."""
    if through is None or through.held_since is None:
        return list(message.route)
    reason = f"The message waits until the connector works again: {through.status_error}"
    return [{**row, "reason": reason} if row["connector_id"] == through.id else row for row in message.route]
