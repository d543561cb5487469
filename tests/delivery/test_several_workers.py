"""Worker processes side by side on PostgreSQL: they share work, limits and broken circuits, and outlive each other."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from models.base import now
from models.lanes import Lane
from models.messages import Attempt
from models.queue import LEASED, Job
from tests import lab
from tests.brokers import postgres_server
from tests.commands import PATCHBAY, ROOT, environment
from tests.harness import KEYS, POSTGRESQL, REDIS, Gateway, eventually, running, settings_for

pytestmark = pytest.mark.fault

LEASE_SECONDS = 3


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """Accepts messages and sends none; on a PostgreSQL of its own unless one is named."""
    if POSTGRESQL:
        async with running(settings_for(tmp_path), worker=False) as started:
            yield started
        return
    with postgres_server() as server:
        await server.start()
        url = f"postgresql://postgres@127.0.0.1:{server.port}/patchbay"
        settings = settings_for(tmp_path, database_url=url, bus_url=REDIS, **KEYS)
        try:
            async with running(settings, worker=False) as started:
                yield started
        finally:
            await server.stop()


@contextmanager
def workers(gateway: Gateway, folder: Path, count: int, **settings: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """`patchbay worker`, so many times."""
    given = {
        "DATABASE_URL": gateway.application.settings.database_url,
        "BUS_URL": gateway.application.settings.bus_url,
        "SECRET_KEYS": KEYS["secret_keys"],
        "JWT_SECRET": KEYS["jwt_secret"],
        "ALLOW_PRIVATE_ADDRESSES": "true",
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "WORKER_CONCURRENCY": "25",
        "LOG_LEVEL": "warning",
        **settings,
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen([*PATCHBAY, "worker"], env=environment(folder / f"w{n}", **given), cwd=ROOT, **quiet)
        for n in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait(10)


async def leased(gateway: Gateway) -> dict[str, int]:
    """How many messages each worker has in flight."""
    async with gateway.read() as session:
        found = select(Job.worker, func.count()).where(Job.state == LEASED).group_by(Job.worker)
        return {str(worker): count for worker, count in await session.execute(found)}


async def all_claim(gateway: Gateway, count: int) -> None:
    """Until so many workers have work in flight."""

    async def there() -> bool:
        return len(await leased(gateway)) >= count

    await eventually(there, 30)


async def batches(gateway: Gateway, total: int) -> list[str]:
    return [
        await lab.send_batch(gateway, [lab.sms(f"m{n}") for n in range(begin, min(begin + 1000, total))])
        for begin in range(0, total, 1000)
    ]


async def ended(gateway: Gateway, ids: list[str], total: int, seconds: float = 90) -> dict[str, int]:
    """Where all messages stand, once none of them waits or is in flight any more."""
    standing: dict[str, int] = {}

    async def over() -> bool:
        standing.clear()
        for batch in ids:
            for status, count in (await lab.counts(gateway, batch)).items():
                standing[status] = standing.get(status, 0) + count
        await asyncio.sleep(0.1)
        return sum(standing.get(status, 0) for status in ("SENT", "UNKNOWN", "FAILED", "EXPIRED")) == total

    await eventually(over, seconds)
    async with gateway.read() as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 0
    return standing


async def test_four_share_five_thousand_messages(gateway: Gateway, tmp_path: Path) -> None:
    async with lab.Twilio() as twilio:
        await lab.verified(gateway, "Sms", twilio.config)
        ids = await batches(gateway, 5000)
        with workers(gateway, tmp_path, 4):
            standing = await ended(gateway, ids, 5000)
    assert standing == {"SENT": 5000}
    assert lab.twice(twilio.bodies) == [] and len(twilio.bodies) == 5000
    async with gateway.read() as session:
        assert await session.scalar(select(func.count()).select_from(Attempt)) == 5000


async def test_one_is_killed_and_the_others_go_on(gateway: Gateway, tmp_path: Path) -> None:
    """What it had in flight is UNKNOWN when its lease ends; nothing is sent twice or forgotten."""
    async with lab.Twilio(delay=0.1) as twilio:
        connector = await lab.verified(gateway, "Sms", twilio.config)
        ids = await batches(gateway, 1000)
        with workers(gateway, tmp_path, 3) as processes:
            await all_claim(gateway, 3)
            processes[0].send_signal(signal.SIGKILL)
            at = now()
            standing = await ended(gateway, ids, 1000)
    assert 0 < standing["UNKNOWN"] <= 25
    assert standing == {"SENT": 1000 - standing["UNKNOWN"], "UNKNOWN": standing["UNKNOWN"]}
    assert lab.twice(twilio.bodies) == []
    async with gateway.read() as session:
        lost = (await session.scalars(select(Attempt).where(Attempt.outcome == "UNKNOWN"))).all()
    assert len(lost) == standing["UNKNOWN"]
    assert {(attempt.failure or {})["code"] for attempt in lost} == {"WORKER_LOST"}
    assert max((attempt.finished_at or at) - at for attempt in lost).total_seconds() < LEASE_SECONDS + 3
    status = "query($id: ID!) { connector(id: $id) { isVerified status { circuit } } }"
    found = (await gateway.gql(status, id=connector))["connector"]
    assert found == {"isVerified": True, "status": {"circuit": "CLOSED"}}, "our own death is not the connector's fault"


async def test_one_is_held_up_past_its_lease_and_comes_back(gateway: Gateway, tmp_path: Path) -> None:
    """What it learns too late lifts UNKNOWN, or puts back what had not left; nothing is sent twice."""
    async with lab.Twilio(delay=0.2) as twilio:
        await lab.verified(gateway, "Sms", twilio.config)
        ids = await batches(gateway, 800)
        with workers(gateway, tmp_path, 2) as processes:
            await all_claim(gateway, 2)
            processes[0].send_signal(signal.SIGSTOP)
            await asyncio.sleep(LEASE_SECONDS + 1.5)
            assert sum([(await lab.counts(gateway, batch)).get("UNKNOWN", 0) for batch in ids]) > 0
            processes[0].send_signal(signal.SIGCONT)

            async def known() -> bool:
                standing = await ended(gateway, ids, 800)
                return standing == {"SENT": 800}

            await eventually(known, 60)
    assert lab.twice(twilio.bodies) == [] and len(twilio.bodies) == 800


async def test_a_limit_holds_across_them(gateway: Gateway, tmp_path: Path) -> None:
    async with lab.Twilio() as twilio:
        await lab.verified(gateway, "Slow", twilio.config, throttlePerSecond=40)
        ids = await batches(gateway, 200)
        with workers(gateway, tmp_path, 2):

            async def begun() -> bool:
                return bool(twilio.bodies)

            await eventually(begun, 20)
            at = time.monotonic()
            assert await ended(gateway, ids, 200) == {"SENT": 200}
            took = time.monotonic() - at
    assert twilio.most_within(0.95) <= 40
    assert 4.5 < took < 9
    assert lab.twice(twilio.bodies) == []


async def test_room_in_flight_holds_across_them(gateway: Gateway, tmp_path: Path) -> None:
    async with lab.Twilio(delay=0.3) as twilio:
        connector = await lab.verified(gateway, "Narrow", twilio.config)
        async with gateway.application.database.write() as session:
            (await session.get_one(Lane, connector)).max_in_flight = 10
        ids = await batches(gateway, 60)
        with workers(gateway, tmp_path, 3):
            most = 0
            while (await lab.counts(gateway, ids[0])).get("SENT", 0) < 60:
                most = max(most, sum((await leased(gateway)).values()))
                await asyncio.sleep(0.01)
    assert 0 < most <= 8
    assert lab.twice(twilio.bodies) == []


async def test_a_circuit_one_opens_is_open_for_all(gateway: Gateway, tmp_path: Path) -> None:
    async with lab.Twilio() as twilio:
        twilio.answers = lambda _body: lab.refusal(503)
        await lab.verified(gateway, "Sms", twilio.config)
        await batches(gateway, 1000)
        with workers(gateway, tmp_path, 3, WORKER_CONCURRENCY="10"):

            async def opened() -> bool:
                (node,) = (await gateway.gql("{ connectors { nodes { status { circuit } } } }"))["connectors"]["nodes"]
                return bool(node["status"]["circuit"] == "OPEN")

            await eventually(opened, 60)
            await asyncio.sleep(0.5)
            came = len(twilio.bodies)
            await asyncio.sleep(2)
            assert len(twilio.bodies) == came <= 60
