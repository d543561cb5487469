"""Run a process: listen, answer signals, and leave in good order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from gateway.app import LARGEST_FRAME, Application
from gateway.direct import DirectProtocol
from gateway.routes import serve_paths, watch_paths
from gateway.settings import Settings, SettingsError
from gateway.whole import WholeProtocol

KEEP_ALIVE_SECONDS = 75  # longer than the proxies in front, which would otherwise reuse a connection we just closed
STALLED_MS = 30_000
BACKLOG = 2048
SWITCH_SECONDS = 0.001

log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: it would raise the signal again before we have drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, worker: bool, started: Callable[[str], Awaitable[None]]) -> None:
    """Answer clients, and send messages too when `worker` is set. `started` is told the address."""
    application = Application(settings)
    listener = listen(settings.host, settings.port)
    server = server_of(serve_paths(application), settings)
    stop = _on_signal()
    await application.start(worker)
    _settle_in()
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


def _settle_in() -> None:
    """For a process that has loaded what it will keep: the collector need not walk through that again, and a thread of the
    database, which needs the interpreter for moments only, waits less for its turn."""
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def server_of(app: ASGIApp, settings: Settings) -> Server:
    """An HTTP server that leaves signals, logging and the lifespan to us."""
    config = uvicorn.Config(
        app,
        http=WholeProtocol,
        ws=DirectProtocol,
        ws_max_size=LARGEST_FRAME,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # clients are pinged as graphql-transport-ws does
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
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
        _settle_in()
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
