"""How fast a connector may send: a limit for every second, room in flight, pauses."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from models import lanes
from models.lanes import Lane
from models.queue import Job
from tests import lab, make
from tests.harness import Gateway, eventually, running, settings_for
from tests.sending import message, send, settled

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def lane(per_second: float | None, **changes: object) -> Lane:
    """A lane with a full bucket."""
    burst = lanes._burst(per_second)
    given = {"per_second": per_second, "burst": burst, "tokens": float(burst), "tokens_at": AT}
    return Lane(**{**given, **changes})


def later(seconds: float) -> dt.datetime:
    return AT + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("per_second", [0.5, 1, 2.5, 7, 19, 20, 39, 40, 100, 999])
def test_no_second_has_more_than_its_limit(per_second: float) -> None:
    """Whoever takes all there is, whenever there is some, never takes more within a second."""
    found, taken = lane(per_second), []
    step = min(0.01, 0.1 / per_second)
    for n in range(int(3 * max(1, 1 / per_second) / step)):
        at = later(n * step)
        if (whole := int(found.filled(at))) > 0:
            found.tokens, found.tokens_at = found.filled(at) - whole, at
            taken.append((n * step, whole))
    most = max(sum(count for when, count in taken if begin <= when < begin + 0.999) for begin, _ in taken[:200])
    assert most <= math.ceil(per_second)
    assert sum(count for _, count in taken) >= 0.85 * per_second * 3 * max(1, 1 / per_second) - 1


def test_an_unlimited_lane_never_rests() -> None:
    assert lane(None).rests(AT, only_bulk=True) == 0


def test_a_lane_rests_until_its_next_message_its_pause_or_its_circuit() -> None:
    assert lane(10, tokens=0.0).rests(AT, False) == pytest.approx(0.1)
    assert lane(10, tokens=0.5).rests(AT, False) == pytest.approx(0.05)
    assert lane(10, paused_until=later(3)).rests(AT, False) == 3
    assert lane(10, open_until=later(4), paused_until=later(3)).rests(AT, False) == 4
    assert lane(10, bulk_paused_until=later(5)).rests(AT, False) == 0
    assert lane(10, bulk_paused_until=later(5)).rests(AT, True) == 5
    assert lane(10, open_until=later(-1), paused_until=later(-2)).rests(AT, True) == 0


def test_a_clock_that_was_set_back_neither_fills_nor_blocks() -> None:
    empty = lane(10, tokens=0.0)
    assert empty.filled(later(-0.5)) == 0
    assert empty.filled(later(-7200)) == 1
    assert empty.filled(later(7200)) == empty.burst


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@pytest.fixture
async def twilio() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


async def test_a_limit_holds_in_every_second_and_is_used(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "Slow", twilio.config, throttlePerSecond=20)
    batch = await lab.send_batch(idle, [lab.sms(f"m{n}") for n in range(40)])
    async with lab.working(idle):
        begun = time.monotonic()
        await lab.drained(idle, batch, {"SENT": 40})
        took = time.monotonic() - begun
    assert twilio.most_within(0.95) <= 20
    assert 1.8 < took < 4.0
    assert lab.twice(twilio.bodies) == []


async def test_a_new_limit_holds_at_once(idle: Gateway, twilio: lab.Twilio) -> None:
    connector_id = await lab.verified(idle, "Slow", twilio.config, throttlePerSecond=1)
    batch = await lab.send_batch(idle, [lab.sms(f"m{n}") for n in range(50)])
    async with lab.working(idle):

        async def one() -> bool:
            return bool(twilio.bodies)

        await eventually(one)
        await make.change(idle, connector_id, throttlePerSecond=None)
        await lab.drained(idle, batch, {"SENT": 50}, seconds=3)


async def set_room(gateway: Gateway, connector_id: str, most: int) -> None:
    async with gateway.application.database.write() as session:
        (await session.get_one(Lane, connector_id)).max_in_flight = most


async def test_a_fifth_of_the_room_in_flight_is_kept_for_one_time_passwords(idle: Gateway, twilio: lab.Twilio) -> None:
    connector_id = await lab.verified(idle, "Narrow", twilio.config)
    await set_room(idle, connector_id, 10)
    twilio.delay = 1.0
    await lab.send_batch(idle, [lab.sms(f"n{n}", priority="HIGH") for n in range(30)])
    async with lab.working(idle):

        async def full() -> bool:
            return len(twilio.bodies) == 8

        await eventually(full)
        await lab.send_batch(idle, [lab.sms(f"otp{n}", flow="OTP") for n in range(5)])
        await asyncio.sleep(0.5)
        assert sorted(twilio.bodies[8:]) == ["otp0", "otp1"]


async def test_a_fifth_of_the_workers_slots_too(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "Wide", twilio.config)
    twilio.delay = 1.0
    await lab.send_batch(idle, [lab.sms(f"n{n}") for n in range(30)])
    async with lab.working(idle, concurrency=10) as worker:

        async def full() -> bool:
            return len(twilio.bodies) == 8

        await eventually(full)
        await lab.send_batch(idle, [lab.sms(f"otp{n}", flow="OTP") for n in range(5)])
        await asyncio.sleep(0.5)
        assert sorted(twilio.bodies[8:]) == ["otp0", "otp1"] and worker.in_flight == 10


async def test_the_most_urgent_first(idle: Gateway, twilio: lab.Twilio) -> None:
    """One at a time, accepted in the wrong order."""
    await lab.verified(idle, "Slow", twilio.config, throttlePerSecond=20)
    for body, given in (
        ("bulk", {"priority": "BULK"}),
        ("normal", {}),
        ("high", {"priority": "HIGH"}),
        ("otp", {"flow": "OTP"}),
    ):
        await lab.send_batch(idle, [lab.sms(f"{body}{n}", **given) for n in range(3)])
    async with lab.working(idle):

        async def all_came() -> bool:
            return len(twilio.bodies) == 12

        await eventually(all_came)
    assert [body[:-1] for body in twilio.bodies] == ["otp"] * 3 + ["high"] * 3 + ["normal"] * 3 + ["bulk"] * 3


async def test_a_provider_that_asks_for_rest_gets_it_and_bulk_rests_longer(idle: Gateway, twilio: lab.Twilio) -> None:
    await lab.verified(idle, "Busy", twilio.config)
    refusals = [lab.refusal(429, 20429, **{"Retry-After": "1"})]
    twilio.answers = lambda _body: refusals.pop() if refusals else None
    async with lab.working(idle):
        first = await send(idle, **lab.sms("first"))

        async def asked() -> bool:
            return len(twilio.bodies) == 1

        await eventually(asked)
        await asyncio.sleep(0.1)
        assert (await message(idle, first))["attempts"][0]["outcome"] == "THROTTLED"
        await lab.send_batch(idle, [lab.sms("bulk", priority="BULK"), lab.sms("normal"), lab.sms("otp", flow="OTP")])
        found = await settled(idle, first, "SENT")

        async def all_came() -> bool:
            return len(twilio.bodies) == 5

        await eventually(all_came)
    times = {body: at - twilio.arrivals[0][0] for at, body in twilio.arrivals[1:]}
    assert min(times.values()) >= 0.95
    assert max(times[body] for body in ("first", "normal", "otp")) < 1.7
    assert times["bulk"] >= 1.9
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["THROTTLED", "SENT"]
    async with idle.read() as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 0
