"""Who changes a connector and its lane takes their locks in one order, so that nobody waits for each other."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from delivery.circuit import Circuits
from models import queue
from models.connectors import CircuitState, Connector
from models.database import Database
from tests import lab, make
from tests.brokers import postgres_server
from tests.harness import KEYS, POSTGRESQL, Gateway, eventually, running, settings_for
from tests.sending import send

pytestmark = pytest.mark.fault

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway without a worker, on PostgreSQL: SQLite has one lock only."""
    if POSTGRESQL:
        async with running(settings_for(tmp_path), worker=False) as started:
            yield started
        return
    with postgres_server() as server:
        await server.start()
        url = f"postgresql://postgres@127.0.0.1:{server.port}/patchbay"
        try:
            async with running(settings_for(tmp_path, database_url=url, **KEYS), worker=False) as started:
                yield started
        finally:
            await server.stop()


@asynccontextmanager
async def another_process(gateway: Gateway) -> AsyncIterator[AsyncSession]:
    """A transaction of another process's."""
    database = Database(gateway.application.settings.database_url)
    try:
        async with database.write() as session:
            yield session
    finally:
        await database.close()


async def test_half_opening_a_circuit_beside_a_change_of_its_throttle(idle: Gateway) -> None:
    connector_id = await lab.verified(idle, "Sim")
    await send(idle)
    await lab.circuit(idle, connector_id, CircuitState.OPEN)
    await past(idle, connector_id)

    async def somebody_waits() -> bool:
        async with idle.read() as session:
            return bool(await session.scalar(WAITING))

    async with another_process(idle) as session:
        claims = await queue.claim(session, connector_id, "worker", 1, 1, dt.timedelta(seconds=60))
        assert len(claims) == 1
        change = asyncio.create_task(make.mutate(idle, "connectorUpdate", id=connector_id, throttlePerSecond=5))
        await eventually(somebody_waits, 30)
        found = await session.get_one(Connector, connector_id)
        await Circuits().change(session, found, CircuitState.HALF_OPEN)
    changed = await change
    assert changed["userErrors"] == [] and changed["connector"]["throttle"] == {"perSecond": 5}


async def past(gateway: Gateway, connector_id: str) -> None:
    """The rest of an open circuit is over."""
    async with gateway.application.database.write() as session:
        ended = text("UPDATE lane SET open_until = now() - interval '1 second' WHERE id = :id")
        await session.execute(ended, {"id": connector_id})
