"""A private Patchbay to measure: its database, connectors and queue, and its processes as people run them."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from bench.sinks import Sink
from gateway import keys
from gateway.app import Application
from gateway.auth import mint
from gateway.settings import Settings
from models import migrate, workspaces
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.messages import Message
from models.queue import Job
from models.senders import SenderId
from models.workspaces import Workspace
from resolvers import batches, connectors
from resolvers.batches import Order
from resolvers.call import Call
from resolvers.configs import ConfigInput
from resolvers.connectors import NewConnector
from resolvers.messages import Draft
from resolvers.viewer import Viewer

ROOT = Path(__file__).resolve().parent.parent
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
KEYS = {"secret_keys": "bench:" + "A" * 43 + "=", "jwt_secret": "a secret of at least thirty-two bytes"}
AT_ONCE = 1_000
UNLIMITED = "1000000000/1"
SENDER = "snd_" + "5" * 32


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of database to measure on; PostgreSQL needs a server where databases may be made."""

    name: str
    server: str | None = None


class Installation:
    """One installation. The processes it starts have the same settings as what is done here."""

    def __init__(self, settings: Settings, workspace: Workspace) -> None:
        self.settings = settings
        self.workspace = workspace

    @property
    def token(self) -> str:
        return mint(self.settings, self.workspace.id, "bench", ["*"], dt.timedelta(hours=12))

    async def plug(self, *configs: Mapping[str, Any]) -> list[str]:
        """Connectors that have been checked; each config is a provider's key with its settings."""
        async with self._application(worker=True) as call:
            made = []
            for i, config in enumerate(configs):
                ((key, typed),) = config.items()
                new = NewConnector(name=f"{key} {i}", config=ConfigInput(key=key, typed=typed))
                made.append((await connectors.create(call, new))[0].id)
            while True:
                async with call.read() as session:
                    ready = select(func.count()).where(Connector.id.in_(made), Connector.is_verified)
                    if await session.scalar(ready) == len(made):
                        return made
                await asyncio.sleep(0.05)

    async def accept(self, drafts: list[Draft]) -> None:
        """Accept messages, in batches, without sending them."""
        async with self._application(worker=False) as call:
            for start in range(0, len(drafts), AT_ONCE):
                await batches.send(call, Order(drafts[start : start + AT_ONCE]))

    async def drained(self, process: subprocess.Popen[bytes], limit: float = 300) -> float:
        """The monotonic time at which this process had stored the last outcome."""
        database = Database(self.settings.database_url)
        try:
            async with asyncio.timeout(limit), database.read() as session:
                while await session.scalar(select(Job.message_id).limit(1)) is not None:
                    await session.rollback()
                    await asyncio.sleep(0.05)
                    if process.poll() is not None:
                        raise RuntimeError(f"the process ended: {(self.settings.data_dir / 'log').read_text()[-2000:]}")
                return time.monotonic()
        finally:
            await database.close()

    async def statuses(self) -> dict[str, int]:
        """How many messages stand where."""
        database = Database(self.settings.database_url)
        try:
            async with database.read() as session:
                counted = select(Message.status, func.count()).group_by(Message.status)
                return {status: number for status, number in await session.execute(counted)}
        finally:
            await database.close()

    @contextmanager
    def process(self, *arguments: str, concurrency: int = 100) -> Iterator[subprocess.Popen[bytes]]:
        """`patchbay` with these arguments, ended in good order after the block."""
        kept = (name for name in os.environ if not name.startswith("PATCHBAY_") and name != "PYTHONDONTWRITEBYTECODE")
        inherited = {name: os.environ[name] for name in kept}
        given = {
            "DATA_DIR": self.settings.data_dir,
            "DATABASE_URL": self.settings.database_url,
            "ALLOW_PRIVATE_ADDRESSES": "true",
            "WORKER_CONCURRENCY": concurrency,
            "RATE_LIMIT_REQUESTS": UNLIMITED,
            "LOG_FORMAT": "json",
            "PORT": 0,
            "SECRET_KEYS": KEYS["secret_keys"],
            "JWT_SECRET": KEYS["jwt_secret"],
        }
        env = {**inherited, **{f"PATCHBAY_{name}": str(value) for name, value in given.items()}}
        command = [sys.executable, "-m", "gateway", *arguments]
        with (self.settings.data_dir / "log").open("ab") as log:
            process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        with process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    @asynccontextmanager
    async def _application(self, worker: bool) -> AsyncIterator[Call]:
        application = Application(self.settings)
        await application.start(worker)
        workspace = self.workspace
        try:
            yield Call(Viewer("bench", workspace.id, workspace.organization_id, frozenset({"*"})), application.means)
        finally:
            await application.stop()


async def met(condition: Callable[[], bool], limit: float = 120) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(limit):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def address_of(process: subprocess.Popen[bytes]) -> str:
    """Where a `patchbay serve` just started listens."""
    assert process.stdout is not None
    for line in process.stdout:
        if b"listens on" in line:
            return line.split()[-1].decode()
    raise RuntimeError("patchbay serve did not start")


@asynccontextmanager
async def installation(engine: Engine) -> AsyncIterator[Installation]:
    """An installation with an empty database, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="patchbay-bench-") as folder:
        async with _database_url(engine, Path(folder)) as url:
            given = {"data_dir": Path(folder), "database_url": url, "allow_private_addresses": True, **KEYS}
            given["rate_limit_connector_create"] = UNLIMITED
            settings, _ = keys.provide(Settings.model_validate(given))
            database = Database(settings.database_url)
            await migrate.upgrade(database.engine)
            async with database.write() as session:
                workspace = await workspaces.first_or_create(session, "bench")
                session.add(approved_sender(workspace.id))
            await database.close()
            yield Installation(settings, workspace)


@asynccontextmanager
async def _database_url(engine: Engine, folder: Path) -> AsyncIterator[str]:
    if engine.server is None:
        yield f"sqlite:///{folder / 'patchbay.db'}"
        return
    name = f"patchbay_bench_{uuid.uuid4().hex[:12]}"
    await _administer(engine.server, f"CREATE DATABASE {name}")
    try:
        yield make_url(engine.server).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        await _administer(engine.server, f"DROP DATABASE {name} WITH (FORCE)")


async def _administer(server: str, statement: str) -> None:
    connection = await asyncpg.connect(make_url(server).set(database="postgres").render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def twilio(sink: Sink, host: int = 1) -> dict[str, Any]:
    """A connector's configuration for a sink that plays Twilio."""
    typed = {
        "account_sid": "AC00000000000000000000000000000000",
        "api_key_sid": "SK00000000000000000000000000000000",
        "api_key_secret": "bench-secret",
        "from_number": "+15005550006",
        "base_url": sink.url(host),
    }
    return {"twilio": typed}


def smtp(sink: Sink) -> dict[str, Any]:
    typed = {"smtp_host": "127.0.0.1", "smtp_port": sink.smtp_port, "from_address": "shop@example.com", "security": "NONE"}
    return {"smtp": typed}


def approved_sender(workspace_id: str, value: str = "Shop", sender_id: str = SENDER) -> SenderId:
    """A sender ID as it is once it was reviewed."""
    at = now()
    return SenderId(
        id=sender_id,
        workspace_id=workspace_id,
        channel_type="SMS",
        value=value,
        kind="ALPHANUMERIC",
        key=value.casefold(),
        skeleton=value.casefold(),
        status="APPROVED",
        requested_by="somebody",
        updated_by="somebody",
        rejections=[],
        created_at=at,
        updated_at=at,
    )


def texts(number: int, connector_ids: list[str], **given: Any) -> list[Draft]:
    """SMS drafts, their connectors taking turns."""
    return [
        Draft(
            to=f"+1415555{i % 10_000:04}",
            connector_id=connector_ids[i % len(connector_ids)],
            sender_id=SENDER,
            body=f"Your parcel {i} is on its way.",
            **given,
        )
        for i in range(number)
    ]


def mails(number: int, connector_id: str) -> list[Draft]:
    return [
        Draft(
            to=f"customer{i}@example.org",
            connector_id=connector_id,
            subject=f"Your parcel {i}",
            body=f"Hello,\nyour parcel {i} is on its way.\nBye",
            html=f"<p>Hello,</p><p>your parcel <b>{i}</b> is on its way.</p>",
        )
        for i in range(number)
    ]
