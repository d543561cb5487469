"""The SQLite file is held by somebody else, or the disk is full: clear errors, nothing half-written, and it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.faults.load import ACCEPTED, handed_over, plugged
from tests.harness import running, settings_for
from tests.provider_server import ProviderServer

pytestmark = pytest.mark.fault

ALL_PAGES = 1_073_741_823


def hold(path: Path, seconds: float) -> threading.Thread:
    """Keep the write lock of a database for a while, from another thread."""
    locked = threading.Event()

    def keep() -> None:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.execute("BEGIN IMMEDIATE")
        locked.set()
        threading.Event().wait(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=keep)
    thread.start()
    locked.wait()
    return thread


async def test_a_held_write_lock_only_delays(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, database_url=f"sqlite:///{tmp_path}/patchbay.db")
    async with ProviderServer(default=ACCEPTED) as provider, running(settings) as gateway:
        load = await plugged(gateway, provider)
        clients = asyncio.create_task(load.clients(number=4, each=10))
        await asyncio.sleep(0.2)
        holder = await asyncio.to_thread(hold, tmp_path / "patchbay.db", 3.0)
        async with asyncio.timeout(1):
            assert (await gateway.http.get(f"{gateway.url}/healthz")).status == 200
        await asyncio.wait_for(clients, 30)
        holder.join()
        assert await load.statuses() == {"SENT": 40}
        assert set(handed_over(provider).values()) == {1}
        assert not load.refusals


class Disk:
    """A limit on the pages a database file may have, also for connections made later."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pages = ALL_PAGES
        event.listen(engine.sync_engine, "connect", self._limit)

    def _limit(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count={self._pages}")
        cursor.close()

    async def leave(self, spare: int | None) -> None:
        """Leave `spare` more pages; None is as many as ever."""
        async with self._engine.connect() as connection:
            used = await connection.scalar(text("PRAGMA page_count")) or 0
            self._pages = ALL_PAGES if spare is None else used + spare
            await connection.execute(text(f"PRAGMA max_page_count={self._pages}"))


async def test_a_full_disk_refuses_clearly_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, database_url=f"sqlite:///{tmp_path}/patchbay.db")
    async with ProviderServer(default=ACCEPTED) as provider, running(settings) as gateway:
        load = await plugged(gateway, provider)
        disk = Disk(gateway.application.database.engine)
        await disk.leave(5)
        clients = asyncio.create_task(load.clients(number=4, each=25))
        await asyncio.sleep(2)
        assert load.refusals["UNAVAILABLE"] > 10
        await disk.leave(None)
        await asyncio.wait_for(clients, 60)
        assert await load.statuses() == {"SENT": 100}
        assert set(load.refusals) == {"UNAVAILABLE"}
        assert set(handed_over(provider).values()) == {1}
