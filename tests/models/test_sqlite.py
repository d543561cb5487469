"""A connection of ours: what is short where it is asked for, everything else in its thread, nothing lost to a cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models import sqlite

MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "


@pytest.fixture
def where() -> list[int]:
    """The threads in which the function `here` was called, which lasts as many seconds as it is given."""
    return []


@pytest.fixture
async def connection(tmp_path: Path, where: list[int]) -> AsyncIterator[sqlite.Steady]:
    def here(seconds: float = 0) -> int:
        where.append(threading.get_ident())
        time.sleep(seconds)
        return 1

    made = sqlite.Steady(lambda: sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False), 64)
    made._thread.daemon = True
    await made
    await made.create_function("here", -1, here)
    await made.run(lambda raw: raw.execute("CREATE TABLE number (i INTEGER)"))
    yield made
    await made.close()


async def rows(connection: sqlite.Steady, statement: str) -> list[object]:
    cursor = connection.cursor()
    await cursor.execute(statement)
    return await cursor.fetchall()


async def test_a_short_read_is_made_where_it_is_asked_for(connection: sqlite.Steady, where: list[int]) -> None:
    assert await rows(connection, "SELECT here()") == [(1,)]
    assert where == [threading.get_ident()]


async def test_a_long_read_is_made_in_the_thread_and_is_whole(connection: sqlite.Steady, where: list[int]) -> None:
    await rows(connection, f"INSERT INTO number {MANY} SELECT i FROM n")
    found = await rows(connection, "SELECT count(*), sum(i), here() FROM number a WHERE i > 0 AND i % 7 >= 0 ORDER BY i * 2")
    assert found == [(100_000, 5_000_050_000, 1)]
    assert where[-1] != threading.get_ident()


async def test_a_short_change_is_made_where_it_is_asked_for(connection: sqlite.Steady, where: list[int]) -> None:
    await rows(connection, "INSERT INTO number VALUES (here())")
    await rows(connection, "UPDATE number SET i = here() + 1 RETURNING i")
    assert set(where) == {threading.get_ident()}
    assert await rows(connection, "SELECT i FROM number") == [(2,)]


async def test_a_change_that_took_long_is_made_in_the_thread_until_it_is_short(
    connection: sqlite.Steady, where: list[int]
) -> None:
    connection.long_seconds = 0.2  # far from what a busy machine makes of a moment
    for seconds in (0.3, 0.3, 0, 0):
        await connection.cursor().execute("INSERT INTO number VALUES (here(?))", (seconds,))
    assert [thread == threading.get_ident() for thread in where] == [True, False, False, True]
    assert await rows(connection, "SELECT count(*) FROM number") == [(4,)]


@pytest.mark.parametrize("number", [sqlite.FEW, sqlite.FEW + 1])
async def test_a_change_of_many_rows_is_made_in_the_thread(connection: sqlite.Steady, where: list[int], number: int) -> None:
    await connection.cursor().executemany("INSERT INTO number VALUES (here() + ?)", [(i,) for i in range(number)])
    assert [thread == threading.get_ident() for thread in where] == [number <= sqlite.FEW] * number
    assert await rows(connection, "SELECT count(*) FROM number") == [(number,)]


async def test_what_may_wait_for_a_lock_does_so_in_the_thread(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'other'}"
    first, second = (sqlite.engine(url, 1, "BEGIN IMMEDIATE") for _ in range(2))

    async def write() -> None:
        async with second.begin() as transaction:
            await transaction.execute(text("INSERT INTO number VALUES (2)"))

    async with first.begin() as transaction:
        await transaction.execute(text("CREATE TABLE number (i INTEGER)"))
        waiting = asyncio.create_task(write())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await transaction.execute(text("INSERT INTO number VALUES (1)"))
    await waiting
    async with first.connect() as connection:
        assert (await connection.scalars(text("SELECT i FROM number ORDER BY i"))).all() == [1, 2]
    await first.dispose()
    await second.dispose()


async def test_the_loop_goes_on_during_a_long_read(connection: sqlite.Steady) -> None:
    await rows(connection, f"INSERT INTO number {MANY} SELECT i FROM n")
    reading = asyncio.create_task(rows(connection, "SELECT count(*) FROM number a, (SELECT i FROM number LIMIT 60) b"))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert await reading == [(6_000_000,)]
    assert turns > 10


async def test_a_mistake_in_a_short_read_is_raised(connection: sqlite.Steady) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such column: absent"):
        await rows(connection, "SELECT absent")


async def test_a_long_read_within_a_transaction_that_wrote_keeps_what_was_written(tmp_path: Path) -> None:
    engine = sqlite.engine(f"sqlite+aiosqlite:///{tmp_path / 'other'}", 1, "BEGIN IMMEDIATE")
    async with engine.begin() as transaction:
        await transaction.execute(text("CREATE TABLE number (i INTEGER)"))
        await transaction.execute(text(f"INSERT INTO number {MANY} SELECT i FROM n"))
        assert await transaction.scalar(text("SELECT sum(a.i) FROM number a WHERE a.i % 7 >= 0")) == 5_000_050_000
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM number")) == 100_000
    await engine.dispose()


async def test_a_reader_gives_back_its_moment_and_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'other'}"
    writer, reader = sqlite.engine(url, 1, "BEGIN IMMEDIATE"), sqlite.engine(url, 1, "BEGIN DEFERRED", query_only=True)
    async with writer.begin() as transaction:
        await transaction.execute(text("CREATE TABLE number (i INTEGER)"))
    for count in range(3):
        async with reader.connect() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM number")) == count
            with pytest.raises(OperationalError, match="readonly"):
                await connection.execute(text("INSERT INTO number VALUES (1)"))
        async with writer.begin() as transaction:
            await transaction.execute(text("INSERT INTO number VALUES (1)"))
    await writer.dispose()
    await reader.dispose()


async def test_several_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite lets only one of them switch it to WAL, and tells the others at once that the database is locked."""

    async def mode(path: Path) -> object:
        engine = sqlite.engine(f"sqlite+aiosqlite:///{path}", 1, "BEGIN IMMEDIATE")
        try:
            async with engine.connect() as connection:
                return await connection.scalar(text("PRAGMA journal_mode"))
        finally:
            await engine.dispose()

    for number in range(10):
        modes = await asyncio.gather(*(mode(tmp_path / f"{number}.db") for _ in range(6)))
        assert modes == ["wal"] * 6
