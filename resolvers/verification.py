"""Is a connector working? By its checks, which send nothing, or by a real test message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from channels.base import Accepted, Provider
from channels.errors import SendError
from channels.exchange import Stage as TestStage
from delivery import checks
from delivery.attempt import hand_over
from delivery.providers import UnusableError
from delivery.verdict import Outcome
from models import connectors as rows
from models import ids
from models.base import now
from models.connectors import ComponentStatus, Connector, Stage
from models.timeline import channel_changed
from resolvers import audit, connectors
from resolvers.call import Call
from resolvers.problems import Problem, UserErrorCode

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a test message. `problem` is set when the provider did not take it."""

    connector: Connector
    tested_at: dt.datetime
    delivery_time_ms: int
    stages: Sequence[TestStage]
    message: str
    problem: Problem | None = None


async def verify(call: Call, connector_id: str) -> Connector:
    """Run the template's checks now and answer with what they found."""
    call.require(connectors.WRITE)
    await call.spend("connectorVerify")
    async with call.read() as session:
        connector = await connectors.found(session, call, connector_id)
    checked = await checks.run(call.means.database, call.means.providers, connector, "verify")
    if checked is None:
        raise Problem(UserErrorCode.REVISION_CONFLICT, "The configuration was changed during the checks.", ["input", "id"])
    return checked


async def test(call: Call, connector_id: str, destination: str) -> Trial:
    """Send a real test message. Raises INVALID_DESTINATION before anything is sent."""
    call.require(connectors.WRITE)
    await call.spend("connectorTest")
    async with call.read() as session:
        connector = await connectors.found(session, call, connector_id)
    provider = usable(call, connector)
    try:
        to = provider.destination(destination)
    except ValueError as error:
        raise Problem(UserErrorCode.INVALID_DESTINATION, str(error), ["input", "testDestination"]) from None
    message = provider.test_message(to, ids.new_id(ids.MESSAGE))
    outcome = await hand_over(provider, call.means.providers.wire(connector), message)
    log.info("connector_tested", connector_id=connector.id, ok=isinstance(outcome.result, Accepted))
    return await _conclude(call, connector, outcome)


def usable(call: Call, connector: Connector) -> Provider:
    """The provider a connector configures. Raises INVALID_STATE when what is stored is of no use any more."""
    try:
        return call.means.providers.of(connector)
    except UnusableError as error:
        raise Problem(UserErrorCode.INVALID_STATE, str(error), ["input", "id"]) from None


async def _conclude(call: Call, connector: Connector, outcome: Outcome) -> Trial:
    at, took = now(), round(outcome.duration_ms or 0)
    error = outcome.result if isinstance(outcome.result, SendError) else None
    values = _broken(error) if error else _working(at)
    changed: Connector | None = connector
    async with call.write() as session:
        after = {"success": error is None, "isVerified": error is None}
        audit.record(call, session, "connectorTest", connector.id, {"isVerified": connector.is_verified}, after)
        if error is None or connector.is_verified:
            workspace_id, revision = call.workspace_id, connector.config_revision
            changed = await rows.set_status(session, workspace_id, connector.id, revision, values)
            if changed is not None:
                channel_changed(session, changed, "updated", connector.stage, "test")
    message = error.message if error else "Test message sent successfully"
    problem = delivery_problem(error, outcome, took) if error else None
    return Trial(changed or connector, at, took, outcome.exchange.stages, message, problem)


def _working(at: dt.datetime) -> dict[str, Any]:
    return {
        "is_verified": True,
        "verified_at": at,
        "stage": Stage.ACTIVE,
        "component_status": ComponentStatus.OK,
        "status_error": None,
        "check_due_at": None,
        "held_since": None,
    }


def _broken(error: SendError) -> dict[str, Any]:
    return {
        "is_verified": False,
        "stage": Stage.INACTIVE,
        "component_status": ComponentStatus.ERROR,
        "status_error": error.message[:1000],
    }


def delivery_problem(error: SendError, outcome: Outcome, took: int) -> Problem:
    failed = next((stage.name.value for stage in outcome.exchange.stages if not stage.ok), None)
    return Problem(
        UserErrorCode.CONNECTOR_DELIVERY_FAILED,
        error.message,
        ["input", "id"],
        providerCode=error.provider_code or error.code,
        providerMessage=error.provider_message,
        stage=failed,
        deliveryTimeMs=took,
    )
