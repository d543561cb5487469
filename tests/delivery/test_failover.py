"""When a connector cannot deliver, another one of its channel does: in order, each once, and never behind a lost answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models import messages as rows
from tests import lab, make
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.provider_server import Reset
from tests.sending import log_of, message, send, settled

ROUTE = "query($id: ID!) { message(id: $id) { from route { decision reason connector { name } } } }"


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@pytest.fixture
async def first() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as twilio:
        yield twilio


@pytest.fixture
async def second() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as twilio:
        yield twilio


async def both(gateway: Gateway, first: lab.Twilio, second: lab.Twilio) -> tuple[str, str]:
    one = await lab.verified(gateway, "First", make.twilio(first.url, fromNumber="Shop"), priority=0)
    return one, await lab.verified(gateway, "Second", make.twilio(second.url, fromNumber="Spare"), priority=1)


def ways(found: Json) -> list[tuple[str, str]]:
    """Outcome and connector of each attempt."""
    return [(attempt["outcome"], attempt["connector"]["id"]) for attempt in found["attempts"]]


async def test_refused_credentials_move_the_message_and_mark_the_connector(
    idle: Gateway, first: lab.Twilio, second: lab.Twilio
) -> None:
    dead, alive = await both(idle, first, second)
    first.answers = lambda _body: lab.UNAUTHORIZED
    async with lab.working(idle):
        found = await settled(idle, await send(idle, **lab.sms("code")), "SENT")
    assert ways(found) == [("FAILED", dead), ("SENT", alive)]
    assert found["connector"] == {"id": alive} and found["failure"] is None
    assert (first.bodies, second.bodies) == (["code"], ["code"])
    entries = [(e["type"], e["source"], e["connector"]["id"], e["attempt"]) for e in found["timeline"]]
    assert entries[2:4] == [("sms.queued", "DISPATCHER", alive, 1), ("sms.processing", "DISPATCHER", alive, 2)]
    assert found["timeline"][2]["detail"].endswith("Going on through Second.")
    status = await make.read(idle, dead)
    assert (status["isVerified"], status["status"]["channel"]["stage"]) == (False, "INACTIVE")
    events = [e.payload for e in await log_of(idle) if e.subject_id == dead and e.payload["cause"] == "delivery"]
    assert [(e["previousStage"], e["status"]["component_status"]) for e in events] == [("ACTIVE", "ERROR")]
    route = (await idle.gql(ROUTE, id=found["id"]))["message"]
    assert [(row["connector"]["name"], row["decision"]) for row in route["route"]] == [
        ("First", "ALREADY_TRIED"),
        ("Second", "CHOSEN"),
    ]
    assert route["from"] == "Shop", "the sender ID stays, whatever the other connector sends from by itself"
    assert dict(second.requests[-1].form())["From"] == "Shop"


async def test_its_queue_goes_to_another_within_two_seconds(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    dead, _ = await both(idle, first, second)
    first.answers = lambda _body: lab.UNAUTHORIZED
    await make.change(idle, dead, throttlePerSecond=2)
    batch = await lab.send_batch(idle, [lab.sms(f"m{n}") for n in range(700)])
    pinned = await send(idle, connectorId=dead, **lab.sms("pinned"), priority="BULK")
    async with lab.working(idle):
        await lab.drained(idle, batch, {"SENT": 700}, seconds=10)
        stuck = await message(idle, pinned)
        assert stuck["connector"] == {"id": dead}, "who names a connector is not given another"
    assert len(first.bodies) <= 8
    assert sorted(second.bodies) == sorted(f"m{n}" for n in range(700))


async def test_a_transient_failure_moves_on_after_a_few_tries(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    weak, strong = await both(idle, first, second)
    first.answers = lambda _body: lab.refusal(503)
    async with lab.working(idle):
        found = await settled(idle, await send(idle, **lab.sms("code", flow="OTP")), "SENT")
    assert ways(found) == [("RETRY", weak), ("RETRY", weak), ("SENT", strong)]
    assert (await make.read(idle, weak))["isVerified"], "that it was busy is not its owner's fault"


async def test_nobody_is_asked_twice(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    weak, dead = await both(idle, first, second)
    first.answers, second.answers = lambda _body: lab.UNAUTHORIZED, lambda _body: lab.UNAUTHORIZED
    async with lab.working(idle):
        found = await settled(idle, await send(idle, **lab.sms("code")), "FAILED")
    assert ways(found) == [("FAILED", weak), ("FAILED", dead)]
    assert (first.bodies, second.bodies) == (["code"], ["code"])
    assert found["failure"]["code"] == "AUTHENTICATION_FAILED"


@pytest.mark.parametrize(("code", "kind"), [(21211, "RECIPIENT"), (21617, "CONTENT")])
async def test_the_messages_own_fault_stays_its_own(
    idle: Gateway, first: lab.Twilio, second: lab.Twilio, code: int, kind: str
) -> None:
    one, _ = await both(idle, first, second)
    first.answers = lambda _body: lab.refusal(400, code)
    async with lab.working(idle):
        found = await settled(idle, await send(idle, **lab.sms("code")), "FAILED")
        await asyncio.sleep(0.2)
    assert ways(found) == [("FAILED", one)] and found["failure"]["kind"] == kind
    assert second.bodies == []


async def test_a_lost_answer_is_not_sent_elsewhere(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    one, _ = await both(idle, first, second)
    first.on("POST", f"{lab.ACCOUNT}/Messages.json", Reset())
    async with lab.working(idle):
        found = await settled(idle, await send(idle, **lab.sms("code")), "UNKNOWN")
        await asyncio.sleep(1.2)
        assert (await message(idle, found["id"]))["status"] == "UNKNOWN"
    assert ways(found) == [("UNKNOWN", one)] and second.bodies == []


async def test_who_names_a_connector_stays_with_it(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    dead, _ = await both(idle, first, second)
    first.answers = lambda _body: lab.UNAUTHORIZED
    async with lab.working(idle):
        found = await settled(
            idle, await send(idle, to="+15005550006", senderId=lab.SENDER, body="code", connectorId=dead), "FAILED"
        )
    assert ways(found) == [("FAILED", dead)] and second.bodies == []


async def test_a_disabled_one_gives_away_what_names_nobody(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    off, other = await both(idle, first, second)
    named = await send(idle, to="+15005550006", senderId=lab.SENDER, body="named", connectorId=off)
    free = await send(idle, **lab.sms("free"))
    await make.change(idle, off, enabled=False)
    async with lab.working(idle):
        found = await settled(idle, free, "SENT")
        assert found["connector"] == {"id": other}
        assert found["timeline"][1]["detail"] == "Going through Second: First cannot take it."
        assert (await message(idle, named))["status"] == "QUEUED"
        await make.change(idle, off, enabled=True)
        assert (await settled(idle, named, "SENT"))["connector"] == {"id": off}
    assert (first.bodies, second.bodies) == (["named"], ["free"])


async def test_each_message_is_routed_on_its_own(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    """The one in front, which nobody else takes, does not keep the others."""
    off = await lab.verified(idle, "Off", first.config, priority=0)
    held = await send(idle, **lab.sms("x" * 1600))
    free = await send(idle, **lab.sms("short"))
    await make.change(idle, off, enabled=False)
    await lab.verified(idle, "Other", make.twilio(second.url, fromNumber="Spare"), priority=1)
    async with idle.application.database.write() as session:
        await rows.write_all(session, [{"id": held, "body": "x" * 1601}])
    async with lab.working(idle):
        await settled(idle, free, "SENT")
        assert (await message(idle, held))["status"] == "QUEUED"


async def test_a_retry_that_waits_long_is_hurried_when_it_moves(idle: Gateway, first: lab.Twilio, second: lab.Twilio) -> None:
    """Its schedule was made for the connector that failed."""
    throttled = await lab.verified(idle, "First", first.config, priority=0)
    first.answers = lambda _body: lab.refusal(429, 20429, **{"Retry-After": "60"})
    async with lab.working(idle):
        waiting = await send(idle, **lab.sms("code"))

        async def rests() -> bool:
            return bool((await message(idle, waiting))["attempts"][0:1]) and len(first.bodies) == 1

        await eventually(rests)
        await lab.verified(idle, "Second", second.config, priority=1)
        await asyncio.sleep(0.3)
        assert second.bodies == [], "a pause alone moves nothing"
        await make.change(idle, throttled, enabled=False)
        await settled(idle, waiting, "SENT")
    assert (first.bodies, second.bodies) == (["code"], ["code"])
