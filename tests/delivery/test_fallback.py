"""Another channel of the caller's choice: after a rejection, or when no receipt came in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.base import DeliveryStatus, Report
from channels.errors import FailureKind, SendError
from models import connectors
from models.base import now
from tests import lab, make
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.sending import hear, message, script, send, settled, stored

NUMBER = "+15005550006"
VIEW = """query($id: ID!) { message(id: $id) {
  status channelType to from encoding segments externalId attempts { number outcome connector { id } }
  route { decision connector { name } } timeline { type detail } } }"""
REJECTED = script("rejected")


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@pytest.fixture
async def twilio() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


async def both(gateway: Gateway, twilio: lab.Twilio) -> tuple[str, str]:
    """A simulator, and an SMS connector to fall back to."""
    return await lab.verified(gateway, "Sim"), await lab.verified(gateway, "Sms", twilio.config)


def to_sms(to: str | None = NUMBER, after: int | None = None) -> list[Json]:
    return [{"channel": "SMS", "to": to, "afterSeconds": after}]


async def view(gateway: Gateway, message_id: str) -> Json:
    return (await gateway.gql(VIEW, id=message_id))["message"]


async def report(gateway: Gateway, connector_id: str, external_id: str, status: DeliveryStatus) -> None:
    """What a provider reports by webhook."""
    async with gateway.read() as session:
        connector = await connectors.get(session, gateway.demo.id, connector_id)
    assert connector is not None
    failure = SendError(FailureKind.RECIPIENT, "UNDELIVERED", "no") if status is DeliveryStatus.FAILED else None
    told = Report(event_id=f"{external_id}{status}", provider_id=external_id, status=status, occurred_at=now(), failure=failure)
    await hear(gateway, connector, told)


async def test_after_a_rejection(idle: Gateway, twilio: lab.Twilio) -> None:
    sim, sms = await both(idle, twilio)
    body = "Grüße 🎉 " * 10
    async with lab.working(idle):
        sent = await send(idle, "ada", body=body, metadata=REJECTED, senderId=lab.SENDER, fallbackChannels=to_sms())
        await settled(idle, sent, "SENT")
    found = await view(idle, sent)
    assert (found["channelType"], found["to"], found["from"]) == ("SMS", NUMBER, "Shop")
    assert (found["encoding"], found["segments"]) == ("UCS2", 2), "counted anew for the channel it goes through now"
    assert [(a["number"], a["outcome"], a["connector"]["id"]) for a in found["attempts"]] == [
        (1, "FAILED", sim),
        (2, "SENT", sms),
    ]
    assert [row["connector"]["name"] for row in found["route"]] == ["Sms"]
    types = [entry["type"] for entry in found["timeline"]]
    assert types == ["simulator.queued", "simulator.processing", "simulator.failed", "sms.queued", "sms.processing", "sms.sent"]
    assert found["timeline"][3]["detail"] == "Falling back from SIMULATOR to SMS."
    assert twilio.bodies == [body.strip()] or twilio.bodies == [body]


async def test_an_sms_that_falls_back_has_no_parts_any_more(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    twilio.answers = lambda _body: lab.refusal(400, 21211)
    async with lab.working(idle):
        sent = await send(idle, **lab.sms("hi"), fallbackChannels=[{"channel": "SIMULATOR", "to": "no-receipt"}])
        assert ((before := await view(idle, sent))["encoding"], before["segments"]) == ("GSM7", 1)
        await settled(idle, sent, "SENT")
    found = await view(idle, sent)
    assert (found["channelType"], found["to"], found["encoding"], found["segments"]) == ("SIMULATOR", "no-receipt", None, None)


async def test_one_after_the_other_until_one_takes_it(idle: Gateway, twilio: lab.Twilio) -> None:
    """The first has no connector, the second rejects, the third takes it."""
    await both(idle, twilio)
    twilio.answers = lambda _body: lab.refusal(400, 21211)
    chain = [{"channel": "TELEGRAM", "to": "1"}, *to_sms(), {"channel": "SIMULATOR", "to": "no-receipt"}]
    async with lab.working(idle):
        sent = await send(idle, "rejected", senderId=lab.SENDER, fallbackChannels=chain)
        found = await settled(idle, sent, "SENT")
    assert [a["outcome"] for a in found["attempts"]] == ["FAILED", "FAILED", "SENT"]
    assert (await view(idle, sent))["to"] == "no-receipt" and len(twilio.bodies) == 1


async def test_it_fails_when_none_is_left(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    twilio.answers = lambda _body: lab.refusal(400, 21211)
    async with lab.working(idle):
        sent = await send(idle, "rejected", senderId=lab.SENDER, fallbackChannels=to_sms())

        async def over() -> bool:
            return len((await message(idle, sent))["attempts"]) == 2 and (await message(idle, sent))["status"] == "FAILED"

        await eventually(over)
        assert (await stored(idle))["job"] == 0
    assert (await view(idle, sent))["channelType"] == "SMS"


async def test_when_no_receipt_comes_in_time(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    async with lab.working(idle):
        sent = await send(idle, "no-receipt", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))
        quick = await send(idle, "delivered", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))
        assert (await settled(idle, sent, "SENT"))["externalId"] == f"sim_{sent}"
        await settled(idle, quick, "DELIVERED")

        async def gone() -> bool:
            return bool((await view(idle, sent))["channelType"] == "SMS" and twilio.bodies)

        await eventually(gone)
        await asyncio.sleep(1.2)
        assert (await message(idle, quick))["status"] == "DELIVERED"
    assert len(twilio.bodies) == 1


async def test_a_lost_answer_falls_back_only_when_time_is_up(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    async with lab.working(idle):
        never = await send(idle, "lost-answer", senderId=lab.SENDER, fallbackChannels=to_sms())
        later = await send(idle, "lost-answer", body="later", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))
        await settled(idle, never, "UNKNOWN")
        await settled(idle, later, "UNKNOWN")
        await settled(idle, later, "SENT")
        assert (await message(idle, never))["status"] == "UNKNOWN"
    assert twilio.bodies == ["later"]


async def test_a_receipt_of_failure_is_a_rejection(idle: Gateway, twilio: lab.Twilio) -> None:
    sim, _ = await both(idle, twilio)
    async with lab.working(idle):
        sent = await send(idle, "no-receipt", senderId=lab.SENDER, fallbackChannels=to_sms())
        await settled(idle, sent, "SENT")
        await report(idle, sim, f"sim_{sent}", DeliveryStatus.FAILED)
        found = await settled(idle, sent, "SENT")
        assert [a["outcome"] for a in found["attempts"]] == ["SENT", "SENT"]
    assert twilio.bodies == ["Hello"]


async def fallen(gateway: Gateway, sim: str) -> str:
    """A message that was sent, heard nothing of, and waits for its second channel, whose connector is off."""
    sent = await send(gateway, "no-receipt", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))

    async def waits() -> bool:
        found = await view(gateway, sent)
        return bool(found["channelType"] == "SMS" and found["status"] == "QUEUED")

    await eventually(waits)
    return sent


async def test_what_arrived_meanwhile_is_not_sent_again(idle: Gateway, twilio: lab.Twilio) -> None:
    sim, sms = await both(idle, twilio)
    await lab.circuit(idle, sms, lab.CircuitState.OPEN)
    async with lab.working(idle):
        sent = await fallen(idle, sim)
        await report(idle, sim, f"sim_{sent}", DeliveryStatus.DELIVERED)
        assert (await view(idle, sent))["status"] == "DELIVERED"
        assert (await stored(idle))["job"] == 0
        await lab.circuit(idle, sms, lab.CircuitState.CLOSED)
        await asyncio.sleep(0.6)
        found = await view(idle, sent)
    assert found["status"] == "DELIVERED" and twilio.bodies == []
    assert [a["outcome"] for a in found["attempts"]] == ["SENT"]


@pytest.mark.parametrize("late", [DeliveryStatus.SENT, DeliveryStatus.FAILED])
async def test_late_news_of_the_first_channel_does_not_stop_the_second(
    idle: Gateway, twilio: lab.Twilio, late: DeliveryStatus
) -> None:
    sim, sms = await both(idle, twilio)
    await lab.circuit(idle, sms, lab.CircuitState.OPEN)
    async with lab.working(idle):
        sent = await fallen(idle, sim)
        await report(idle, sim, f"sim_{sent}", late)
        found = await view(idle, sent)
        assert found["status"] == "QUEUED" and found["timeline"][-1] == {
            "type": "sms.receipt",
            "detail": f"{late} reported while QUEUED",
        }
        await lab.circuit(idle, sms, lab.CircuitState.CLOSED)
        await settled(idle, sent, "SENT")
    assert twilio.bodies == ["Hello"]


async def test_arrival_during_the_second_hand_over_stands(idle: Gateway, twilio: lab.Twilio) -> None:
    sim, _ = await both(idle, twilio)
    twilio.delay = 1.0
    async with lab.working(idle):
        sent = await send(idle, "no-receipt", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))

        async def begun() -> bool:
            return bool(twilio.bodies)

        await eventually(begun)
        await report(idle, sim, f"sim_{sent}", DeliveryStatus.DELIVERED)
        assert (await view(idle, sent))["status"] == "DELIVERED"

        async def ended() -> bool:
            return bool((await view(idle, sent))["attempts"][-1]["outcome"] == "SENT")

        await eventually(ended)
        assert (await view(idle, sent))["status"] == "DELIVERED" and (await stored(idle))["job"] == 0


async def test_arrival_of_the_first_after_the_second_failed(idle: Gateway, twilio: lab.Twilio) -> None:
    sim, _ = await both(idle, twilio)
    twilio.answers = lambda _body: lab.refusal(400, 21211)
    async with lab.working(idle):
        sent = await send(idle, "no-receipt", senderId=lab.SENDER, fallbackChannels=to_sms(after=1))
        await settled(idle, sent, "FAILED")
        await report(idle, sim, f"sim_{sent}", DeliveryStatus.DELIVERED)
        found = await message(idle, sent)
    assert (found["status"], found["failure"]) == ("DELIVERED", None)


async def test_what_was_sent_and_has_run_out_stays_sent(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    async with lab.working(idle):
        sent = await send(idle, "no-receipt", validitySeconds=1, senderId=lab.SENDER, fallbackChannels=to_sms(after=1))
        await settled(idle, sent, "SENT")
        await asyncio.sleep(2.5)
        assert (await message(idle, sent))["status"] == "SENT"
    assert twilio.bodies == []


async def test_a_recipient_the_other_channel_would_not_take_is_refused_at_once(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    for fallback, code in ((to_sms("not a number"), "INVALID_DESTINATION"), (to_sms(None), "INVALID_DESTINATION")):
        ((refused, path, _text),) = await make.refused(
            idle, "messageSend", channel="SIMULATOR", to="ada", body="b", senderId=lab.SENDER, fallbackChannels=fallback
        )
        assert (refused, path) == (code, ["input", "fallbackChannels", "0"])
    long = {"channel": "SIMULATOR", "to": "ada", "body": "x" * 1601, "senderId": lab.SENDER, "fallbackChannels": to_sms()}
    ((refused, path, _text),) = await make.refused(idle, "messageSend", **long)
    assert (refused, path) == ("VALIDATION_ERROR", ["input", "fallbackChannels", "0"])


async def test_every_channel_needs_its_scope(idle: Gateway, twilio: lab.Twilio) -> None:
    await both(idle, twilio)
    given = {"channel": "SIMULATOR", "to": "ada", "body": "b", "senderId": lab.SENDER, "fallbackChannels": to_sms()}
    text = "mutation($input: MessageSendInput!) { messageSend(input: $input) { message { id } } }"
    answer = await idle.post(text, {"input": given}, idle.token("send:simulator"))
    assert [e["extensions"]["code"] for e in answer["errors"]] == ["FORBIDDEN"]
    assert (await stored(idle))["message"] == 0
    answer = await idle.post(text, {"input": given}, idle.token("send:simulator", "send:sms"))
    assert "errors" not in answer and (await stored(idle))["message"] == 1
