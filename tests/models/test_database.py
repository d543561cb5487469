"""The grouping writer of SQLite, on real files: who shares a commit shares its fate, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError, SQLAlchemyError

from models import events, migrate, workspaces
from models.base import now
from models.database import Database, is_passing
from models.events import Event, NewEvent
from models.workspaces import Organization, Workspace
from tests.harness import migrated_sqlite


@pytest.fixture
async def rung() -> list[set[str]]:
    return []


@pytest.fixture
async def database(tmp_path: Path, rung: list[set[str]]) -> AsyncIterator[Database]:
    file = tmp_path / "test.db"
    file.write_bytes(migrated_sqlite())
    made = Database(f"sqlite+aiosqlite:///{file}", rung.append)
    yield made
    await made.close()


def organization(name: str) -> Organization:
    return Organization(id=f"org_{name}", name=name, created_at=now())


async def add(
    database: Database,
    name: str,
    *,
    urgent: bool = False,
    entered: asyncio.Event | None = None,
    go: asyncio.Event | None = None,
) -> None:
    """Write a row, saying when it is within the transaction and leaving it when told."""
    async with database.write(urgent) as session:
        session.add(organization(name))
        await session.flush()
        if entered:
            entered.set()
        if go:
            await go.wait()


async def names(database: Database) -> set[str]:
    async with database.read() as session:
        return set(await session.scalars(select(Organization.name)))


async def commits(database: Database) -> list[str]:
    """Every COMMIT and ROLLBACK from now on, as the writer's connection traces them."""
    seen: list[str] = []

    def trace(statement: str) -> None:
        if statement.startswith(("COMMIT", "ROLLBACK", "BEGIN")):
            seen.append(statement)

    async with database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        await driver.set_trace_callback(trace)
    seen.clear()
    return seen


async def test_writers_who_wait_share_one_commit(database: Database) -> None:
    seen = await commits(database)
    await asyncio.gather(*(add(database, f"n{i}") for i in range(40)))
    assert await names(database) == {f"n{i}" for i in range(40)}
    assert seen.count("COMMIT") == 1
    assert seen.count("BEGIN IMMEDIATE") == 1


async def test_a_group_is_no_larger_than_its_limit(database: Database) -> None:
    seen = await commits(database)
    await asyncio.gather(*(add(database, f"n{i}") for i in range(300)))
    assert len(await names(database)) == 300
    assert seen.count("COMMIT") == 2


async def test_nobody_returns_before_the_commit(database: Database) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(add(database, "first"))
    second = asyncio.create_task(add(database, "second", entered=entered, go=go))
    await entered.wait()
    await asyncio.sleep(0.05)
    assert not first.done()  # its work is done, its group's commit is not
    assert await names(database) == set()
    go.set()
    await asyncio.gather(first, second)
    assert await names(database) == {"first", "second"}


async def test_one_that_fails_does_not_undo_the_others(database: Database) -> None:
    await add(database, "taken")
    wanted = [add(database, name) for name in ("a", "taken", "b", "taken", "c")]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), IntegrityError, type(None), IntegrityError, type(None)]
    assert await names(database) == {"taken", "a", "b", "c"}


async def test_one_that_raises_leaves_nothing_of_its_own(database: Database) -> None:
    async def fails() -> None:
        async with database.write() as session:
            session.add(organization("half"))
            await session.flush()
            raise LookupError("changed my mind")

    results = await asyncio.gather(add(database, "a"), fails(), add(database, "b"), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert await names(database) == {"a", "b"}


async def test_what_raised_rings_no_bell(database: Database, rung: list[set[str]]) -> None:
    async with database.write() as session:
        kept, lost = await workspaces.create(session, "kept"), await workspaces.create(session, "lost")

    async def note(workspace: Workspace, fail: bool) -> None:
        async with database.write() as session:
            events.record(session, NewEvent(workspace_id=workspace.id, kind="channel", type="t.t", subject_id="s"))
            if fail:
                raise LookupError

    rung.clear()
    await asyncio.gather(note(kept, False), note(lost, True), return_exceptions=True)
    assert rung == [{kept.id}]
    async with database.read() as session:
        assert [found.workspace_id for found in await session.scalars(select(Event))] == [kept.id]


async def test_one_cancelled_within_its_block_leaves_the_others_alone(database: Database) -> None:
    entered, never = asyncio.Event(), asyncio.Event()
    before = asyncio.create_task(add(database, "before"))
    cancelled = asyncio.create_task(add(database, "cancelled", entered=entered, go=never))
    after = asyncio.create_task(add(database, "after"))
    await entered.wait()
    cancelled.cancel()
    results = await asyncio.gather(before, cancelled, after, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    assert await names(database) == {"before", "after"}


async def test_the_urgent_pass_others_and_do_not_wait_for_them_to_join(database: Database) -> None:
    database._writer._turns.patience_seconds = 60
    seen, entered, go = await commits(database), asyncio.Event(), asyncio.Event()
    stored: list[str] = []

    async def store(name: str, **given: Any) -> None:
        await add(database, name, **given)
        stored.append(name)

    first = asyncio.create_task(store("first", entered=entered, go=go))
    await entered.wait()
    others = [asyncio.create_task(store(name)) for name in ("second", "third")]
    await asyncio.sleep(0)
    urgent = [asyncio.create_task(store(name, urgent=True)) for name in ("now", "at once")]
    await asyncio.sleep(0.01)
    go.set()
    await asyncio.gather(first, *others, *urgent)
    assert stored == ["first", "now", "at once", "second", "third"]
    assert seen.count("COMMIT") == 2


async def test_one_cancelled_while_it_waits_does_not_strand_its_group(database: Database) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(add(database, "first", entered=entered, go=go))
    await entered.wait()
    waiting = asyncio.create_task(add(database, "waiting"))
    await asyncio.sleep(0.01)
    go.set()
    while database._writer._turns.is_awaited():  # noqa: ASYNC110 - until the first has left the commit to the one who waits
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait_for(first, 2)
    assert "first" in await names(database)
    await asyncio.wait_for(add(database, "next"), 2)


@pytest.mark.parametrize("after_ms", [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
async def test_cancellation_at_any_moment_hurts_nobody_else(database: Database, after_ms: float) -> None:
    async def busy() -> None:
        async with database.write() as session:
            for i in range(5):
                session.add(organization(f"half{i}"))
                await session.flush()

    async def stop(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(after_ms / 1000)
        task.cancel()

    before = asyncio.create_task(add(database, "before"))
    victim = asyncio.create_task(busy())
    others = [asyncio.create_task(add(database, f"n{i}")) for i in range(10)]
    results = await asyncio.wait_for(asyncio.gather(stop(victim), before, *others, return_exceptions=True), 5)
    assert results == [None] * 12
    await asyncio.gather(victim, return_exceptions=True)
    found = await names(database)
    assert found >= {"before", *(f"n{i}" for i in range(10))}
    assert len([name for name in found if name.startswith("half")]) in (0, 5)


class Disk:
    """Lets the file of a database grow by so many pages and no further, whatever connection writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limit = 4_294_967_294
        event.listen(database.engine.sync_engine, "connect", self._connected)

    async def fill_up(self, pages: int) -> None:
        async with self._database.engine.connect() as connection:
            used = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await self._grow_to(used + pages)

    async def clear(self) -> None:
        await self._grow_to(4_294_967_294)

    async def _grow_to(self, pages: int) -> None:
        self._limit = pages
        async with self._database.engine.connect() as connection:
            await connection.execute(text(f"PRAGMA max_page_count={pages}"))

    def _connected(self, connection: Any, _record: Any) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count={self._limit}")


async def write_large(database: Database, name: str, rows: int) -> None:
    async with database.write() as session:
        session.add(organization(name))
        await session.flush()
        await session.execute(text("CREATE TABLE IF NOT EXISTS filler (data TEXT)"))
        for _ in range(rows):
            await session.execute(text("INSERT INTO filler VALUES (:data)"), {"data": "x" * 4000})


async def test_a_full_disk_fails_with_an_error_and_stores_no_half(database: Database) -> None:
    disk = Disk(database)
    await disk.fill_up(8)
    wanted = [add(database, "a"), write_large(database, "large", 50), add(database, "b"), write_large(database, "more", 50)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    outcome = dict(zip(("a", "large", "b", "more"), results, strict=True))
    assert isinstance(outcome["large"], SQLAlchemyError) and isinstance(outcome["more"], SQLAlchemyError)
    found = await names(database)
    assert found == {name for name, result in outcome.items() if result is None}  # what was answered, and nothing else
    assert await rows_of_filler(database) == 0

    await disk.clear()
    await asyncio.gather(add(database, "after"), write_large(database, "large", 50))
    assert await names(database) == found | {"after", "large"}
    assert await rows_of_filler(database) == 50


async def rows_of_filler(database: Database) -> int:
    async with database.read() as session:
        if (await session.execute(text("SELECT 1 FROM sqlite_master WHERE name='filler'"))).first() is None:
            return 0
        return int((await session.execute(text("SELECT count(*) FROM filler"))).scalar_one())


async def test_a_commit_that_fails_fails_its_whole_group(database: Database) -> None:
    """Deferred foreign keys are looked at by COMMIT itself."""

    async def orphan() -> None:
        async with database.write() as session:
            await session.execute(text("PRAGMA defer_foreign_keys=ON"))
            columns = "id, organization_id, name, will_active, created_at"
            await session.execute(text(f"INSERT INTO workspace ({columns}) VALUES ('wsp_x', 'org_none', 'x', 0, '2026-01-01')"))

    results = await asyncio.gather(add(database, "a"), orphan(), add(database, "b"), return_exceptions=True)
    assert [isinstance(result, IntegrityError) for result in results] == [True, True, True]
    assert await names(database) == set()
    await add(database, "after")
    assert await names(database) == {"after"}


async def test_a_locked_database_is_waited_for(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    wanted = asyncio.gather(*(add(database, f"n{i}") for i in range(5)))
    await asyncio.sleep(0.3)
    assert not wanted.done()
    other.execute("COMMIT")
    other.close()
    await asyncio.wait_for(wanted, 2)
    assert len(await names(database)) == 5


async def test_readers_cannot_write(database: Database) -> None:
    async with database.read() as session:
        with pytest.raises(OperationalError, match="readonly"):
            await session.execute(text("DELETE FROM organization"))


async def test_a_reader_sees_one_moment(database: Database) -> None:
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM organization"))).scalar_one() == 0
        await add(database, "new")
        assert (await session.execute(text("SELECT count(*) FROM organization"))).scalar_one() == 0
    assert await names(database) == {"new"}


async def test_the_profile_of_the_file(database: Database) -> None:
    async with database.engine.connect() as connection:
        found = {}
        for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"):
            found[pragma] = (await connection.execute(text(f"PRAGMA {pragma}"))).scalar_one()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10000}


async def test_closing_with_a_group_open_leaves_nothing_half(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    await migrate.upgrade(database.engine)
    await add(database, "kept")
    await database.close()
    await database.close()
    again = Database(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    assert await names(again) == {"kept"}
    await again.close()


async def test_a_connection_lost_under_a_shared_transaction_passes(database: Database) -> None:
    with pytest.raises(PendingRollbackError) as caught:
        async with database.write() as session:
            await (await session.connection()).invalidate()
            await session.execute(select(Organization))
    assert is_passing(caught.value)
    assert not is_passing(PendingRollbackError("a flush failed", code="7s2a"))
    await add(database, "afterwards")
    assert await names(database) == {"afterwards"}
