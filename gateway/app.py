"""Where everything is joined: settings go in, a running gateway comes out. Nothing is built anywhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from channels.base import Report
from channels.egress import Egress
from delivery import receipts
from delivery.checks import Checker
from delivery.providers import Providers
from delivery.route import Router
from delivery.worker import Worker
from gateway.auth import Authenticator
from gateway.connection import Patience
from gateway.graphiql import page
from gateway.http import GraphQLEndpoint
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.sockets import GraphQLSockets
from gateway.spans import traces_of
from models import events, migrate, workspaces
from models.bell import Bell, events_of
from models.connectors import Connector
from models.database import Database
from models.events import Event
from models.tail import Tails
from models.vault import Vault
from models.workspaces import Workspace
from resolvers.acceptance import accept_all
from resolvers.call import Call, Means, available
from resolvers.cursors import Cursors
from resolvers.gather import Gather
from resolvers.viewer import Viewer
from schema.context import Context
from schema.documents import Documents
from schema.roots import build

LARGEST_FRAME = 262_144

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether traffic should come here, and what is wrong if not."""

    ready: bool
    checks: dict[str, str]


class Application:
    """One process of Patchbay. `settings` must hold its keys (`gateway.keys.provide`)."""

    def __init__(self, settings: Settings) -> None:
        if settings.secret_keys is None:
            raise ValueError("settings without secret_keys: call gateway.keys.provide first")
        self.settings = settings
        self.draining = False
        vault = Vault.parse(settings.secret_keys.get_secret_value())
        self.bell = Bell(settings.bus_url)
        self.database = Database(settings.database_url, self._ring)
        self.providers = Providers(vault, Egress(settings.allow_private_addresses), self._report)
        self.router = Router(self.providers)
        self.traces = traces_of(settings)
        self.meters = self.traces.meters()
        self.tails: Tails[Event] = Tails(self._events_after, self._events_head, self._events_oldest, self.bell)
        self.means = Means(
            self.database,
            vault,
            self.providers,
            self.router,
            self.bell,
            self.tails,
            Cursors(vault),
            Gather(accept_all),
            self.meters,
            settings.region,
        )
        self.authenticator = Authenticator(settings, self._workspace)
        self.engine = self.traces.engine(schema := build(), Documents(schema._schema))
        authenticate = self.authenticator.authenticate
        self.endpoint = GraphQLEndpoint(
            self.engine,
            authenticate,
            self.context,
            page if settings.graphiql else None,
            max_body=settings.max_body_bytes,
            origins=settings.allowed_origins,
        )
        patience = Patience(max_message=min(settings.max_body_bytes, LARGEST_FRAME))
        self.sockets = GraphQLSockets(
            self.engine, authenticate, self.context, origins=settings.allowed_origins, patience=patience
        )
        self.worker: Worker | None = None
        self.metrics = Metrics(self.database, self.bell, self.tails, self.sockets, self.meters, self._in_flight)
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: asyncio.Task[None] | None = None

    def context(self, viewer: Viewer) -> Context:
        """What the resolvers of one operation share."""
        return Context(Call(viewer, self.means))

    async def start(self, worker: bool = True) -> None:
        """Begin to work. The database must have been migrated."""
        await self.bell.start()
        await self.providers.start()
        if worker:
            alone = self.database.is_sqlite
            slots, lease = self.settings.worker_concurrency, dt.timedelta(seconds=self.settings.lease_seconds)
            self.worker = Worker(self.database, self.providers, self.router, self.bell, self.meters, slots, alone, lease)
            checker = Checker(self.database, self.providers, self.bell)
            self._tasks = [asyncio.create_task(self.worker.run()), asyncio.create_task(checker.run())]

    async def drain(self) -> None:
        """Say no to new traffic, send the sockets elsewhere, and let the worker begin no more."""
        self.draining = True
        if self.worker is not None and self._leaving is None:
            self._leaving = asyncio.create_task(self.worker.stop(self.settings.drain_seconds))
        await self.sockets.close_all()

    async def stop(self) -> None:
        """Finish what has begun, within the drain time, and let go of everything."""
        await self.drain()
        if self._leaving is not None:
            await self._leaving
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("task_failed", exc_info=result)
        await self.tails.close()
        await self.providers.close()
        await self.bell.stop()
        await self.database.close()
        await asyncio.to_thread(self.traces.close)

    async def health(self) -> Health:
        """What `/readyz` tells."""
        checks = {
            "draining": "yes" if self.draining else "no",
            "database": await self._database_state(),
            "bus": "ok" if self.bell.healthy else "down",
            "worker": self._worker_state(),
        }
        ready = not self.draining and checks["database"] == "ok" and checks["worker"] != "stopped"
        return Health(ready, checks)

    async def _database_state(self) -> str:
        try:
            async with asyncio.timeout(2):
                async with self.database.read() as session:
                    await session.execute(text("SELECT 1"))
                return "ok" if await migrate.is_current(self.database.engine) else "not migrated"
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            return f"unreachable ({type(error).__name__})"

    def _in_flight(self) -> int:
        return self.worker.in_flight if self.worker is not None else 0

    def _worker_state(self) -> str:
        if self.worker is None:
            return "elsewhere"
        return "stopped" if any(task.done() for task in self._tasks) else "ok"

    def _ring(self, workspace_ids: set[str]) -> None:
        for workspace_id in workspace_ids:
            self.bell.ring(events_of(workspace_id))

    async def _report(self, connector: Connector, report: Report) -> None:
        self.meters.deliver(await receipts.take(self.database, connector, report))

    async def _workspace(self, workspace_id: str) -> Workspace | None:
        async with available(self.database.read()) as session:
            return await workspaces.get(session, workspace_id)

    async def _events_after(self, workspace_id: str, after: int, limit: int) -> Sequence[Event]:
        async with self.database.read() as session:
            return await events.after(session, workspace_id, after, limit)

    async def _events_head(self, workspace_id: str) -> int:
        async with self.database.read() as session:
            return await events.head(session, workspace_id)

    async def _events_oldest(self, workspace_id: str) -> int:
        async with self.database.read() as session:
            return await events.oldest(session, workspace_id)
