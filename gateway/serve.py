"""Run a process: listen, answer signals, and leave in good order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from alembic.util import CommandError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp

from gateway.app import LARGEST_FRAME, Application
from gateway.routes import serve_paths, watch_paths
from gateway.settings import Settings, SettingsError, variable
from models import migrate, workspaces
from models.database import Database
from models.workspaces import Workspace

KEEP_ALIVE_SECONDS = 75  # longer than the proxies in front, which would otherwise reuse a connection we just closed
STALLED_MS = 30_000
BACKLOG = 2048

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: it would raise the signal again before we have drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def only_process(settings: Settings) -> Iterator[None]:
    """Hold the SQLite database for this process. Raises SettingsError when another one has it."""
    path = settings.database_file
    if path is None:
        yield
        return
    with open_database(settings):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = Path(f"{path}.lock").open("a")
    with lock as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{path} is in use by another Patchbay; SQLite serves one process at a time.") from None
        yield


@contextmanager
def open_database(settings: Settings) -> Iterator[None]:
    """Turn what keeps a database from being used into a SettingsError."""
    try:
        yield
    except CommandError:
        reason = f"another version of Patchbay migrated it; this one ends at migration {migrate.newest()}"
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        return
    url = make_url(settings.database_url)
    place = settings.database_file or f"{url.host or 'localhost'}/{url.database}"
    raise SettingsError(f"{variable('database_url')}: {place} cannot be used ({reason}).")


@asynccontextmanager
async def current_database(settings: Settings) -> AsyncIterator[Database]:
    """The database with every migration: run here on SQLite, while PostgreSQL must have been migrated."""
    database = Database(settings.database_url)
    try:
        with open_database(settings):
            if not await migrate.is_current(database.engine):
                if not database.is_sqlite:
                    raise SettingsError("The database is not up to date; run `patchbay migrate` first.")
                await migrate.upgrade(database.engine)
                log.info("migrated", migration=migrate.newest())
        yield database
    finally:
        await database.close()


async def prepare(settings: Settings, demo: str) -> Workspace:
    """Bring the database up to date, and give an empty one its first workspace."""
    async with current_database(settings) as database, database.write() as session:
        return await workspaces.first_or_create(session, demo)


async def serve(settings: Settings, worker: bool, started: Callable[[str], Awaitable[None]]) -> None:
    """Answer clients, and send messages too when `worker` is set. `started` is told the address."""
    application = Application(settings)
    listener = listen(settings.host, settings.port)
    server = server_of(serve_paths(application), settings)
    stop = _on_signal()
    await application.start(worker)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        log.info("started", database=application.database.engine.name, worker=worker)
        await started(f"http://{_shown(settings.host)}:{listener.getsockname()[1]}")
        await asyncio.wait({serving, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        await application.drain()
    finally:
        server.should_exit = True
        await serving
        await application.stop()
        log.info("stopped")


def server_of(app: ASGIApp, settings: Settings) -> Server:
    """An HTTP server that leaves signals, logging and the lifespan to us."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=LARGEST_FRAME,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    return Server(config)


async def work(settings: Settings) -> None:
    """Send messages without answering clients; with a metrics port, answer whoever watches."""
    application = Application(settings)
    stop = _on_signal()
    async with watched(application):
        await application.start(worker=True)
        try:
            log.info("started", database=application.database.engine.name, worker=True)
            await stop.wait()
            log.info("stopping")
        finally:
            await application.stop()
            log.info("stopped")


@asynccontextmanager
async def watched(application: Application) -> AsyncIterator[int | None]:
    """Answer health and metrics on the metrics port, and say which it is; None where none is set."""
    settings = application.settings
    if settings.metrics_port is None:
        yield None
        return
    with listen(settings.host, settings.metrics_port) as listener:
        server = server_of(watch_paths(application), settings)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Its protocol is named, or asyncio would not switch Nagle's delay off; a peer that takes nothing
    for half a minute is cut off."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    family, kind, _proto, _name, address = found[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingsError(f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _shown(host: str) -> str:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return wildcard.get(host, f"[{host}]" if ":" in host else host)


def _on_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first)
    return stop
