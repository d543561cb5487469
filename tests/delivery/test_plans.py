"""What a process asks its database all the time is answered by indexes, however much is stored."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from delivery.worker import CHORES_SECONDS
from models.base import now
from tests import lab
from tests.harness import POSTGRESQL, running, settings_for
from tests.sending import change, send, settled

GROWING = ("message", "attempt", "receipt", "event", "job")

pytestmark = pytest.mark.skipif(bool(POSTGRESQL), reason="the plans are SQLite's")


@contextmanager
def listening() -> Iterator[dict[str, Any]]:
    """Every statement that is executed meanwhile, with the parameters it had first."""
    heard: dict[str, Any] = {}

    def hear(_connection: Any, _cursor: Any, statement: str, given: Any, _context: Any, many: bool) -> None:
        heard.setdefault(statement, given[0] if many and given else given)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def scans(database: sqlite3.Connection, statement: str, given: Any) -> list[str]:
    """The steps of its plan that read the whole of a table that grows."""
    plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", given)]
    return [step for step in plan if step.startswith("SCAN") and step.split()[1] in GROWING and "USING" not in step]


async def test_no_statement_of_a_busy_process_reads_a_whole_table(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with running(settings) as gateway:
        await lab.verified(gateway, "working")
        off = await lab.verified(gateway, "switched off")
        await send(gateway, connectorId=off, scheduledAt=(now() + dt.timedelta(hours=1)).isoformat())
        await change(gateway, off, enabled=False)
        with listening() as heard:
            for _ in range(3):
                await settled(gateway, await send(gateway), "DELIVERED")
            await asyncio.sleep(2.2 * CHORES_SECONDS)
    asked = [statement for statement in heard if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH")]
    assert len(asked) > 20 and settings.database_file is not None
    database = sqlite3.connect(settings.database_file)
    try:
        found = {statement: steps for statement in asked if (steps := scans(database, statement, heard[statement]))}
    finally:
        database.close()
    assert found == {}
