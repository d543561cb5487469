"""A connection of ours: short reads where they are asked for, everything else in its thread, nothing lost to a cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models import sqlite

MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "


@pytest.fixture
def where() -> list[int]:
    """The threads in which the function `here` was called."""
    return []


@pytest.fixture
async def connection(tmp_path: Path, where: list[int]) -> AsyncIterator[sqlite.Steady]:
    def here() -> int:
        where.append(threading.get_ident())
        return 1

    made = sqlite.Steady(lambda: sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False), 64)
    made._thread.daemon = True
    await made
    await made.create_function("here", 0, here)
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


async def test_what_writes_is_done_in_the_thread(connection: sqlite.Steady, where: list[int]) -> None:
    await rows(connection, "INSERT INTO number VALUES (here())")
    await rows(connection, "UPDATE number SET i = here() + 1 RETURNING i")
    assert threading.get_ident() not in where
    assert await rows(connection, "SELECT i FROM number") == [(2,)]


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
