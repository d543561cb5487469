"""Much of one kind does not keep the rest waiting."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bench.installation import approved_sender
from delivery import shares
from delivery.worker import HANDFUL
from models import queue
from models.busy import BusyLane
from tests import lab, make
from tests.harness import Gateway, eventually, running, settings_for
from tests.sending import send, settled


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


def places(bodies: list[str]) -> dict[str, float]:
    """Where in the sequence the last of each kind came, from 0 to 1; the kind is the text before the dash."""
    return {body.partition("-")[0]: (n + 1) / len(bodies) for n, body in enumerate(bodies)}


def busy(name: str, workspace: str = "w", top: int = queue.NORMAL) -> BusyLane:
    return BusyLane(name, workspace, top, 0)


def among(lanes: Sequence[BusyLane], slots: int, taken: int, number: int, spare: int = 1000) -> list[shares.Share]:
    return shares.among(lanes, slots, taken, number, spare)


def test_no_more_than_the_spare_are_taken_of_what_is_not_urgent() -> None:
    otp = busy("otp", top=queue.OTP)
    assert among([otp, busy("a"), busy("b")], 100, 10, 1, spare=7) == [(otp, 7, 90)]
    assert among([busy("a")], 100, 10, 1, spare=7) == [(busy("a"), 7, 0)]
    assert among([otp, busy("a")], 100, 10, 1, spare=-3) == [(otp, 0, 90)]


def test_one_lane_may_take_four_fifths_and_passwords_all() -> None:
    assert among([busy("a")], 100, 0, 1) == [(busy("a"), 80, 0)]
    assert among([busy("a")], 100, 75, 1) == [(busy("a"), 5, 0)]
    assert among([busy("a")], 100, 80, 1) == []
    otp = busy("a", top=queue.OTP)
    assert among([otp], 100, 0, 1) == [(otp, 80, 100)]
    assert among([otp], 100, 95, 1) == [(otp, 0, 5)]
    assert among([otp], 100, 100, 1) == []


def test_one_slot_serves_everybody() -> None:
    assert among([busy("a")], 1, 0, 1) == [(busy("a"), 1, 0)]


def test_the_urgent_first_but_now_and_then_the_least_urgent() -> None:
    lanes = [busy("bulk", top=queue.BULK), busy("otp", top=queue.OTP), busy("high", top=queue.HIGH)]
    for number in range(1, 17):
        order = [share.lane.id for share in among(lanes, 1000, 0, number)]
        assert order == (["bulk", "high", "otp"] if number % 8 == 0 else ["otp", "high", "bulk"])


def test_many_lanes_weigh_no_more_than_one() -> None:
    lanes = [*[busy(f"a{n}", "big") for n in range(8)], busy("b", "small")]
    first, second, *_ = among(lanes, 100, 0, 1)
    assert (first.lane.workspace_id, second.lane.workspace_id) == ("big", "small")
    assert (first.common, second.common) == (25, 55)


async def test_a_hot_connector_does_not_starve_the_others(idle: Gateway) -> None:
    """One has 80 % of the work, waiting before that of the others; they are done before a third of it is."""
    async with lab.Twilio(delay=0.01) as twilio:
        ids = [await lab.verified(idle, f"C{n}", twilio.config) for n in range(5)]
        everything = []
        for lane, share in zip(ids, (400, 25, 25, 25, 25), strict=True):
            label = "hot" if share == 400 else "cold"
            texts = [lab.sms(f"{label}-{lane}-{n}", connectorId=lane) for n in range(share)]
            everything.append((await lab.send_batch(idle, texts), share))
        async with lab.working(idle, concurrency=20):
            for batch, share in everything:
                await lab.drained(idle, batch, {"SENT": share}, seconds=60)
    found = places(twilio.bodies)
    assert found["hot"] == 1.0 and found["cold"] < 0.6
    assert lab.twice(twilio.bodies) == []


async def test_a_busy_workspace_does_not_starve_another(idle: Gateway) -> None:
    """Eight connectors of one share what one connector of the other has alone."""
    other = await idle.workspace("other")
    token = idle.token(workspace=other)
    async with lab.Twilio(delay=0.01) as twilio:
        for n in range(8):
            await lab.verified(idle, f"C{n}", twilio.config)
        made = await make.mutate(idle, "connectorCreate", token, "connector { id }", name="Small", config=twilio.config)
        await make.mutate(idle, "connectorVerify", token, "connector { id }", id=made["connector"]["id"])
        batch = await lab.send_batch(idle, [lab.sms(f"big-{n}") for n in range(400)])
        async with idle.application.database.write() as session:
            session.add(approved_sender(other.id, sender_id="snd_other"))
        small = {"messages": [lab.sms(f"small-{n}", senderId="snd_other") for n in range(50)]}
        answer = await idle.gql(lab.BATCH, token, input=small)
        assert answer["messageSendBatch"]["userErrors"] == []
        async with lab.working(idle, concurrency=20):
            await lab.drained(idle, batch, {"SENT": 400}, seconds=60)
    assert places(twilio.bodies)["small"] < 0.5


async def test_while_passwords_come_few_others_are_kept_in_hand(idle: Gateway) -> None:
    """As many as a worker has slots for before the first, and a handful from then on."""
    before, then = list[int](), list[int]()
    async with lab.Twilio() as twilio:
        await lab.verified(idle, "Both", twilio.config)
        batch = await lab.send_batch(idle, [lab.sms(f"bulk-{n}", priority="BULK") for n in range(1000)])
        seen = before
        async with lab.working(idle, concurrency=80) as worker:

            async def look() -> None:
                while True:
                    seen.append(worker.in_hand)
                    await asyncio.sleep(0)

            looking = asyncio.create_task(look())
            await eventually(lambda: arrived(twilio, 100))
            idle.application.worker = worker
            for n in range(10):
                sent = await send(idle, to="+15005550006", senderId=lab.SENDER, channel="SMS", body="otp", flow="OTP")
                await settled(idle, sent, "SENT")
                seen = then if n else before  # what was in hand before the first has gone
            looking.cancel()
            idle.application.worker = None
            assert len(twilio.bodies) < 1000, "the bulk was still under way"
            await lab.drained(idle, batch, {"SENT": 1000}, seconds=60)
        assert worker.in_hand == 0
    assert max(before) >= 64
    assert 0 < statistics.median(then) <= 80 // HANDFUL


async def test_a_provider_that_takes_its_time_is_given_no_fewer(idle: Gateway) -> None:
    async with lab.Twilio(delay=3) as twilio:
        await lab.verified(idle, "Slow", twilio.config)
        await lab.send_batch(idle, [lab.sms(f"bulk-{n}", priority="BULK") for n in range(100)])
        async with lab.working(idle, concurrency=40) as worker:
            idle.application.worker = worker
            for n in range(4):
                await send(idle, to="+15005550006", senderId=lab.SENDER, channel="SMS", body=f"otp-{n}", flow="OTP")
            await eventually(lambda: arrived(twilio, 32), 2)  # all the slots that are not for passwords alone
            idle.application.worker = None
            assert worker.in_hand == 0


async def arrived(twilio: lab.Twilio, number: int) -> bool:
    return len(twilio.bodies) >= number


@pytest.mark.parametrize("pinned", [True, False], ids=["same connector", "another connector"])
async def test_bulk_does_not_delay_one_time_passwords(idle: Gateway, pinned: bool) -> None:
    """While thousands wait, a password is sent in the time it takes when nothing waits, give or take a batch."""
    async with lab.Twilio(delay=0.05) as twilio:
        bulk = await lab.verified(idle, "Bulk", twilio.config)
        codes = bulk if pinned else await lab.verified(idle, "Codes", twilio.config, priority=9)
        for part in range(3):
            texts = [f"bulk-{part}-{n}" for n in range(1000)]
            given = {"to": "+15005550006", "senderId": lab.SENDER, "connectorId": bulk, "priority": "BULK"}
            await lab.send_batch(idle, [{**given, "body": text} for text in texts])
        waits = []
        async with lab.working(idle, concurrency=50):
            for n in range(20):
                begun = time.monotonic()
                await send(idle, to="+15005550006", senderId=lab.SENDER, connectorId=codes, body=f"otp-{n}", flow="OTP")

                async def came(text: str = f"otp-{n}") -> bool:
                    return text in twilio.bodies[-400:]

                await eventually(came)
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(0.02)
            assert any(body.startswith("bulk-") for body in twilio.bodies)
            assert len(twilio.bodies) < 3020, "the bulk was still under way"
    assert sorted(waits)[len(waits) // 2] < 0.25 and max(waits) < 1.0


async def test_bulk_moves_while_urgent_messages_keep_coming(idle: Gateway) -> None:
    async with lab.Twilio(delay=0.01) as twilio:
        urgent = await lab.verified(idle, "Urgent", twilio.config)
        bulk = await lab.verified(idle, "Bulk", twilio.config)
        given = {"to": "+15005550006", "senderId": lab.SENDER, "flow": "OTP", "connectorId": urgent}
        await lab.send_batch(idle, [{**given, "body": f"otp-{n}"} for n in range(900)])
        slow = await send(idle, to="+15005550006", senderId=lab.SENDER, connectorId=bulk, body="bulk-0", priority="BULK")
        async with lab.working(idle, concurrency=4):
            await settled(idle, slow, "SENT")
            assert len(twilio.bodies) < 600
