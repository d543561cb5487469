"""One-time passwords are claimed in the transaction that accepts them, if a worker of that process has room."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from delivery.worker import Worker
from models.base import now
from models.queue import LEASED, READY, SCHEDULED, Job
from tests import lab, make
from tests.harness import POSTGRESQL, Gateway, Json, eventually, running, settings_for
from tests.sending import SEND, message, send, settled, stored, try_send

OTP = {"to": "+15005550006", "senderId": lab.SENDER, "channel": "SMS", "flow": "OTP"}


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@pytest.fixture
async def twilio() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


@asynccontextmanager
async def blind(gateway: Gateway, concurrency: int = 10) -> AsyncIterator[Worker]:
    """The process has a worker, which lives and does not look for work. After the block it does, until there is none."""
    worker = lab.worker_for(gateway, concurrency)
    running = asyncio.create_task(worker.run())

    async def known() -> bool:
        return worker.is_known

    await eventually(known)
    running.cancel()
    await asyncio.wait({running})
    gateway.application.worker = worker
    yield worker
    gateway.application.worker = None
    running = asyncio.create_task(worker.run())
    await eventually(lambda: idle_again(gateway))
    await worker.stop(5)
    running.cancel()
    await asyncio.wait({running})


async def idle_again(gateway: Gateway) -> bool:
    return not await states(gateway)


async def states(gateway: Gateway) -> list[int]:
    """Of the jobs, in the order of their messages."""
    async with gateway.read() as session:
        return list(await session.scalars(select(Job.state).order_by(Job.message_id)))


async def arrived(twilio: lab.Twilio, *bodies: str) -> None:
    async def there() -> bool:
        return twilio.bodies == list(bodies)

    await eventually(there)


async def test_it_leaves_although_nobody_looks_for_it(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle):
        sent = await send(idle, **OTP, body="otp")
        await arrived(twilio, "otp")
        assert await states(idle) == [LEASED]
        assert [step["status"] for step in (await message(idle, sent))["timeline"]] == ["QUEUED", "PROCESSING"]
    found = await settled(idle, sent, "SENT")
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["SENT"]
    assert twilio.bodies == ["otp"]


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"flow": "STANDARD"}, READY),
        ({"flow": "STANDARD", "priority": "HIGH"}, READY),
        ({"priority": "BULK"}, READY),
        ({"scheduledAt": (now() + dt.timedelta(hours=1)).isoformat()}, SCHEDULED),
    ],
    ids=["normal", "high", "bulk", "scheduled"],
)
async def test_other_messages_are_left_to_the_queue(idle: Gateway, twilio: lab.Twilio, given: Json, state: int) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle):
        sent = await send(idle, **{**OTP, **given}, body="later")
        assert await states(idle) == [state]
        if state == SCHEDULED:
            await make.mutate(idle, "messageCancel", select="message { id }", id=sent)


async def test_one_that_finds_no_room_is_queued(idle: Gateway, twilio: lab.Twilio) -> None:
    twilio.delay = 0.2
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle, concurrency=1):
        await send(idle, **OTP, body="first")
        second = await send(idle, **OTP, body="second")
        assert await states(idle) == [LEASED, READY]
        await arrived(twilio, "first")
    await settled(idle, second, "SENT")
    assert twilio.bodies == ["first", "second"]


async def test_the_limits_of_the_connector_hold(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config, throttlePerSecond=1)
    async with blind(idle):
        for body in ("first", "second"):
            await send(idle, **OTP, body=body)
        assert await states(idle) == [LEASED, READY]
        await arrived(twilio, "first")


async def test_who_came_first_goes_first(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle) as worker:
        idle.application.worker = None
        await send(idle, **OTP, body="before")
        idle.application.worker = worker
        await send(idle, **OTP, body="now")
        await arrived(twilio, "before")
        assert await states(idle) == [LEASED, READY]


async def test_many_that_come_together(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle, concurrency=50):
        await asyncio.gather(*(send(idle, **OTP, body=f"otp-{n}") for n in range(40)))

        async def there() -> bool:
            return len(twilio.bodies) == 40

        await eventually(there)
    assert lab.twice(twilio.bodies) == []


async def test_what_is_not_stored_is_not_sent(idle: Gateway, twilio: lab.Twilio) -> None:
    if POSTGRESQL:
        pytest.skip("SQLite alone can be told that its disk is full")
    await lab.verified(idle, "SMS", twilio.config)
    engine = idle.application.database.engine

    async with blind(idle) as worker:
        async with engine.connect() as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        full = True

        def limit(raw: Json, _record: Json) -> None:
            raw.cursor().execute(f"PRAGMA max_page_count={pages if full else 1_000_000}")

        event.listen(engine.sync_engine, "connect", limit)
        await engine.dispose()
        answers = [await idle.post(SEND, {"input": {**OTP, "body": "b" * 1500}}) for _ in range(20)]
        refused = [answer for answer in answers if "errors" in answer]
        assert {answer["errors"][0]["extensions"]["code"] for answer in refused} == {"UNAVAILABLE"}
        kept = 20 - len(refused)
        assert refused and (await stored(idle))["message"] == kept
        assert worker.in_flight == kept

        full = False
        await engine.dispose()
    assert len(twilio.bodies) == kept


async def test_an_attempt_is_no_part_of_the_request_that_began_it(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with blind(idle):
            headers = {"x-request-id": "req-7", "authorization": f"Bearer {idle.token()}"}
            body = {"query": SEND, "variables": {"input": {**OTP, "body": "otp"}}}
            async with idle.http.post(f"{idle.url}/graphql", json=body, headers=headers) as response:
                assert response.headers["x-request-id"] == "req-7"
            await arrived(twilio, "otp")
    (line,) = [line for line in lines if line["event"] == "attempt"]
    assert line["outcome"] == "accepted" and "request_id" not in line


async def test_a_worker_that_stops_waits_for_what_is_being_accepted(idle: Gateway) -> None:
    async with blind(idle) as worker:
        async with worker.express(Counter({"con_1": 1})):
            stopping = asyncio.create_task(worker.stop(5))
            await asyncio.sleep(0.05)
            assert not stopping.done()
        await asyncio.wait_for(stopping, 1)


async def test_a_worker_that_has_stopped_takes_no_more(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle) as worker:
        await worker.stop(5)
        sent = await send(idle, **OTP, body="otp")
        assert await states(idle) == [READY]
        async with idle.application.database.write() as session:
            await session.execute(text("DELETE FROM job"))
    assert (await message(idle, sent))["status"] == "QUEUED"
    assert twilio.bodies == []


async def test_a_repeated_request_sends_nothing_again(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "SMS", twilio.config)
    async with blind(idle):
        for is_replay in (False, True):
            payload = await try_send(idle, **OTP, body="otp", idempotencyKey="k")
            assert (payload["isReplay"], payload["userErrors"]) == (is_replay, [])
        await arrived(twilio, "otp")
    assert twilio.bodies == ["otp"]
