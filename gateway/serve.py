"""Run a process: listen, answer signals, and leave in good order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvicorn

from gateway.app import Application
from gateway.routes import serve_paths
from gateway.settings import Settings, SettingsError
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
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(f"{path}.lock").open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{path} is in use by another Patchbay; SQLite serves one process at a time.") from None
        yield


async def prepare(settings: Settings, demo: str) -> Workspace:
    """Migrate a SQLite database and give an empty one its first workspace. PostgreSQL must have been migrated."""
    database = Database(settings.database_url)
    try:
        if database.is_sqlite:
            await migrate.upgrade(database.engine)
        elif not await migrate.is_current(database.engine):
            raise SettingsError("The database is not up to date; run `patchbay migrate` first.")
        async with database.write() as session:
            return await workspaces.first_or_create(session, demo)
    finally:
        await database.close()


async def serve(settings: Settings, worker: bool, started: Callable[[str], Awaitable[None]]) -> None:
    """Answer clients, and send messages too when `worker` is set. `started` is told the address."""
    application = Application(settings)
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        serve_paths(application),
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = Server(config)
    stop = _on_signal()
    await application.start(worker)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await started(f"http://{_shown(settings.host)}:{listener.getsockname()[1]}")
        await asyncio.wait({serving, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        await application.drain()
    finally:
        server.should_exit = True
        await serving
        await application.stop()
        log.info("stopped")


async def work(settings: Settings) -> None:
    """Send messages without answering clients."""
    application = Application(settings)
    stop = _on_signal()
    await application.start(worker=True)
    try:
        await stop.wait()
    finally:
        await application.stop()
        log.info("stopped")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Its protocol is named, or asyncio would not switch Nagle's delay off; a peer that takes nothing
    for half a minute is cut off."""
    family, kind, _proto, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
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
