"""Opting out and in again: by hand, by a word, by what a provider says; and what that does to messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.base import Inbound, Intent
from delivery import inbound
from models import connectors, ids, optouts
from models.base import now
from models.messages import Message
from models.optouts import OptOut
from tests import lab, make
from tests.harness import Gateway, Json, running, settings_for
from tests.sending import message, send, settled, try_send

NUMBER = "+14155550123"
LIST = """query($filter: OptOutFilter) { optOuts(first: 50, filter: $filter) {
  nodes { id recipient channelType source keyword reason } totalCount } }"""
WATCH = """subscription { optOutChanged { type recipient channelType action optOut { id } } }"""


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def add(gateway: Gateway, recipient: str = NUMBER, channel: str = "SMS", **given: Json) -> Json:
    select = "optOut { id recipient source reason } canceledMessages"
    return await make.mutate(gateway, "optOutAdd", select=select, recipient=recipient, channel=channel, **given)


async def remove(gateway: Gateway, recipient: str = NUMBER, channel: str = "SMS") -> Json:
    return await make.mutate(gateway, "optOutRemove", select="removedOptOutId", recipient=recipient, channel=channel)


async def listed(gateway: Gateway, **filter: Json) -> list[Json]:
    return list((await gateway.gql(LIST, filter=filter))["optOuts"]["nodes"])


def codes(payload: Json) -> list[tuple[str, list[str], int]]:
    return [(error["code"], error["field"], error["httpStatus"]) for error in payload["userErrors"]]


REFUSED = [("RECIPIENT_OPTED_OUT", ["input", "to"], 422)]


async def told(gateway: Gateway, connector_id: str, text: str | None, sender: str, intent: Intent | None = None) -> None:
    """A message that came in through a connector."""
    async with gateway.application.database.write() as session:
        connector = await connectors.get(session, gateway.demo.id, connector_id)
        assert connector is not None
        event_id = f"{text}-{sender}-{now().timestamp()}"
        said = Inbound(event_id=event_id, sender=sender, occurred_at=now(), text=text, intent=intent)
        await inbound.take(session, connector, [said], gateway.application.means.vault)


async def test_an_opt_out_reaches_back_and_forward(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        await lab.verified(idle, "Sms", twilio.config)
        later = (now() + dt.timedelta(hours=1)).isoformat()
        queued = await send(idle, **lab.sms("queued", NUMBER))
        scheduled = await send(idle, **lab.sms("scheduled", NUMBER), scheduledAt=later)
        code = await send(idle, **lab.sms("code", NUMBER), flow="OTP")
        other = await send(idle, **lab.sms("other"))
        added = await add(idle, "+1 (415) 555-0123", reason="Rang us.")
        assert (added["canceledMessages"], added["userErrors"]) == (2, [])
        opt_out = added["optOut"]
        assert (opt_out["recipient"], opt_out["source"], opt_out["reason"]) == (NUMBER, "API", "Rang us.")
        for message_id, before in ((queued, "QUEUED"), (scheduled, "SCHEDULED")):
            found = await message(idle, message_id)
            assert (found["status"], found["failure"]["code"]) == ("CANCELED", "RECIPIENT_OPTED_OUT")
            assert [entry["status"] for entry in found["timeline"]] == [before, "CANCELED"]
        again = await add(idle)
        assert (again["canceledMessages"], again["optOut"]["id"]) == (0, added["optOut"]["id"])
        before_rows = await make.counts(idle)
        refused = lab.sms("more", NUMBER)
        assert codes(await try_send(idle, **refused)) == REFUSED
        payload = await make.mutate(idle, "messageSendBatch", select="batch { id }", messages=[lab.sms("fine"), refused])
        assert codes(payload) == [("RECIPIENT_OPTED_OUT", ["input", "messages", "1", "to"], 422)]
        resent = await make.mutate(idle, "messageResend", select="message { id }", id=queued)
        assert codes(resent) == [("RECIPIENT_OPTED_OUT", ["input", "id"], 422)]
        tried = await make.mutate(idle, "senderIdTest", select="success", id=lab.SENDER, testDestination=NUMBER)
        assert codes(tried) == [("RECIPIENT_OPTED_OUT", ["input", "testDestination"], 422)]
        text = """mutation($input: MessageSendInput!) { messageTest(input: $input) {
          wouldSend route { decision } userErrors { code field httpStatus } } }"""
        dry = (await idle.gql(text, input=refused))["messageTest"]
        assert (dry["wouldSend"], [row["decision"] for row in dry["route"]], codes(dry)) == (False, ["OPTED_OUT"], REFUSED)
        assert await make.counts(idle) == before_rows
        async with lab.working(idle):
            for message_id in (code, other):
                await settled(idle, message_id, "SENT")
        assert sorted(twilio.bodies) == ["code", "other"]
        assert (await remove(idle))["removedOptOutId"] == added["optOut"]["id"]
        assert codes(await remove(idle)) == [("OPT_OUT_NOT_FOUND", ["input", "recipient"], 404)]
        assert codes(await try_send(idle, **refused)) == []


async def test_what_was_accepted_before_is_stopped_before_the_provider(idle: Gateway) -> None:
    """An opt-out that came while a message was being accepted, or waited to be tried again."""
    async with lab.Twilio() as twilio:
        await lab.verified(idle, "Sms", twilio.config)
        waiting = await send(idle, **lab.sms("never", NUMBER))
        async with idle.application.database.write() as session:
            row = OptOut(id=ids.new_id(ids.OPT_OUT), channel_type="SMS", recipient=NUMBER, source="API", created_at=now())
            assert await optouts.store(session, idle.demo.id, row)
        async with lab.working(idle):
            found = await settled(idle, waiting, "FAILED")
        assert found["failure"]["code"] == "RECIPIENT_OPTED_OUT"
        assert [a["outcome"] for a in found["attempts"]] == ["SKIPPED"] and twilio.bodies == []


async def test_a_word_opts_out_whom_the_organization_wrote_to(idle: Gateway) -> None:
    connector_id = await lab.verified(idle, "Sim")
    async with idle.socket() as socket, lab.working(idle):
        stream = await socket.subscribe(WATCH)
        await told(idle, connector_id, "STOP", "stranger")
        assert await listed(idle) == []
        await settled(idle, await send(idle, "ada"), "DELIVERED")
        await told(idle, connector_id, "Please stop by tomorrow", "ada")
        assert await listed(idle) == []
        await told(idle, connector_id, " Arrêt! ", "ada")
        (row,) = await listed(idle)
        assert (row["recipient"], row["channelType"], row["source"], row["keyword"]) == ("ada", "SIMULATOR", "INBOUND", "ARRET")
        assert codes(await try_send(idle, to="ada", channel="SIMULATOR", body="x")) == REFUSED
        await told(idle, connector_id, "start", "ada")
        assert await listed(idle) == []
        events = [await stream.next(), await stream.next()]
        assert [(e["type"], e["recipient"], e["channelType"], e["action"]) for e in events] == [
            ("simulator.opt_out", "ada", "SIMULATOR", "ADDED"),
            ("simulator.opt_out", "ada", "SIMULATOR", "REMOVED"),
        ]
        assert events[1]["optOut"] is None
        await told(idle, connector_id, None, "ada", Intent.OPT_OUT)
        assert [row["keyword"] for row in await listed(idle)] == [None]


async def test_a_word_opts_out_who_was_written_to_and_forgotten(idle: Gateway) -> None:
    connector_id = await lab.verified(idle, "Sim")
    async with lab.working(idle):
        sent = await send(idle, "Ada")
        await settled(idle, sent, "DELIVERED")
    never = await send(idle, "grace", scheduledAt=(now() + dt.timedelta(hours=1)).isoformat())
    for message_id in (sent, never):
        assert (await make.mutate(idle, "messageDelete", select="message { to }", id=message_id))["message"] == {"to": ""}
    async with idle.read() as session:
        kept = [await session.get_one(Message, message_id) for message_id in (sent, never)]
    assert [(len(one.recipient_mark or ""), one.to) for one in kept] == [(64, ""), (0, "")]
    for sender in ("stranger", "grace", "ada"):
        await told(idle, connector_id, "STOP", sender)
    assert [row["recipient"] for row in await listed(idle)] == ["ada"]


async def test_a_block_of_the_provider_is_remembered(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        await lab.verified(idle, "Sms", twilio.config)
        twilio.answers = lambda _body: lab.refusal(400, 21610)
        async with lab.working(idle):
            found = await settled(idle, await send(idle, **lab.sms("first", NUMBER)), "FAILED")
        assert found["failure"]["code"] == "RECIPIENT_OPTED_OUT"
        assert [(row["recipient"], row["source"]) for row in await listed(idle, channels=["SMS"])] == [(NUMBER, "PROVIDER")]
        assert codes(await try_send(idle, **lab.sms("second", NUMBER))) == REFUSED
        assert twilio.bodies == ["first"]


async def test_a_mailbox_is_one_however_it_is_spelt_and_workspaces_are_apart(idle: Gateway) -> None:
    other = await idle.workspace("other")
    await add(idle, "Ada@Example.COM", "EMAIL")
    assert [row["recipient"] for row in await listed(idle, recipient="ADA@")] == ["ada@example.com"]
    theirs = await idle.gql(LIST, idle.token(workspace=other), filter={})
    assert theirs["optOuts"] == {"nodes": [], "totalCount": 0}
    (row,) = await listed(idle)
    node = "query($id: ID!) { node(id: $id) { id } }"
    assert (await idle.gql(node, id=row["id"]))["node"] == {"id": row["id"]}
    assert (await idle.gql(node, idle.token(workspace=other), id=row["id"]))["node"] is None
    assert (await remove(idle, "ada@EXAMPLE.com", "EMAIL"))["removedOptOutId"] == row["id"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"recipient": "12345"}, ("INVALID_DESTINATION", ["input", "recipient"], 400)),
        ({"recipient": " ", "channel": "TELEGRAM"}, ("INVALID_DESTINATION", ["input", "recipient"], 400)),
        ({"recipient": "nobody", "channel": "EMAIL"}, ("INVALID_DESTINATION", ["input", "recipient"], 400)),
        ({"reason": "x" * 501}, ("VALIDATION_ERROR", ["input", "reason"], 400)),
    ],
)
async def test_what_cannot_opt_out_is_refused(idle: Gateway, given: Json, expected: tuple[str, list[str], int]) -> None:
    before = await make.counts(idle)
    assert codes(await add(idle, **given)) == [expected]
    assert await make.counts(idle) == before
