"""SQLite's engines: the profile of the file, and a connection that cancellation does not break."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import orjson
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON", "journal_size_limit=67108864")


class Steady(aiosqlite.Connection):
    """Finishes a statement although its caller is cancelled; the caller is told at its next wait for anything else.

    SQLAlchemy gives up a connection that was interrupted within a statement, and the writer's is shared: everybody else in
    the transaction would lose their work.
    """

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


def engine(url: str, size: int, begin: str, query_only: bool = False) -> AsyncEngine:
    """A pool of `size` connections, each beginning its transactions with `begin`."""
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def connect() -> aiosqlite.Connection:
        made = Steady(lambda: sqlite3.connect(path or ":memory:", isolation_level=None), 64)
        made._thread.daemon = True
        return await made

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
