"""The worker: no more at once and no faster than allowed, the urgent first, and a good end."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.base import now
from models.messages import Attempt, Message, MessageStatus
from models.queue import Job
from tests import lab, make
from tests.harness import Gateway, database_of, eventually, process, running, settings_for
from tests.provider_server import ProviderServer, Reply, Silence
from tests.sending import log_of, message, plug, script, send, settled

Json = Any
ACCOUNT = "/2010-04-01/Accounts/AC00000000000000000000000000000000"
TAKEN = Reply(201, {"sid": "SM1", "status": "queued"})


async def attempts(gateway: Gateway) -> Sequence[Attempt]:
    """Every attempt, in the order they were claimed."""
    async with gateway.read() as session:
        return (await session.scalars(select(Attempt).order_by(Attempt.started_at, Attempt.message_id))).all()


async def standing(gateway: Gateway) -> list[str]:
    async with gateway.read() as session:
        return sorted(await session.scalars(select(Message.status)))


async def all_sent(gateway: Gateway, count: int, seconds: float = 10) -> None:
    async def sent() -> bool:
        return (await standing(gateway)).count(MessageStatus.SENT) == count

    await eventually(sent, seconds)


def most_at_once(found: Sequence[Attempt]) -> int:
    """How many attempts were begun and not finished, at the worst moment."""
    moments = [(attempt.started_at, 1) for attempt in found]
    moments += [(attempt.finished_at, -1) for attempt in found if attempt.finished_at]
    flying = worst = 0
    for _, change in sorted(moments):
        flying += change
        worst = max(worst, flying)
    return worst


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_no_more_are_in_flight_than_allowed(tmp_path: Path, concurrency: int) -> None:
    async with running(settings_for(tmp_path, worker_concurrency=concurrency)) as gateway:
        made = await plug(gateway, config={"simulator": {"latencyMs": 50}})
        await asyncio.gather(*(send(gateway, "no-receipt", connectorId=made["id"]) for _ in range(4 * concurrency)))
        await all_sent(gateway, 4 * concurrency)
        assert 1 <= most_at_once(await attempts(gateway)) <= concurrency


async def test_no_faster_than_the_connector_may(gateway: Gateway) -> None:
    """A bucket of one second's worth: after it, the rate is kept to."""
    made = await plug(gateway, throttlePerSecond=10)
    began = now()
    await asyncio.gather(*(send(gateway, "no-receipt", connectorId=made["id"]) for _ in range(25)))
    await all_sent(gateway, 25)
    starts = [attempt.started_at for attempt in await attempts(gateway)]
    second = dt.timedelta(seconds=1)
    for seconds in (1, 2):
        within = max(sum(start <= other < start + seconds * second for other in starts) for start in starts)
        assert within <= 10 + 10 * seconds
    assert starts[-1] - began >= 1.3 * second


async def test_a_one_time_password_overtakes_what_waits(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, worker_concurrency=5)) as gateway:
        made = await plug(gateway, config={"simulator": {"latencyMs": 60}})
        bulk = [send(gateway, "no-receipt", connectorId=made["id"], priority="BULK") for _ in range(40)]
        waiting = await asyncio.gather(*bulk)
        urgent = await send(gateway, "no-receipt", connectorId=made["id"], flow="OTP")
        await settled(gateway, urgent, "SENT")
        assert (await standing(gateway)).count(MessageStatus.QUEUED) > 10
        await all_sent(gateway, 41)
        order = [attempt.message_id for attempt in await attempts(gateway)]
        assert order.index(urgent) < 30 and set(order) == {urgent, *waiting}


class Deaf:
    """A listener that never finishes a handshake: connecting to it takes for ever, and nothing leaves."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=0)
        self._fillers = [socket.socket() for _ in range(4)]

    def __enter__(self) -> Deaf:
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (*self._fillers, self._listener):
            opened.close()


async def twilio(gateway: Gateway, provider: ProviderServer) -> Json:
    provider.on("GET", f"{ACCOUNT}.json", Reply(200, {"status": "active"}))
    await lab.approve(gateway)
    return await plug(gateway, "twilio", config=make.twilio(provider.url, fromNumber="Patchbay"))


async def test_what_has_not_left_when_the_process_ends_goes_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, drain_seconds=0)
    async with database_of(settings), ProviderServer() as provider:
        async with process(settings) as gateway:
            await twilio(gateway, provider)
            port = provider.port
            await provider.__aexit__(None, None, None)
            with Deaf(port):
                message_id = await send(gateway, "+14155550123", channel="SMS", senderId=lab.SENDER)
                await settled(gateway, message_id, "PROCESSING")
                await asyncio.sleep(0.2)
                assert gateway.application.worker is not None
                await gateway.application.worker.stop(0)
                found = await message(gateway, message_id)
                assert found["status"] == "QUEUED" and len(found["attempts"]) == 1
                assert found["attempts"][0]["failure"]["code"] == "WORKER_STOPPED"
                async with gateway.read() as session:
                    (job,) = await session.scalars(select(Job))
                    assert (job.attempts, job.tries, job.worker) == (1, 0, None)
        assert provider.connections == 1  # by the checks


async def test_what_had_left_when_the_process_ended_is_unknown_and_stays_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, drain_seconds=0)
    async with database_of(settings), ProviderServer(default=Silence()) as provider:
        async with process(settings) as gateway:
            await twilio(gateway, provider)
            message_id = await send(gateway, "+14155550123", channel="SMS", senderId=lab.SENDER)
            await eventually(lambda: asked(provider, 1))
        async with process(settings) as gateway:
            found = await settled(gateway, message_id, "UNKNOWN")
            assert [attempt["outcome"] for attempt in found["attempts"]] == ["UNKNOWN"]
            assert found["failure"]["code"] in ("WORKER_STOPPED", "WORKER_LOST")
            await asyncio.sleep(0.5)
            assert await asked(provider, 1)
            told = [event.payload for event in await log_of(gateway) if event.type == "sms.unknown"]
            assert [event["previousStatus"] for event in told] == ["PROCESSING"]


async def asked(provider: ProviderServer, times: int) -> bool:
    return sum(request.method == "POST" for request in provider.requests) == times


async def test_what_is_in_flight_is_finished_before_the_process_ends(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, drain_seconds=5)
    async with database_of(settings):
        async with process(settings) as gateway:
            await plug(gateway)
            sent = [await send(gateway, metadata=script(latency=400)) for _ in range(10)]
            for message_id in sent:
                await settled(gateway, message_id, "PROCESSING", "SENT")
        async with process(settings, worker=False) as gateway:
            assert await standing(gateway) == ["SENT"] * 10
