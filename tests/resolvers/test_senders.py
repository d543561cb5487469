"""Sender IDs from the request to the message that is sent under one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import lab, make
from tests.harness import Gateway, Json, running, settings_for
from tests.sending import message, send, settled, try_send

SENDER = """id workspaceId value kind channelType country useCase sampleMessage status reviewNote reviewedAt reviewedBy hints
  createdAt updatedAt"""
LIST = f"query($filter: SenderIdFilter) {{ senderIds(first: 50, filter: $filter) {{ nodes {{ {SENDER} }} totalCount }} }}"
FROM = "query($id: ID!) { message(id: $id) { from senderId { id value } failure { code kind } attempts { outcome } } }"
WATCH = """subscription($after: String) { senderIdChanged(after: $after) {
  type cursor previousStatus status senderId { id hints } } }"""


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def ask(gateway: Gateway, value: str = "Acme", token: str | None = None, **given: Json) -> Json:
    """A sender ID just asked for."""
    payload = await make.mutate(gateway, "senderIdCreate", token, f"senderId {{ {SENDER} }}", value=value, **given)
    assert payload["userErrors"] == [], payload
    return payload["senderId"]


async def change(gateway: Gateway, field: str, token: str | None = None, **input: Json) -> Json:
    select = {"senderIdDelete": "deletedSenderId", "senderIdTest": "success message deliveryTimeMs"}.get(
        field, f"senderId {{ {SENDER} }}"
    )
    return await make.mutate(gateway, field, token, select, **input)


async def listed(gateway: Gateway, token: str | None = None, **filter: Json) -> list[Json]:
    return list((await gateway.gql(LIST, token, filter=filter))["senderIds"]["nodes"])


def reviewer(gateway: Gateway) -> str:
    return gateway.token("members:read", admin=True, subject="reviewer")


async def approve(gateway: Gateway, sender_id: str, decision: str = "APPROVE", note: str | None = None) -> Json:
    payload = await change(gateway, "senderIdReview", reviewer(gateway), id=sender_id, decision=decision, note=note)
    assert payload["userErrors"] == [], payload
    return payload["senderId"]


def codes(payload: Json) -> list[tuple[str, list[str], int]]:
    return [(error["code"], error["field"], error["httpStatus"]) for error in payload["userErrors"]]


async def test_a_sender_id_is_asked_for_reviewed_and_sent_under(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        connector_id = await lab.verified(idle, "Sms", twilio.config)
        asked = await ask(idle, " Acme  Bank ", country="gb", useCase="Codes", sampleMessage="123456 is your code")
        assert (asked["value"], asked["kind"], asked["status"], asked["country"]) == (
            "Acme Bank",
            "ALPHANUMERIC",
            "PENDING",
            "GB",
        )
        assert asked["reviewedAt"] is None and asked["hints"] == []
        pending = {"channel": "SMS", "to": "+14155550123", "body": "Hi", "senderId": asked["id"]}
        assert codes(await try_send_full(idle, **pending)) == [("SENDER_ID_NOT_APPROVED", ["input", "senderId"], 422)]
        reviewed = await approve(idle, asked["id"], note="Papers seen.")
        assert (reviewed["status"], reviewed["reviewedBy"], reviewed["reviewNote"]) == ("APPROVED", "reviewer", "Papers seen.")
        again = await change(idle, "senderIdReview", reviewer(idle), id=asked["id"], decision="REJECT")
        assert codes(again) == [("ALREADY_REVIEWED", ["input", "id"], 409)]
        async with lab.working(idle):
            sent = await settled(idle, await send(idle, **pending), "SENT")
        shown = (await idle.gql(FROM, id=sent["id"]))["message"]
        assert (shown["from"], shown["senderId"]) == ("Acme Bank", {"id": asked["id"], "value": "Acme Bank"})
        assert dict(twilio.requests[-1].form())["From"] == "Acme Bank"
        tried = await change(idle, "senderIdTest", id=asked["id"], testDestination="+1 415 555 0123", connectorId=connector_id)
        assert tried["success"] and tried["deliveryTimeMs"] >= 0 and tried["userErrors"] == []
        assert tried["message"] == "Test message sent successfully under Acme Bank"
        assert len(twilio.bodies) == 2 and dict(twilio.requests[-1].form())["From"] == "Acme Bank"
        found = await idle.gql(
            "query($f: MessageFilter) { messages(filter: $f) { nodes { id } } }", f={"senderIds": [asked["id"]]}
        )
        assert found["messages"]["nodes"] == [{"id": sent["id"]}]


async def try_send_full(gateway: Gateway, **given: Json) -> Json:
    payload = await try_send(gateway, **given)
    assert payload["message"] is None
    return payload


async def test_an_sms_without_an_approved_one_is_refused(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        connector_id = await lab.verified(idle, "Sms", twilio.config)
        await lab.verified(idle, "Sim")
        other = await idle.workspace("other")
        theirs = await ask(idle, "Theirs", idle.token(workspace=other))
        await approve(idle, theirs["id"])
        before = await make.counts(idle)
        required, refused = (
            ("SENDER_ID_REQUIRED", ["input", "senderId"], 422),
            ("SENDER_ID_NOT_APPROVED", ["input", "senderId"], 422),
        )
        sms: Json = {"to": "+14155550123", "body": "Hi"}
        chain = {
            "channel": "SIMULATOR",
            "to": "ada",
            "body": "Hi",
            "fallbackChannels": [{"channel": "SMS", "to": "+14155550123"}],
        }
        for given, expected in (
            ({**sms, "channel": "SMS"}, required),
            ({**sms, "connectorId": connector_id}, required),
            (chain, required),
            ({**sms, "channel": "SMS", "senderId": "snd_none"}, refused),
            ({**sms, "channel": "SMS", "senderId": theirs["id"]}, refused),
            ({"channel": "SIMULATOR", "to": "ada", "body": "Hi", "senderId": lab.SENDER}, refused),
        ):
            assert codes(await try_send_full(idle, **given)) == [expected], given
            text = """mutation($input: MessageSendInput!) { messageTest(input: $input) {
              wouldSend route { decision } userErrors { code field httpStatus } } }"""
            tried = (await idle.gql(text, input=given))["messageTest"]
            assert (tried["wouldSend"], codes(tried)) == (False, [expected])
            assert [row["decision"] for row in tried["route"]] == ["SENDER_NOT_APPROVED"]
        batch = {"messages": [lab.sms("a"), {**sms, "channel": "SMS"}]}
        payload = await make.mutate(idle, "messageSendBatch", select="batch { id }", **batch)
        assert codes(payload) == [("SENDER_ID_REQUIRED", ["input", "messages", "1", "senderId"], 422)]
        assert await make.counts(idle) == before and twilio.bodies == []


async def test_a_revoked_one_stops_what_waits(idle: Gateway) -> None:
    async with lab.Twilio() as twilio:
        await lab.verified(idle, "Sms", twilio.config)
        await lab.verified(idle, "Sim")
        waiting = await send(idle, **lab.sms("never"))
        elsewhere = await send(idle, **lab.sms("other way"), fallbackChannels=[{"channel": "SIMULATOR", "to": "no-receipt"}])
        assert (await change(idle, "senderIdDelete", id=lab.SENDER))["deletedSenderId"] == lab.SENDER
        assert (await change(idle, "senderIdDelete", id=lab.SENDER))["deletedSenderId"] == lab.SENDER
        async with lab.working(idle):
            found = await settled(idle, waiting, "FAILED")
            await settled(idle, elsewhere, "SENT")
        assert twilio.bodies == []
        assert (found["failure"]["code"], found["failure"]["isRetryable"]) == ("SENDER_ID_NOT_APPROVED", False)
        assert [(a["outcome"], a["failure"]["code"]) for a in found["attempts"]] == [("SKIPPED", "SENDER_ID_NOT_APPROVED")]
        assert [entry["status"] for entry in found["timeline"]] == ["QUEUED", "FAILED"]
        assert (await message(idle, elsewhere))["attempts"][-1]["outcome"] == "SENT"
        resend = await make.mutate(idle, "messageResend", select="message { id }", id=waiting)
        assert codes(resend) == [("SENDER_ID_NOT_APPROVED", ["input", "id"], 422)]


async def test_a_rejected_one_goes_back_with_a_change(idle: Gateway) -> None:
    asked = await ask(idle, useCase="Ads")
    await approve(idle, asked["id"], "REJECT", "Say more.")
    assert codes(await change(idle, "senderIdUpdate", id=asked["id"])) == [("VALIDATION_ERROR", ["input"], 400)]
    again = (await change(idle, "senderIdUpdate", id=asked["id"], useCase="Codes for our customers", country=None))["senderId"]
    assert (again["status"], again["useCase"], again["reviewNote"], again["reviewedAt"]) == (
        "PENDING",
        "Codes for our customers",
        None,
        None,
    )
    seen = await listed(idle, reviewer(idle), allWorkspaces=True)
    assert [hint.partition(" on ")[0] for hint in seen[0]["hints"]] == ["Rejected before, here, as Acme"]
    assert seen[0]["hints"][0].endswith(": Say more.")
    await approve(idle, asked["id"])
    assert codes(await change(idle, "senderIdUpdate", id=asked["id"], useCase="Ads")) == [
        ("INVALID_STATE", ["input", "id"], 409)
    ]
    assert codes(await make.mutate(idle, "senderIdCreate", select="senderId { id }", value="ACME")) == [
        ("SENDER_ID_ALREADY_EXISTS", ["input", "value"], 409)
    ]
    await change(idle, "senderIdDelete", id=asked["id"])
    assert (await ask(idle, "acme"))["status"] == "PENDING"
    assert [row["status"] for row in await listed(idle, statuses=["REVOKED"])] == ["REVOKED"]


async def test_reviewers_see_every_workspace_and_nobody_else_does(idle: Gateway) -> None:
    other = await idle.workspace("other")
    theirs = idle.token(workspace=other)
    one = await ask(idle, "PayPa1", theirs, country="US")
    two = await ask(idle, "Paypal")
    assert [row["id"] for row in await listed(idle)] == [two["id"]]
    assert [row["id"] for row in await listed(idle, reviewer(idle), allWorkspaces=True)] == [two["id"], one["id"]]
    text = "query($id: ID!) { senderId(id: $id) { id hints } node(id: $id) { id } }"
    assert await idle.gql(text, id=one["id"]) == {"senderId": None, "node": None}
    seen = await idle.gql(text, reviewer(idle), id=one["id"])
    assert seen["node"] == {"id": one["id"]}
    assert seen["senderId"]["hints"] == [
        "Protected: it looks like PayPal.",
        f"Asked for: workspace {idle.demo.id} has Paypal.",
        "Country: operators in US usually replace names by a number.",
    ]
    answer = await idle.post(LIST, {"filter": {"allWorkspaces": True}})
    assert [e["extensions"]["code"] for e in answer["errors"]] == ["FORBIDDEN"]
    before = await make.counts(idle)
    mine = idle.token("sender-ids:write", admin=True)
    for token, sender in ((theirs, one), (idle.token(), one), (mine, two)):  # a tenant, a stranger, the requester
        review = "mutation($i: SenderIdReviewInput!) { senderIdReview(input: $i) { senderId { id } userErrors { code } } }"
        answer = await idle.post(review, {"i": {"id": sender["id"], "decision": "APPROVE"}}, token)
        assert [e["extensions"]["code"] for e in answer["errors"]] == ["FORBIDDEN"]
    for field, more in (
        ("senderIdUpdate", {"useCase": "x"}),
        ("senderIdDelete", {}),
        ("senderIdTest", {"testDestination": "ada"}),
    ):
        payload = await change(idle, field, id=one["id"], **more)
        assert codes(payload) == [("SENDER_ID_NOT_FOUND", ["input", "id"], 404)]
    assert await make.counts(idle) == before
    await change(idle, "senderIdDelete", reviewer(idle), id=one["id"])
    assert [row["status"] for row in await listed(idle, theirs)] == ["REVOKED"]


async def test_the_requester_and_the_reviewers_hear_of_it(idle: Gateway) -> None:
    other = await idle.workspace("other")
    async with idle.socket() as mine, idle.socket(idle.token(workspace=other)) as strange, idle.socket(reviewer(idle)) as admin:
        streams = [await mine.subscribe(WATCH), await admin.subscribe(WATCH)]
        silent = await strange.subscribe(WATCH)
        await idle.followed(3)
        asked = await ask(idle, "Paypal")
        await approve(idle, asked["id"])
        told = [[await stream.next(), await stream.next()] for stream in streams]
        for events in told:
            assert [(e["type"], e["previousStatus"], e["status"]) for e in events] == [
                ("sender.created", None, "PENDING"),
                ("sender.approved", "PENDING", "APPROVED"),
            ]
        assert [events[0]["senderId"] for events in told] == [
            {"id": asked["id"], "hints": []},
            {"id": asked["id"], "hints": ["Protected: it looks like PayPal."]},
        ]
        assert await silent.silent()
        resumed = await (await admin.subscribe(WATCH, after=told[1][0]["cursor"])).next()
        assert resumed["type"] == "sender.approved"
        foreign = await (await mine.subscribe(WATCH, after=told[1][0]["cursor"])).frame()
        errors = foreign["payload"] if foreign["type"] == "error" else foreign["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == "INVALID_CURSOR"


@pytest.mark.parametrize("field", ["senderIdCreate", "senderIdUpdate", "senderIdReview"])
async def test_what_is_told_is_checked(idle: Gateway, field: str) -> None:
    sender_id = (await ask(idle, "Known"))["id"]
    given: list[tuple[Json, list[str]]] = [
        ({"useCase": "x" * 2001}, ["useCase"]),
        ({"country": "XX", "sampleMessage": "\0"}, ["sampleMessage", "country"]),
    ]
    if field == "senderIdReview":
        given = [({"decision": "REJECT", "note": "x" * 2001}, ["note"])]
    token = reviewer(idle) if field == "senderIdReview" else None
    before = await make.counts(idle)
    for more, fields in given:
        target = {"value": "Fresh"} if field == "senderIdCreate" else {"id": sender_id}
        payload = await change(idle, field, token, **target, **more)
        assert codes(payload) == [("VALIDATION_ERROR", ["input", name], 400) for name in fields]
    assert await make.counts(idle) == before
