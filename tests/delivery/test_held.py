"""A connector whose provider refuses it, with nobody else to send: what waits is kept until it works again."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from models import connectors
from models.base import now
from models.connectors import Connector
from models.messages import Message
from tests import lab, make
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.sending import log_of, message, send, settled

ROUTE = "query($id: ID!) { message(id: $id) { status route { decision reason } } }"
REFUSED = "Its provider refused it, not the message: what waits for it is kept until it is verified or changed."


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@pytest.fixture
async def twilio() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as provider:
        provider.answers = lambda _body: lab.UNAUTHORIZED
        yield provider


async def held(gateway: Gateway, connector_id: str) -> bool:
    async with gateway.read() as session:
        return (await session.get_one(Connector, connector_id)).held_since is not None


async def until_held(gateway: Gateway, connector_id: str) -> None:
    await eventually(lambda: held(gateway, connector_id))


async def refused_once(gateway: Gateway, twilio: lab.Twilio) -> str:
    """A connector that has been refused, and the one message with it."""
    connector = await lab.verified(gateway, "Only", twilio.config)
    first = await send(gateway, **lab.sms("first"))
    async with lab.working(gateway):
        await settled(gateway, first, "FAILED")
    assert await held(gateway, connector)
    return connector


async def waiting(gateway: Gateway, connector_id: str, body: str = "waits", **given: Json) -> str:
    return await send(gateway, connectorId=connector_id, **lab.sms(body), **given)


async def test_what_waits_is_not_refused_one_by_one(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await lab.verified(idle, "Only", twilio.config)
    batch = await lab.send_batch(idle, [lab.sms(f"m{n}") for n in range(50)])
    with capture_logs() as logs:
        async with lab.working(idle, concurrency=2):
            await until_held(idle, connector)
            await eventually(lambda: still(idle, batch))
            refused = len(twilio.bodies)
            assert 1 <= refused <= 2
            await asyncio.sleep(1.5)
            assert len(twilio.bodies) == refused, "nothing more was tried"
            assert await lab.counts(idle, batch) == {"FAILED": refused, "QUEUED": 50 - refused}
            status = (await make.read(idle, connector))["status"]
            assert status["ready"] is False and status["reasons"] == [status["channel"]["errorMessage"], REFUSED]
            twilio.answers = lambda _body: None
            verified = await make.mutate(idle, "connectorVerify", id=connector)
            assert verified["connector"]["status"]["reasons"] == []
            await lab.drained(idle, batch, {"FAILED": refused, "SENT": 50 - refused}, seconds=90)
    assert lab.twice(twilio.bodies) == []
    assert [entry["code"] for entry in logs if entry["event"] == "connector_held"] == ["AUTHENTICATION_FAILED"]
    causes = [e.payload["cause"] for e in await log_of(idle) if e.subject_id == connector and e.payload["cause"] == "delivery"]
    assert causes == ["delivery"], "told once"


async def still(gateway: Gateway, batch: str) -> bool:
    """Nothing is in flight any more."""
    return "PROCESSING" not in await lab.counts(gateway, batch)


async def test_a_message_says_what_it_waits_for(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    found = (await idle.gql(ROUTE, id=await waiting(idle, connector)))["message"]
    error = (await make.read(idle, connector))["status"]["channel"]["errorMessage"]
    reason = f"The message waits until the connector works again: {error}"
    assert error and found == {"status": "QUEUED", "route": [{"decision": "CHOSEN", "reason": reason}]}


async def test_new_credentials_release_it_at_once(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    queued = await waiting(idle, connector)
    twilio.answers = lambda _body: None
    async with lab.working(idle):
        await asyncio.sleep(0.6)
        assert (await message(idle, queued))["status"] == "QUEUED"
        changed = {**twilio.config["twilio"], "authToken": "f" * 32}
        await make.change(idle, connector, config={"twilio": changed})
        assert (await settled(idle, queued, "SENT"))["attempts"][0]["outcome"] == "SENT"
    assert twilio.bodies == ["first", "waits"]


async def test_a_test_that_succeeds_releases_it(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    failed = await make.mutate(idle, "connectorTest", id=connector, testDestination="+15005550006")
    assert failed["success"] is False and await held(idle, connector)
    twilio.answers = lambda _body: None
    tested = await make.mutate(idle, "connectorTest", id=connector, testDestination="+15005550006")
    assert tested["success"] is True and not await held(idle, connector)


async def test_other_settings_do_not_release_it(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    await make.change(idle, connector, priority=7)
    assert await held(idle, connector)


async def test_a_late_refusal_of_former_credentials_holds_nothing(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await lab.verified(idle, "Only", twilio.config)
    async with idle.read() as session:
        former = (await session.get_one(Connector, connector)).config_revision
    await make.change(idle, connector, config={"twilio": {**twilio.config["twilio"], "authToken": "f" * 32}})
    async with idle.application.database.write() as session:
        assert await connectors.hold(session, idle.demo.id, connector, former, {}) is None
    assert not await held(idle, connector)


async def test_it_goes_through_another_connector_as_soon_as_there_is_one(idle: Gateway, twilio: lab.Twilio) -> None:
    dead = await lab.verified(idle, "Dead", twilio.config)
    batch = await lab.send_batch(idle, [lab.sms(f"m{n}") for n in range(20)])
    async with lab.working(idle, concurrency=1), lab.Twilio() as second:
        await until_held(idle, dead)
        await lab.verified(idle, "Spare", make.twilio(second.url, fromNumber="Spare"))
        await lab.drained(idle, batch, {"FAILED": 1, "SENT": 19})
        assert len(second.bodies) == 19


async def test_it_goes_through_its_next_channel(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    await lab.verified(idle, "Sim")
    queued = await waiting(idle, connector, fallbackChannels=[{"channel": "SIMULATOR", "to": "delivered"}])
    async with lab.working(idle):
        found = await settled(idle, queued, "SENT", "DELIVERED")
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["SENT"] and twilio.bodies == ["first"]


async def test_it_fails_when_its_other_channels_have_nobody_either(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    other = await lab.verified(idle, "Sim")
    queued = await waiting(idle, connector, fallbackChannels=[{"channel": "SIMULATOR", "to": "delivered"}])
    await make.change(idle, other, enabled=False)
    async with lab.working(idle):
        found = await settled(idle, queued, "FAILED")
    assert (found["failure"]["code"], found["failure"]["kind"]) == ("CONNECTOR_HELD", "CONFIGURATION")


async def test_it_expires_with_its_validity(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    queued = await waiting(idle, connector, validitySeconds=1)
    async with lab.working(idle):
        found = await settled(idle, queued, "EXPIRED")
    assert found["failure"]["code"] == "MESSAGE_EXPIRED" and twilio.bodies == ["first"]


async def test_it_expires_when_it_is_too_old(idle: Gateway, twilio: lab.Twilio) -> None:
    connector = await refused_once(idle, twilio)
    old, young = await waiting(idle, connector), await waiting(idle, connector, "young")
    async with idle.application.database.write() as session:
        aged = update(Message).where(Message.id == old).values(created_at=now() - dt.timedelta(hours=25))
        await session.execute(aged)
    async with lab.working(idle):
        found = await settled(idle, old, "EXPIRED")
        assert (await message(idle, young))["status"] == "QUEUED"
    assert found["failure"]["code"] == "MESSAGE_EXPIRED" and found["attempts"] == []
    assert found["failure"]["message"].startswith("It waited too long for Only: ")
