"""Finding out whom a provider's call is for. Everything here crosses workspaces, because a call comes without one: it must have
shown a connector's key, or be signed or carry a token of the whole installation, before anything here is believed."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from channels.base import Inbound, Provider, Received, Report
from channels.callbacks import Callback, CallbackRefusedError, Refusal, Reply
from delivery import inbound
from delivery.intake import Intake
from delivery.providers import Providers, UnusableError
from models import doors, recipients
from models.connectors import ComponentStatus, Connector
from models.database import Database
from models.vault import Vault

REMEMBERED, REMEMBERED_SECONDS = 1_000, 2.0
WRONG_SIGNATURE = "Calls come, but they are not signed with the secret this connector has."

log = structlog.get_logger()


class Doors:
    """One for a process. A connector is read again after two seconds: in a storm, every call would read it."""

    def __init__(self, database: Database, providers: Providers, intake: Intake, vault: Vault) -> None:
        self._vault = vault
        self._database = database
        self._providers = providers
        self._intake = intake
        self._known: OrderedDict[str, tuple[float, Connector | None]] = OrderedDict()

    async def behind(self, connector_id: str, key: str) -> Connector:
        """The connector whose address was called. Raises CallbackRefusedError(NOT_ENABLED) for any other address."""
        connector = await self._remembered(connector_id)
        kept = connector.hook_key if connector is not None else "-"
        if not hmac.compare_digest(kept.encode(), key.encode("utf-8", "replace")) or connector is None:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        return connector

    async def take(self, connector: Connector, callback: Callback) -> Reply:
        """Believe the call or raise CallbackRefusedError, and store what it says."""
        provider = self._provider(connector)
        try:
            provider.authenticate(callback)
        except CallbackRefusedError as error:
            if error.refusal is Refusal.NOT_AUTHENTIC:
                await self._note(connector, ComponentStatus.ERROR, WRONG_SIGNATURE)
            raise
        received = provider.receive(callback)
        await self._intake.take(connector, received)
        await self._note(connector, ComponentStatus.OK, None)
        return received.reply

    async def take_lines(self, provider: type[Provider], received: Received, trusts: Callable[[Provider], bool]) -> None:
        """Store what one call said of several connectors, each by its `line`. Where connectors of several workspaces claim a
        line, only those are told that `trusts` finds to know the secret the call was signed with."""
        told = [report.line for report in received.reports] + [one.line for one in received.inbounds]
        lines = {line for line in told if line}
        async with self._database.read() as session:
            found = await doors.by_line(session, provider.about.provider, sorted(lines))
        claims: defaultdict[str | None, list[Connector]] = defaultdict(list)
        for connector in found:
            claims[connector.identifier].append(connector)
        for line in lines - claims.keys():
            log.info("callback_for_unknown_line", provider=provider.about.provider, line=line)
        for claimed in claims.values():
            for connector in self._rightful(claimed, trusts):
                await self._intake.take(connector, received)
                await self._note(connector, ComponentStatus.OK, None)

    def _rightful(self, claimed: Sequence[Connector], trusts: Callable[[Provider], bool]) -> Sequence[Connector]:
        if len({connector.workspace_id for connector in claimed}) == 1:
            return claimed
        log.warning("line_claimed_by_several_workspaces", connectors=len(claimed))
        return [connector for connector in claimed if self._is_trusted(connector, trusts)]

    def _is_trusted(self, connector: Connector, trusts: Callable[[Provider], bool]) -> bool:
        try:
            return trusts(self._providers.of(connector))
        except UnusableError:
            return False

    async def take_reports(self, reports: Sequence[Report]) -> None:
        """Store receipts whose `line` is a connector's id, or of which nobody says whose they are."""
        by_connector: defaultdict[str | None, list[Report]] = defaultdict(list)
        for report in reports:
            by_connector[report.line].append(replace(report, line=None))
        for connector_id, told in by_connector.items():
            connector = await self._remembered(connector_id) if connector_id else None
            if connector is not None and connector.channel_type == "SMS":
                await self._intake.take(connector, Received(reports=tuple(told)))
            elif connector_id is None:
                await self._intake.take_at_large(told)

    async def take_text(self, text: Inbound) -> int:
        """Store a message from a phone with each workspace that has sent an SMS to it before, if possible from the number it
        was written to; how many those are."""
        marks = recipients.marks(self._vault, "SMS", text.sender)
        async with self._database.read() as session:
            found = await doors.senders_to(session, "SMS", text.sender, marks, text.line)
        found = [one for one in found if one.identifier == text.to] or found
        latest = {connector.workspace_id: connector for connector in found}
        for connector in latest.values():
            await self._intake.take(connector, Received(inbounds=(replace(text, line=None),)))
        if not latest:
            log.info("text_without_prior_message", recipient=text.sender)
        return len(latest)

    def _provider(self, connector: Connector) -> Provider:
        try:
            return self._providers.of(connector)
        except UnusableError:
            raise CallbackRefusedError(Refusal.NOT_ENABLED) from None

    async def _remembered(self, connector_id: str) -> Connector | None:
        known = self._known.get(connector_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        async with self._database.read() as session:
            connector = await doors.behind_door(session, connector_id)
        self._remember(connector_id, connector)
        return connector

    def _remember(self, connector_id: str, connector: Connector | None) -> None:
        self._known[connector_id] = (time.monotonic() + REMEMBERED_SECONDS, connector)
        self._known.move_to_end(connector_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def _note(self, connector: Connector, status: ComponentStatus, error: str | None) -> None:
        """Have the connector's status tell how its callbacks go, when that is news."""
        changed = await inbound.note(self._database, connector, status, error)
        if changed is not None and connector.id in self._known:
            self._remember(connector.id, changed)
