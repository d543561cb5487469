"""Where everything is joined: settings go in, a running gateway comes out. Nothing is built anywhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from channels.base import Inbound, Received, Report
from channels.egress import Egress
from delivery.checks import Checker
from delivery.doors import Doors
from delivery.gather import Gather
from delivery.intake import Intake
from delivery.lines import Platform
from delivery.listening import Listening
from delivery.providers import Providers
from delivery.receivers import Receivers
from delivery.retention import Keeper
from delivery.route import Router
from delivery.webhook_attempts import Courier
from delivery.webhooks import Webhooks
from delivery.worker import Claiming, Worker, claim_nothing
from gateway import persisted
from gateway.auth import Authenticator
from gateway.connection import Patience
from gateway.graphiql import page
from gateway.http import GraphQLEndpoint
from gateway.key_ring import KeyRing
from gateway.metrics import Metrics
from gateway.setting_types import words
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
from resolvers.call import Call, Looking, Means
from resolvers.cursors import Cursors
from resolvers.events import scope_of
from resolvers.rates import Rates
from resolvers.viewer import Viewer
from schema.context import Context
from schema.documents import Documents, Operation
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
        egress, cursors = Egress(settings.allow_private_addresses), Cursors(vault)
        self.providers = Providers(vault, egress, self._report, settings.public_url, _platform(settings))
        self.receivers = Receivers(egress, settings.webhook_http)
        courier = Courier(vault, self.receivers, lambda workspace_id, seq: cursors.seal(scope_of(workspace_id), (seq,)))
        self.router = Router(self.providers)
        self.traces = traces_of(settings)
        self.meters = self.traces.meters()
        self.intake = Intake(self.database, self.meters, vault)
        self.doors = Doors(self.database, self.providers, self.intake, vault)
        self.tails: Tails[Event] = Tails(self._events_after, self._events_head, self._events_oldest, self.bell)
        self.rates = Rates(settings.rates)
        self.means = Means(
            self.database,
            vault,
            self.providers,
            self.router,
            self.bell,
            self.tails,
            cursors,
            Gather(accept_all),
            self.meters,
            self.rates,
            courier,
            self._express,
            settings.region,
            settings.protected_sender_names,
            words(settings.invitation_tokens),
        )
        self.keys = KeyRing(self.database, self.bell)
        self.authenticator = Authenticator(settings, self._workspace, self.keys.admit)
        schema, listed = build(), persisted.load(settings.persisted_operations)
        documents = Documents(
            schema._schema, listed=listed, listed_only=settings.persisted_only, compiles=settings.compile_operations
        )
        self.engine = self.traces.engine(schema, documents)
        authenticate = self.authenticator.authenticate
        self.endpoint = GraphQLEndpoint(
            self.engine,
            authenticate,
            self.context,
            page if settings.graphiql else None,
            max_body=settings.max_body_bytes,
            origins=settings.allowed_origins,
            meter=self.rates.take_requests,
        )
        patience = Patience(max_message=min(settings.max_body_bytes, LARGEST_FRAME))
        self.sockets = GraphQLSockets(
            self.engine,
            authenticate,
            self.context,
            origins=settings.allowed_origins,
            patience=patience,
            meter=self.rates.take_requests,
        )
        self.keys.watch(self.sockets)
        self.keys.watch(self.endpoint.streams)
        self.worker: Worker | None = None
        self.webhooks: Webhooks | None = None
        self.metrics = Metrics(
            self.database, self.bell, self.tails, self.sockets, self.endpoint.streams, self.meters, self._in_flight
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._leaving: asyncio.Future[list[None]] | None = None

    def context(self, viewer: Viewer, operation: Operation | None = None) -> Context:
        """What the resolvers of one operation share."""
        return Context(Call(viewer, self.means), operation)

    def _express(self, passwords: Counter[str]) -> AbstractAsyncContextManager[Claiming]:
        """Past the queue, where there is a worker in this process."""
        return self.worker.express(passwords) if self.worker and passwords else nullcontext(claim_nothing)

    async def start(self, worker: bool = True) -> None:
        """Begin to work. The database must have been migrated."""
        for name, reason in self.engine.documents.unusable().items():
            log.warning("persisted_operation_refused", id=name, reason=reason)
        await self.bell.start()
        await self.providers.start()
        self._watching = asyncio.create_task(self.keys.run())
        await self.receivers.start()
        if worker:
            alone = self.database.is_sqlite
            slots, lease = self.settings.worker_concurrency, dt.timedelta(seconds=self.settings.lease_seconds)
            self.worker = Worker(self.database, self.providers, self.router, self.bell, self.meters, slots, alone, lease)
            self.webhooks = self._webhooks()
            checker = Checker(self.database, self.providers, self.bell)
            keeper = Keeper(self.database, self.means.vault, self.settings.event_retention_days)
            listening = Listening(self.database, self.providers, self.means.vault)
            chores = (self.worker, self.webhooks, checker, keeper, listening)
            self._tasks = [asyncio.create_task(chore.run()) for chore in chores]

    def _webhooks(self) -> Webhooks:
        settings = self.settings
        slots, kept = settings.webhook_concurrency, dt.timedelta(days=settings.webhook_retention_days)
        return Webhooks(self.database, self.means.courier, self.bell, self.meters, slots, kept)

    async def drain(self) -> None:
        """Say no to new traffic, send sockets and streams elsewhere, and let the worker begin no more."""
        self.draining = True
        if self._leaving is None:
            workers = [each for each in (self.worker, self.webhooks) if each is not None]
            self._leaving = asyncio.gather(*(each.stop(self.settings.drain_seconds) for each in workers))
        await asyncio.gather(self.sockets.close_all(), self.endpoint.streams.close_all())

    async def stop(self) -> None:
        """Finish what has begun, within the drain time, and let go of everything."""
        await self.drain()
        if self._leaving is not None:
            await self._leaving
        tasks = [*self._tasks, self._watching] if self._watching else self._tasks
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("task_failed", exc_info=result)
        await self.tails.close()
        await self.providers.close()
        await self.receivers.close()
        await self.intake.close()
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

    async def _report(self, connector: Connector, told: Report | Inbound) -> None:
        received = Received(reports=(told,)) if isinstance(told, Report) else Received(inbounds=(told,))
        await self.intake.take(connector, received)

    async def _workspace(self, workspace_id: str) -> Workspace | None:
        async with Looking(self.database.reader) as reader:
            return await workspaces.shown(reader, workspace_id)

    async def _events_after(self, workspace_id: str, after: int, limit: int) -> Sequence[Event]:
        async with self.database.read() as session:
            return await events.after(session, workspace_id, after, limit)

    async def _events_head(self, workspace_id: str) -> int:
        return await events.newest(self.database.reader, workspace_id)

    async def _events_oldest(self, workspace_id: str) -> int:
        async with self.database.read() as session:
            return await events.oldest(session, workspace_id)


def _platform(settings: Settings) -> Platform:
    """The WhatsApp line of organizations that have none of their own."""
    token = settings.whatsapp_access_token
    return Platform(
        phone_number_id=settings.whatsapp_phone_number_id,
        access_token=token.get_secret_value() if token is not None else None,
        owners=dict(entry.split("=") for entry in settings.whatsapp_line_map),
        is_enabled=settings.whatsapp_cloud_api_enabled,
    )
