"""Sessions. Reading is many at once; a process writes through one connection whose waiting callers share a transaction.

Group commit: whoever waits for the writer joins the open transaction, each but the first inside a savepoint of its own, and
the last of the group commits for all. The urgent go first, and wait for no others to join them. Nobody's `write()` block
returns before that commit has, so what it answered is stored. The group's events are numbered together just before the
commit, so a workspace's counter is held for moments only, however many processes write. On SQLite one writing connection
also keeps clear of the WAL-reset fault before 3.51.3, which needs two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import orjson
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm.session import JoinTransactionMode

from models import audit, events, sqlite
from models.audit import NewEntry
from models.events import NewEvent
from models.reader import Reader
from models.turns import Turns

GROUP = 256
READERS = 4
CONNECTION_LOST = "8s2b"  # SQLAlchemy's, of a transaction whose connection was lost; another code is a mistake of ours
PASSING_STATES = frozenset({"08", "40", "53", "57", "58"})  # PostgreSQL: connection, rollback, resources, operator, system


def is_passing(error: BaseException) -> bool:
    """The database is away, locked or full: worth another try. Drivers raise some of it unwrapped while they connect, and
    whoever shares a transaction with the caller who met it first is told that its connection is lost."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        gone = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
        return gone or str(state or "")[:2] in PASSING_STATES
    if isinstance(error, PendingRollbackError):
        return error.code == CONNECTION_LOST
    state = getattr(error, "sqlstate", None)
    return isinstance(error, OSError | PoolTimeoutError) or str(state or "")[:2] in PASSING_STATES


class Database:
    """Opens sessions. `on_commit` is called with the workspaces that have new events, after they are committed."""

    def __init__(self, url: str, on_commit: Callable[[set[str]], None] | None = None) -> None:
        self.on_commit = on_commit or (lambda _workspaces: None)
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = sqlite.engine(url, 1, "BEGIN IMMEDIATE") if self.is_sqlite else _postgresql(url)
        self._readers = sqlite.engine(url, READERS, "BEGIN DEFERRED", query_only=True) if self.is_sqlite else self.engine
        self.reader = Reader(self._readers)
        self._writer = _Writer(self.engine, self)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one moment of the database and cannot change it."""
        async with AsyncSession(self._readers, expire_on_commit=False, autoflush=False) as session:
            yield session

    @asynccontextmanager
    async def write(self, urgent: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends well, undone when it raises, and only then rung. It is `urgent` when
        somebody waits for its end."""
        async with self._writer.session(urgent) as session:
            yield session

    async def close(self) -> None:
        self.reader.close()
        await self._readers.dispose()
        await self._writer.close()
        await self.engine.dispose()


class _Group:
    """Callers who share one commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.size = 0
        self.is_urgent = False
        self.events: list[NewEvent] = []
        self.entries: list[NewEntry] = []
        self.rung: set[str] = set()
        self.committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Writer:
    def __init__(self, engine: AsyncEngine, database: Database) -> None:
        self._engine = engine
        self._database = database
        self._turns = Turns()
        self._group: _Group | None = None

    @asynccontextmanager
    async def session(self, urgent: bool) -> AsyncIterator[AsyncSession]:
        group = await self._join(urgent)
        mode: JoinTransactionMode = "rollback_only" if group.size == 1 else "create_savepoint"  # the first may undo it all
        session = AsyncSession(group.connection, expire_on_commit=False, join_transaction_mode=mode)
        done = False
        try:
            yield session
            await session.commit()
            done = True
        finally:
            await asyncio.shield(asyncio.ensure_future(self._leave(group, session, done)))
        await asyncio.shield(group.committed)

    async def _join(self, urgent: bool) -> _Group:
        """Wait for the turn; the open group, or a new one."""
        try:
            await self._turns.take(urgent)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._relieve()))
            raise
        try:
            group = self._group or await self._begin()
        except BaseException:
            self._turns.pass_on()
            raise
        group.size += 1
        group.is_urgent |= urgent
        return group

    async def _relieve(self) -> None:
        """Commit a group whose last member left that to one who then did not come."""
        async with self._turns.taken():
            if self._group is not None and self._is_complete(self._group):
                await self._commit(self._group)

    async def _begin(self) -> _Group:
        connection = await self._engine.connect()
        try:
            await connection.begin()
        except BaseException:
            await connection.close()
            raise
        self._group = _Group(connection)
        return self._group

    async def _leave(self, group: _Group, session: AsyncSession, done: bool) -> None:
        """End one caller's part (undone unless it is `done`), commit if nobody joins any more, pass the turn on."""
        recorded, entries = events.take(session), audit.take(session)
        try:
            await session.close()
            if done:
                group.events += recorded
                group.entries += entries
            elif group.size == 1:
                await self._disband(group, None)
                return
            if self._is_complete(group):
                await self._commit(group)
        except Exception as error:  # whatever it is, and drivers raise more than SQLAlchemy wraps, the group is at its end
            await self._disband(group, error)
        finally:
            self._turns.pass_on()

    def _is_complete(self, group: _Group) -> bool:
        return group.size >= GROUP or not self._turns.is_awaited(only_by_due=group.is_urgent)

    async def _commit(self, group: _Group) -> None:
        try:
            group.rung = await events.store(group.connection, group.events)
            await audit.store(group.connection, group.entries)
            await group.connection.commit()
        except Exception as error:
            await self._disband(group, error)
        else:
            await self._disband(group, None)

    async def _disband(self, group: _Group, error: Exception | None) -> None:
        """Closing a connection rolls back what was not committed."""
        self._group = None
        if error is None:
            group.committed.set_result(None)
            self._database.on_commit(group.rung)
        else:
            group.committed.set_exception(error)
            group.committed.exception()  # its members may all have failed on their own: no warning then
        with suppress(Exception):
            if error is not None:  # a failed COMMIT leaves its transaction open, and nothing would roll it back
                await group.connection.invalidate()
            await group.connection.close()

    async def close(self) -> None:
        async with self._turns.taken():
            if self._group is not None:
                await self._group.connection.close()


def _postgresql(url: str) -> AsyncEngine:
    return create_async_engine(
        url, pool_size=10, max_overflow=10, pool_pre_ping=True, json_serializer=sqlite.dumps, json_deserializer=orjson.loads
    )
