"""A whole gateway for a test: real database, real sockets, real tokens; and clients that speak to it."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg  # type: ignore[import-untyped]
import uvicorn
import websockets
from alembic import command
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from gateway import keys
from gateway.app import Application
from gateway.auth import mint
from gateway.direct import DirectProtocol
from gateway.routes import serve_paths
from gateway.serve import Server, listen
from gateway.settings import Settings
from gateway.whole import WholeProtocol
from models import migrate, workspaces
from models.database import Database
from models.workspaces import Workspace

Json = Any
REQUIRED = os.environ.get("PATCHBAY_TEST_REQUIRE_SERVICES") == "1"
POSTGRESQL = os.environ.get("PATCHBAY_TEST_POSTGRESQL", "")  # postgresql://user@host, to run on it instead of SQLite
_OWN = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")  # a numbered part of Redis for each process of tests
REDIS = f"{given}/{_OWN}" if (given := os.environ.get("PATCHBAY_TEST_REDIS")) else "memory://"
UNLIMITED = {name: "1000000/1" for name in Settings.model_fields if name.startswith("rate_limit_")} | {
    "auth_failures": "1000000/1"
}
_TEMPLATES: set[str] = set()  # servers that have a migrated database of this process's to copy
KEYS = {"secret_keys": "test:" + "A" * 43 + "=", "jwt_secret": "a secret of at least thirty-two bytes"}


class Gateway:
    """A running process's application, with what a test needs of it."""

    def __init__(self, application: Application, url: str, http: aiohttp.ClientSession, demo: Workspace) -> None:
        self.application = application
        self.url = url
        self.http = http
        self.demo = demo

    def token(
        self,
        *scopes: str,
        workspace: Workspace | None = None,
        admin: bool = False,
        seconds: float = 3600,
        subject: str = "tester",
    ) -> str:
        """A token of the demo workspace, or of another one; every scope unless some are named."""
        named = workspace or self.demo
        lifetime = dt.timedelta(seconds=seconds)
        return mint(self.application.settings, named.id, subject, list(scopes) or ["*"], lifetime, admin=admin)

    async def workspace(self, name: str) -> Workspace:
        async with self.application.database.write() as session:
            return await workspaces.create(session, name)

    async def post(self, query: str, variables: Json = None, token: str | None = None) -> Json:
        """The whole answer to one operation."""
        headers = {"authorization": f"Bearer {token or self.token()}", "accept": "application/json"}
        body = {"query": query, "variables": variables or {}}
        async with self.http.post(f"{self.url}/graphql", json=body, headers=headers) as response:
            return await response.json()

    async def gql(self, query: str, token: str | None = None, **variables: Json) -> Json:
        """The data of an operation that must succeed."""
        answer = await self.post(query, variables, token)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def followed(self, logs: int = 1) -> None:
        """Wait until subscribers follow so many workspaces' logs: what happens from now on, they hear."""

        async def following() -> bool:
            return len(self.application.tails.heads()) >= logs

        await eventually(following)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self.application.database.read() as session:
            yield session

    @asynccontextmanager
    async def socket(self, token: str | None = None) -> AsyncIterator[Socket]:
        """A websocket that has been acknowledged."""
        address = self.url.replace("http", "ws") + "/graphql"
        subprotocol = websockets.Subprotocol("graphql-transport-ws")
        async with websockets.connect(address, subprotocols=[subprotocol]) as connection:
            payload = {"authorization": f"Bearer {token or self.token()}"}
            await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert json.loads(await connection.recv()) == {"type": "connection_ack"}
            socket = Socket(connection)
            try:
                yield socket
            finally:
                socket.reader.cancel()
                await asyncio.gather(socket.reader, return_exceptions=True)


class Socket:
    """Subscriptions over one websocket, their frames kept apart."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection
        self._waiting: dict[str, asyncio.Queue[Json]] = {}
        self.reader = asyncio.create_task(self._read())

    async def subscribe(self, query: str, **variables: Json) -> Stream:
        key = f"s{len(self._waiting)}"
        self._waiting[key] = asyncio.Queue()
        payload = {"query": query, "variables": variables}
        await self.connection.send(json.dumps({"id": key, "type": "subscribe", "payload": payload}))
        return Stream(self, key, self._waiting[key])

    async def _read(self) -> None:
        async for text in self.connection:
            frame = json.loads(text)
            if frame["type"] == "ping":
                await self.connection.send('{"type":"pong"}')
            elif "id" in frame:
                self._waiting[frame["id"]].put_nowait(frame)


class Stream:
    """The frames of one subscription."""

    def __init__(self, socket: Socket, key: str, frames: asyncio.Queue[Json]) -> None:
        self._socket = socket
        self._key = key
        self._frames = frames

    async def frame(self, seconds: float = 10) -> Json:
        """The next frame, whatever it is."""
        return await asyncio.wait_for(self._frames.get(), seconds)

    async def next(self, seconds: float = 10) -> Json:
        """The only root field of the next answer."""
        frame = await self.frame(seconds)
        assert frame["type"] == "next" and "errors" not in frame["payload"], frame
        (value,) = frame["payload"]["data"].values()
        return value

    async def silent(self, seconds: float = 0.3) -> bool:
        """Nothing came for this long."""
        await asyncio.sleep(seconds)
        return self._frames.empty()

    async def complete(self) -> None:
        await self._socket.connection.send(json.dumps({"id": self._key, "type": "complete"}))


def settings_for(directory: Path, **changes: Any) -> Settings:
    """Settings of a private installation, with its keys."""
    given: dict[str, Any] = {
        "data_dir": directory,
        "allow_private_addresses": True,
        "webhook_http": True,
        "drain_seconds": 5,
        **UNLIMITED,
        **changes,
    }
    if POSTGRESQL and "database_url" not in given:
        name = f"patchbay_test_{hashlib.sha256(str(directory).encode()).hexdigest()[:16]}"
        given |= {"database_url": f"{POSTGRESQL}/{name}", "bus_url": REDIS, **KEYS}
    settings, _ = keys.provide(Settings(**given))
    return settings


@asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[None]:
    """The database of `settings`, migrated, for as long as a test runs: a copy of one that was migrated once a process."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        _copy_to(Path(url.database or ""))
        yield
        return
    server = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    template = await _migrated_postgresql(server)
    remove = f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)'
    await _administer(server, remove, f'CREATE DATABASE "{url.database}" TEMPLATE "{template}"')
    try:
        yield
    finally:
        await _administer(server, remove)


def _copy_to(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_bytes(migrated_sqlite())


@cache
def migrated_sqlite() -> bytes:
    """The file of an empty SQLite database with every table, already in WAL mode."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "template.db")
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            command.upgrade(migrate.config(connection), "head")
        engine.dispose()
        return file.read_bytes()


async def _migrated_postgresql(server: str) -> str:
    """The name of a server's database with every table, to copy; this process's own, so that nobody waits for another."""
    name = f"patchbay_template_{os.getpid()}"
    if server not in _TEMPLATES:
        await _administer(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
        database = Database(make_url(server).set(drivername="postgresql+asyncpg", database=name).render_as_string(False))
        await migrate.upgrade(database.engine)
        await database.close()
        _TEMPLATES.add(server)
    return name


async def _administer(server: str, *statements: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def running(settings: Settings, worker: bool = True) -> AsyncIterator[Gateway]:
    """A gateway on a free port of loopback, on a database of its own."""
    async with database_of(settings), process(settings, worker) as started:
        yield started


@asynccontextmanager
async def process(settings: Settings, worker: bool = True) -> AsyncIterator[Gateway]:
    """One process of a gateway, on a database that is there."""
    application = Application(settings)
    async with application.database.write() as session:
        demo = await workspaces.first_or_create(session, "demo")
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        serve_paths(application),
        http=WholeProtocol,
        ws=DirectProtocol,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    server = Server(config)
    await application.start(worker)
    serving = asyncio.create_task(server.serve([listener]))
    async with aiohttp.ClientSession() as http:
        try:
            yield Gateway(application, f"http://127.0.0.1:{listener.getsockname()[1]}", http, demo)
        finally:
            await application.drain()
            server.should_exit = True
            await serving
            await application.stop()


async def eventually(probe: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    """What `probe` answers once that is true; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        found = await probe()
        while not found:
            await asyncio.sleep(0.02)
            found = await probe()
        return found
