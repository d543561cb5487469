"""SQLite's engines: the profile of the file, and a connection that cancellation does not break."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import orjson
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PATIENCE_SECONDS = 10  # with a lock of another process's
PRAGMAS = (
    "synchronous=FULL",
    f"busy_timeout={PATIENCE_SECONDS * 1000}",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
)
PAUSE_SECONDS = 0.01

STEP = 1_000
LONGEST = 20  # steps of STEP instructions of SQLite's machine, a few milliseconds in all
GLANCES = ("SELECT", "SAVEPOINT", "RELEASE", "BEGIN DEFERRED")
CHANGES = ("INSERT", "UPDATE", "DELETE")
FEW = 64
LONG_SECONDS = 0.003


class Whole:
    """A cursor that reads all of a statement's answer at once, where aiosqlite's own visits its thread four times."""

    rowcount, lastrowid, arraysize = -1, None, 1
    description: Any = None

    def __init__(self, connection: Steady) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> Whole:
        return self

    async def execute(self, statement: str, parameters: Any = ()) -> Whole:
        return await self._run(sqlite3.Cursor.execute, statement, parameters)

    async def executemany(self, statement: str, rows: Any) -> Whole:
        return await self._run(sqlite3.Cursor.executemany, statement, rows)

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = []

    async def _run(self, how: Callable[..., Any], statement: str, parameters: Any) -> Whole:
        ran, self._rows = await self._connection.answer(how, statement, parameters)
        self.description, self.rowcount, self.lastrowid = ran.description, ran.rowcount, ran.lastrowid
        return self


Answer = tuple[sqlite3.Cursor, list[Any]]


def _answer(connection: sqlite3.Connection, how: Callable[..., Any], *given: Any) -> Answer:
    with closing(connection.cursor()) as cursor:
        how(cursor, *given)
        return cursor, cursor.fetchall() if cursor.description else []


class Steady(aiosqlite.Connection):
    """Finishes a statement although its caller is cancelled; the caller is told at its next wait for anything else.

    SQLAlchemy gives up a connection that was interrupted within a statement, and the writer's is shared: everybody else in
    the transaction would lose their work.
    """

    reads_only = False
    long_seconds = LONG_SECONDS
    _steps = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._long: set[str] = set()

    def cursor(self) -> Whole:  # type: ignore[override]
        return Whole(self)

    async def answer(self, how: Callable[..., Any], statement: str, parameters: Any) -> Answer:
        """Where it is asked, if that takes a moment only: a visit to the connection's thread costs more than most statements.
        What changes rows cannot be stopped half-way, so it is judged by how long it took last; by then its transaction has the
        lock."""
        is_one = how is sqlite3.Cursor.execute
        if statement.startswith(CHANGES):
            if statement in self._long or not (is_one or len(parameters) <= FEW):
                changed: Answer = await self.run(self._change, how, statement, parameters)
                return changed
            return self._change(self._conn, how, statement, parameters)
        found: Answer | None = self.glance(statement, parameters) if is_one else None
        return found or await self.run(_answer, how, statement, parameters)

    def _change(self, connection: sqlite3.Connection, how: Callable[..., Any], statement: str, parameters: Any) -> Answer:
        """Its answer, remembering whether it took long."""
        started = time.perf_counter()
        try:
            return _answer(connection, how, statement, parameters)
        finally:
            if time.perf_counter() - started > self.long_seconds:
                self._long.add(statement)
            else:
                self._long.discard(statement)

    def glance(self, statement: str, parameters: Any) -> Answer | None:
        """What a statement answers that neither writes nor waits for a lock; None for others, and where it takes too long."""
        if not statement.startswith(GLANCES):
            return None
        connection, self._steps = self._conn, 0
        connection.set_progress_handler(self._is_too_long, STEP)
        try:
            return _answer(connection, sqlite3.Cursor.execute, statement, parameters)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
        finally:
            connection.set_progress_handler(None, STEP)

    def _is_too_long(self) -> bool:
        self._steps += 1
        return self._steps > LONGEST

    async def run(self, step: Callable[..., Any], *given: Any) -> Any:
        """`step`, called with SQLite's own connection in its thread."""
        return await self._execute(step, self._conn, *given)

    async def rollback(self) -> None:
        if not self.in_transaction:  # a pool rolls back every connection it is given back
            return
        if self.reads_only:
            self._conn.rollback()
        else:
            await super().rollback()

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        work = asyncio.ensure_future(super()._execute(fn, *args, **kwargs))  # type: ignore[no-untyped-call]
        interrupted = False
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError:
                interrupted = True
        task = asyncio.current_task()
        if interrupted and task is not None:
            task.uncancel()
            task.cancel()
        return work.result()


def _lower(text: Any) -> Any:
    """SQLite's own knows ASCII only, so a search would miss what PostgreSQL finds."""
    return text.lower() if isinstance(text, str) else text


def dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _switch(connection: sqlite3.Connection) -> None:
    """To WAL mode. Of several who switch a new file at once, SQLite refuses all but one, whatever its busy timeout."""
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
        time.sleep(PAUSE_SECONDS)


def engine(url: str, size: int, begin: str, query_only: bool = False) -> AsyncEngine:
    """A pool of `size` connections, each beginning its transactions with `begin`."""
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def connect() -> aiosqlite.Connection:
        made = Steady(lambda: sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False), 64)
        made._thread.daemon = True
        made.reads_only = query_only
        await made
        try:
            await made.run(_switch)
        except BaseException:
            await made.close()  # its thread has to end before the loop does
            raise
        return made

    made = create_async_engine(
        url,
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=60,
        json_serializer=dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.create_function("lower", 1, _lower, deterministic=True)
        cursor = connection.cursor()
        for pragma in (*PRAGMAS, *(("query_only=ON",) if query_only else ())):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(made.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return made
