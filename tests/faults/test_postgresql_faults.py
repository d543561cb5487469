"""PostgreSQL goes away in mid-load and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.brokers import Server, postgres_server
from tests.faults.load import ACCEPTED, handed_over, plugged
from tests.harness import KEYS, running, settings_for
from tests.provider_server import ProviderServer

pytestmark = pytest.mark.fault


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    with postgres_server() as found:
        await found.start()
        try:
            yield found
        finally:
            await found.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.mark.parametrize("fault", ["restart", "pause"])
async def test_nothing_is_lost_or_doubled(tmp_path: Path, server: Server, stack: ExitStack, fault: str) -> None:
    settings = settings_for(tmp_path, database_url=f"postgresql://postgres@127.0.0.1:{server.port}/patchbay", **KEYS)
    async with ProviderServer(default=ACCEPTED) as provider, running(settings) as gateway:
        load = await plugged(gateway, provider)
        lines = stack.enter_context(capture_logs())
        clients = asyncio.create_task(load.clients(number=8, each=20, pause=0.05))
        await asyncio.sleep(0.7)
        await _disturb(server, fault)
        await asyncio.wait_for(clients, 60)
        statuses = await load.statuses()
        given = handed_over(provider)
        assert len(load.accepted) == 160
        assert max(given.values()) == 1, "something was handed over twice"
        assert statuses["SENT"] + statuses["UNKNOWN"] == 160
        assert set(load.refusals) <= {"UNAVAILABLE", "UNAUTHENTICATED", "connection"}, load.refusals
        assert (await (await gateway.http.get(f"{gateway.url}/readyz")).json())["status"] == "ready"
    assert [line["event"] for line in lines if line.get("exc_info")] == [], "a database that is away is no mistake of ours"


async def _disturb(server: Server, fault: str) -> None:
    if fault == "restart":
        await server.stop()
        await asyncio.sleep(1)
        await server.start()
    else:
        server.freeze()
        await asyncio.sleep(2)
        server.thaw()
