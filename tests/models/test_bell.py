from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models.bell import JOBS, Bell, events_of
from tests.brokers import Server, free_port, postgres_server, redis_server, until

QUICK = {"ping": 0.1, "deaf_after": 0.5}


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Server]:
    server = redis_server(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=["redis", "postgres"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Server, str]]:
    with nullcontext(redis_server(tmp_path)) if request.param == "redis" else postgres_server() as server:
        await server.start()
        yield server, url_of(server)
        await server.stop()


def url_of(server: Server) -> str:
    if "redis-server" in server.command[0]:
        return f"redis://127.0.0.1:{server.port}/0"
    return f"postgresql://postgres@127.0.0.1:{server.port}/postgres"


@asynccontextmanager
async def ringing(url: str, count: int = 1) -> AsyncIterator[list[Bell]]:
    bells = [Bell(url, **QUICK) for _ in range(count)]
    for bell in bells:
        await bell.start()
    try:
        yield bells
    finally:
        for bell in bells:
            await bell.stop()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def heard_by(bell: Bell) -> list[str]:
    heard: list[str] = []
    bell.listen(heard.append)
    return heard


def all_healthy(bells: list[Bell]) -> Callable[[], bool]:
    return lambda: all(bell.healthy for bell in bells)


@pytest.mark.parametrize("url", ["nats://127.0.0.1", "redis-stream://127.0.0.1", "kafka://127.0.0.1", "127.0.0.1:6379", ""])
def test_other_brokers_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="cannot ring over"):
        Bell(url)


def test_refusing_a_url_does_not_repeat_its_password() -> None:
    with pytest.raises(ValueError) as refused:
        Bell("amqp://user:hunter2@host/")
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(Bell("redis://user:hunter2@host/"))


async def test_a_local_ring_needs_neither_start_nor_broker() -> None:
    bell = Bell(f"redis://127.0.0.1:{free_port()}")
    heard = heard_by(bell)
    bell.ring(events_of("ws_1"), JOBS)
    assert heard == ["events:ws_1", "jobs"]


async def test_a_local_ring_is_heard_once_though_the_broker_returns_it(redis: Server) -> None:
    async with ringing(url_of(redis)) as [bell]:
        await until(all_healthy([bell]))
        heard = heard_by(bell)
        bell.ring(JOBS)
        assert heard == [JOBS]
        await asyncio.sleep(0.3)
        assert heard == [JOBS]


async def test_a_forgotten_listener_hears_nothing() -> None:
    bell = Bell("memory://")
    heard: list[str] = []
    forget = bell.listen(heard.append)
    others = heard_by(bell)
    forget()
    forget()
    bell.ring(JOBS)
    assert (heard, others) == ([], [JOBS])


async def test_a_failing_listener_disturbs_neither_the_ringer_nor_the_others() -> None:
    def fail(hint: str) -> None:
        raise RuntimeError(hint)

    bell = Bell("memory://")
    bell.listen(fail)
    heard = heard_by(bell)
    with capture_logs() as logs:
        bell.ring(JOBS)
    assert heard == [JOBS]
    assert [entry["event"] for entry in logs] == ["bell_listener_failed"]


async def test_memory_is_healthy_and_stops_without_a_trace() -> None:
    async with ringing("memory://") as [bell]:
        assert not bell.healthy
        await until(all_healthy([bell]))
        await bell.start()
        await asyncio.sleep(0.7)
        assert bell.healthy
    assert not bell.healthy
    await bell.stop()


async def test_hints_reach_the_other_processes(broker: tuple[Server, str]) -> None:
    async with ringing(broker[1], 3) as bells:
        await until(all_healthy(bells))
        heard = [heard_by(bell) for bell in bells]
        bells[0].ring(events_of("ws_1"), JOBS)
        await until(lambda: all(len(each) == 2 for each in heard))
        assert [sorted(each) for each in heard] == [["events:ws_1", "jobs"]] * 3


async def test_many_hints_travel_together_and_all_arrive(broker: tuple[Server, str]) -> None:
    async with ringing(broker[1], 2) as bells:
        await until(all_healthy(bells))
        heard = heard_by(bells[1])
        for _ in range(20):
            bells[0].ring(*(events_of(f"ws_{number:032}") for number in range(1000)))
        await until(lambda: len(set(heard)) == 1000)
        await asyncio.sleep(0.2)
        assert Counter(Counter(heard).values()) == {1: 1000}


async def test_everyone_at_once(broker: tuple[Server, str]) -> None:
    """broadcaster's own PostgreSQL backend loses nine of ten such subscribers and nineteen of twenty such publishes."""
    async with ringing(broker[1], 10) as bells:
        await until(all_healthy(bells))
        heard = [heard_by(bell) for bell in bells]
        for number, bell in enumerate(bells):
            bell.ring(f"from {number}")
        await until(lambda: all(len(each) == 10 for each in heard))
        assert all(set(each) == {f"from {number}" for number in range(10)} for each in heard)


async def test_starts_without_the_broker_and_finds_it_later(tmp_path: Path) -> None:
    server = redis_server(tmp_path)
    with capture_logs() as logs:
        async with ringing(url_of(server), 2) as bells:
            await asyncio.sleep(1.0)
            assert not any(bell.healthy for bell in bells)
            heard = heard_by(bells[1])
            await server.start()
            await until(all_healthy(bells))
            bells[0].ring(JOBS)
            await until(lambda: heard == [JOBS])
        await server.stop()
    assert Counter(entry["event"] for entry in logs) == {"bell_lost": 2, "bell_back": 2}


async def test_survives_restarts_of_the_broker(broker: tuple[Server, str]) -> None:
    server, url = broker
    async with ringing(url, 2) as bells:
        for _ in range(3):
            await until(all_healthy(bells))
            heard = heard_by(bells[1])
            await server.stop()
            await until(lambda: not any(bell.healthy for bell in bells), within=1.0)
            await server.start()
            await until(all_healthy(bells))
            bells[0].ring(JOBS)
            await until(partial(heard.__contains__, JOBS))


async def test_a_frozen_broker_delays_nobody(redis: Server) -> None:
    async with ringing(url_of(redis), 2) as bells:
        await until(all_healthy(bells))
        redis.freeze()
        started = time.perf_counter()
        for number in range(1000):
            bells[0].ring(events_of(str(number)))
        assert time.perf_counter() - started < 0.1
        await until(lambda: not any(bell.healthy for bell in bells), within=3.0)
        heard = heard_by(bells[1])
        redis.thaw()
        await until(all_healthy(bells))
        bells[0].ring(JOBS)
        await until(lambda: JOBS in heard)


async def test_stops_while_the_broker_is_frozen(redis: Server) -> None:
    async with ringing(url_of(redis)) as bells:
        await until(all_healthy(bells))
        redis.freeze()
        bells[0].ring(JOBS)
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await bells[0].stop()
        assert time.perf_counter() - started < 2.5
    redis.thaw()


async def test_stops_at_the_moment_the_broker_does(broker: tuple[Server, str]) -> None:
    server, url = broker
    for _ in range(8):
        async with ringing(url, 5) as bells:
            await until(all_healthy(bells))
            for bell in bells:
                bell.ring(JOBS)
            await asyncio.wait_for(asyncio.gather(server.stop(), *(bell.stop() for bell in bells)), 5)
        await server.start()


class Muffler:
    """Stands between a bell and Redis; `muffled` withholds what Redis says to subscribers, with every connection alive."""

    def __init__(self, port: int) -> None:
        self.muffled = False
        self.ears = 0
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_connection("127.0.0.1", self._port)
        subscribed = asyncio.Event()
        pumps = {
            asyncio.create_task(self._up(reader, below, subscribed)),
            asyncio.create_task(self._down(above, writer, subscribed)),
        }
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        below.close()
        writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if b"SUBSCRIBE" in data:
                self.ears += 1
                subscribed.set()
            writer.write(data)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribed: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if not (self.muffled and subscribed.is_set()):
                writer.write(data)


async def test_deafness_that_no_error_shows_is_found_by_the_ping(redis: Server) -> None:
    muffler = Muffler(redis.port)
    proxy = await asyncio.start_server(muffler.serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    bell, other = Bell(f"redis://127.0.0.1:{port}", **QUICK), Bell(url_of(redis), **QUICK)
    try:
        await bell.start()
        await other.start()
        await until(all_healthy([bell, other]))
        muffler.muffled = True
        assert 0.3 < await until(lambda: not bell.healthy) < 1.0
        muffler.muffled = False
        await until(all_healthy([bell, other]))
        assert muffler.ears >= 2
        heard = heard_by(bell)
        other.ring(JOBS)
        await until(lambda: heard == [JOBS])
    finally:
        await bell.stop()
        await other.stop()
        proxy.close()
        await proxy.wait_closed()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_noise_on_the_channel_is_survived(redis: Server) -> None:
    async with ringing(url_of(redis)) as [bell]:
        await until(all_healthy([bell]))
        reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
        for noise in (b"\xff\xfe\x00", b"no token", b"\n\n"):
            writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$8\r\npatchbay\r\n$%d\r\n%b\r\n" % (len(noise), noise))
            await reader.readline()
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.6)
        assert bell.healthy
