"""Seeing to it that messages come in where a provider does not call us by itself: it is told to where it can reach us, asked
where it cannot. One process has a connector at a time; what was heard and how far is one transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from contextlib import suppress

import structlog

from channels import BY_REF
from channels.base import Provider
from channels.errors import SendError
from delivery import inbound
from delivery.providers import Providers, UnusableError
from models import listeners
from models.base import now
from models.connectors import ComponentStatus, Connector
from models.database import Database, is_passing
from models.listeners import Listener
from models.vault import Vault

LOOK_SECONDS = 2.0
LEASE = dt.timedelta(seconds=90)
RENEW_SECONDS = 30.0
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

LISTENED_TO = [ref for ref, provider in BY_REF.items() if provider.listens is not Provider.listens]

log = structlog.get_logger()


class Listening:
    """One for a process that works."""

    def __init__(self, database: Database, providers: Providers, vault: Vault, look_seconds: float = LOOK_SECONDS) -> None:
        self._database = database
        self._vault = vault
        self._providers = providers
        self._name = uuid.uuid4().hex
        self._look_seconds = look_seconds
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._look()
                except Exception as error:
                    if not is_passing(error):
                        log.exception("listeners_not_read")
                await asyncio.sleep(self._look_seconds)
        finally:
            await self._stop()

    async def _look(self) -> None:
        """Begin with connectors that are new, end with those that are gone, begin anew with those that have changed."""
        async with self._database.read() as session:
            candidates = await listeners.candidates(session, LISTENED_TO)
        found = {connector.id: connector for connector, url in candidates if url is not None or self._is_wanted(connector)}
        for connector_id, (revision, task) in list(self._tasks.items()):
            connector = found.get(connector_id)
            if task.done() or connector is None or connector.config_revision != revision:
                task.cancel()
                del self._tasks[connector_id]
        for connector_id, connector in found.items():
            if connector_id not in self._tasks:
                self._tasks[connector_id] = (connector.config_revision, asyncio.create_task(self._listen(connector)))

    def _is_wanted(self, connector: Connector) -> bool:
        try:
            return self._providers.of(connector).listens
        except UnusableError:
            return False

    async def _stop(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(Exception):
            async with self._database.write() as session:
                await listeners.release(session, self._name)

    async def _listen(self, connector: Connector) -> None:
        """Keep at it until cancelled; after a failure, pause longer and longer."""
        pause = SHORTEST_PAUSE
        while True:
            try:
                await asyncio.sleep(await self._turn(connector))
                pause = SHORTEST_PAUSE
            except UnusableError:
                return
            except SendError as error:
                await self._note(connector, ComponentStatus.ERROR, error.message)
                pause = max(pause, error.retry_after or 0)
                await asyncio.sleep(pause)
            except Exception as error:
                if not is_passing(error):
                    log.exception("listening_broken", connector_id=connector.id)
                await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _turn(self, connector: Connector) -> float:
        """Do what is to be done now; the seconds until the next time."""
        provider = self._providers.of(connector)
        async with self._database.write() as session:
            mine = await listeners.claim(session, connector, self._name, now() + LEASE)
        if mine is None:
            return RENEW_SECONDS
        if not provider.listens:
            await self._end(connector, provider, mine)
            return RENEW_SECONDS
        url = self._providers.callback_url(connector)
        if url is None or not url.startswith("https://"):
            await self._ask(connector, provider, mine)
            return 0
        await self._subscribe(connector, provider, mine, url)
        return RENEW_SECONDS

    async def _subscribe(self, connector: Connector, provider: Provider, mine: Listener, url: str) -> None:
        if (mine.subscribed, mine.config_revision) == (url, connector.config_revision):
            return
        await provider.subscribe(self._providers.wire(connector))
        async with self._database.write() as session:
            await listeners.subscribed(session, connector, self._name, url)
        await self._note(connector, ComponentStatus.OK, None)

    async def _end(self, connector: Connector, provider: Provider, mine: Listener) -> None:
        """Have a provider that was told to call us stop."""
        if mine.subscribed is not None:
            await provider.unsubscribe(self._providers.wire(connector))
            async with self._database.write() as session:
                await listeners.subscribed(session, connector, self._name, None)

    async def _ask(self, connector: Connector, provider: Provider, mine: Listener) -> None:
        polled = await provider.poll(self._providers.wire(connector), mine.cursor)
        async with self._database.write() as session:
            if polled.cursor == mine.cursor or await listeners.advance(session, connector, self._name, polled.cursor):
                await inbound.take(session, connector, polled.inbounds, self._vault)
        await self._note(connector, ComponentStatus.OK, None)

    async def _note(self, connector: Connector, status: ComponentStatus, error: str | None) -> None:
        changed = await inbound.note(self._database, connector, status, error)
        if changed is not None:
            connector.inbound_status, connector.inbound_error = changed.inbound_status, changed.inbound_error
