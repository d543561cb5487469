"""Provisioning: a new or changed connector is checked against its provider, without sending, and its channel comes up or not.

What is due is in the database, so a restart or another worker takes over where one stopped.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from contextlib import suppress

import structlog

from channels.base import Assertion, Check, CheckStatus
from delivery.outage import Outage
from delivery.providers import Providers, UnusableError
from models import connectors
from models.base import now
from models.bell import Bell
from models.connectors import ComponentStatus, Connector, Stage
from models.database import Database
from models.timeline import channel_changed

HINT = "checks"
LIMIT_SECONDS = 30.0
LEASE = dt.timedelta(seconds=60)
POLL_SECONDS = 1.0
AT_ONCE = 8

log = structlog.get_logger()


async def run(database: Database, providers: Providers, connector: Connector, cause: str) -> Connector | None:
    """Check a connector and write down what was found; None when its configuration changed meanwhile."""
    checks = await _verify(providers, connector)
    values = _verdict(checks)
    async with database.write() as session:
        workspace_id, revision = connector.workspace_id, connector.config_revision
        changed = await connectors.set_status(session, workspace_id, connector.id, revision, values)
        if changed is not None:
            channel_changed(session, changed, "updated", connector.stage, cause)
        return changed


async def _verify(providers: Providers, connector: Connector) -> Sequence[Check]:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await providers.of(connector).verify(providers.wire(connector))
    except UnusableError as error:
        return [Check("checks", "Checks", (Assertion("configuration", CheckStatus.INVALID, str(error)),))]
    except TimeoutError:
        message = f"The provider did not answer within {LIMIT_SECONDS:.0f} s."
    except Exception:
        log.exception("checks_broken", connector_id=connector.id)
        message = "The checks could not be run because of an internal error."
    return [Check("checks", "Checks", (Assertion("completed", CheckStatus.INDETERMINATE, message),))]


def _verdict(checks: Sequence[Check]) -> dict[str, object]:
    found = {check.status for check in checks}
    failed = not found.isdisjoint((CheckStatus.ERROR, CheckStatus.INVALID))
    unsure = CheckStatus.INDETERMINATE in found
    status = ComponentStatus.ERROR if failed else ComponentStatus.UNKNOWN if unsure else ComponentStatus.OK
    wrong = (CheckStatus.ERROR, CheckStatus.INVALID, CheckStatus.INDETERMINATE)
    messages = [assertion.message for check in checks for assertion in check.assertions if assertion.status in wrong]
    at = now()
    return {
        "stage": Stage.ACTIVE if status is ComponentStatus.OK else Stage.INACTIVE,
        "component_status": status,
        "status_error": " ".join(messages)[:1000] or None,
        "checks": [_stored(check) for check in checks],
        "checks_run_at": at,
        "check_due_at": None,
        "is_verified": status is ComponentStatus.OK,
        **({"verified_at": at, "held_since": None} if status is ComponentStatus.OK else {}),
    }


def _stored(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "display_name": check.display_name,
        "status": check.status.value,
        "assertions": [_stored_assertion(assertion) for assertion in check.assertions],
    }


def _stored_assertion(found: Assertion) -> dict[str, object]:
    stored: dict[str, object] = {"name": found.name, "status": found.status.value, "message": found.message}
    return {**stored, "number": found.number} if found.number else stored


class Checker:
    """Runs the checks that are due, a few at once, until it is stopped."""

    def __init__(self, database: Database, providers: Providers, bell: Bell) -> None:
        self._database = database
        self._providers = providers
        self._bell = bell
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._outage = Outage()

    async def run(self) -> None:
        unlisten = self._bell.listen(lambda hint: self._wake.set() if hint == HINT else None)
        try:
            while True:
                self._wake.clear()
                await self._start_due()
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):  # wait_for of 3.11 may swallow a cancellation
                        await self._wake.wait()
        finally:
            unlisten()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _start_due(self) -> None:
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return
        try:
            async with self._database.read() as session:
                due = await connectors.check_due(session, now(), room)
            for connector in due:
                async with self._database.write() as session:
                    mine = await connectors.lease_check(session, connector, now() + LEASE)
                if mine:
                    self._start(connector)
            self._outage.over()
        except Exception as error:
            self._outage.met(error, "checks_not_read")

    def _start(self, connector: Connector) -> None:
        task = asyncio.create_task(self._check(connector))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _check(self, connector: Connector) -> None:
        try:
            await run(self._database, self._providers, connector, "provisioning")
        except Exception as error:
            self._outage.met(error, "checks_not_stored", connector_id=connector.id)
        self._wake.set()
