from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from channels.base import DeliveryStatus, Report
from channels.errors import FailureKind, SendError
from models import connectors, queue, redaction
from models.base import now
from models.messages import Attempt, Message
from models.queue import Job
from models.receipts import Receipt
from tests.harness import Gateway, Json, running, settings_for
from tests.sending import hear
from tests.simulated import count, everything, message_of, plug, send, until

UPDATE = """mutation($input: MessageUpdateInput!) { messageUpdate(input: $input) {
  message { id status scheduledAt expiresAt priority } userErrors { code message field httpStatus } } }"""
CANCEL = """mutation($id: ID!) { messageCancel(input: {id: $id}) {
  message { id status failure { code kind } } userErrors { code message field httpStatus } } }"""
RESEND = """mutation($input: MessageResendInput!) { messageResend(input: $input) {
  message { id status to body clientReference connector { id } } userErrors { code message field } } }"""
DELETE = """mutation($id: ID!) { messageDelete(input: {id: $id}) {
  message { id status to redactedAt } userErrors { code message field } } }"""
HOUR = dt.timedelta(hours=1)


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway nobody sends for."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def ask(gateway: Gateway, query: str, token: str | None = None, **variables: Any) -> Json:
    """The payload of a mutation's only field."""
    (payload,) = (await gateway.gql(query, token, **variables)).values()
    return payload


async def job_of(gateway: Gateway, message_id: str) -> Job | None:
    async with gateway.read() as session:
        return await session.scalar(select(Job).where(Job.message_id == message_id))


async def claim(gateway: Gateway, connector_id: str) -> None:
    """Take what waits for a connector, as a worker does."""
    async with gateway.application.database.write() as session:
        for taken in await queue.claim(session, connector_id, "a worker", 10, 10, dt.timedelta(seconds=90)):
            message = await session.get_one(Message, taken.message_id)
            message.status = "PROCESSING"


def text(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def details(message: Json) -> list[tuple[str, str | None]]:
    return [(entry["type"], entry["detail"]) for entry in message["timeline"]]


async def test_a_waiting_message_is_put_off_and_called_back(idle: Gateway) -> None:
    await plug(idle)
    message_id = await send(idle, validitySeconds=60)
    later = now() + HOUR
    changed = await ask(idle, UPDATE, input={"id": message_id, "scheduledAt": text(later)})
    assert changed["userErrors"] == []
    assert changed["message"] == {
        "id": message_id,
        "status": "SCHEDULED",
        "scheduledAt": text(later),
        "expiresAt": text(later + dt.timedelta(seconds=60)),
        "priority": "NORMAL",
    }
    job = await job_of(idle, message_id)
    assert job is not None and (job.state, job.run_at) == (queue.SCHEDULED, later)
    back = await ask(idle, UPDATE, input={"id": message_id, "scheduledAt": None})
    assert (back["message"]["status"], back["message"]["scheduledAt"]) == ("QUEUED", None)
    job = await job_of(idle, message_id)
    assert job is not None and (job.state, job.run_at) == (queue.READY, None)
    assert job.expires_at is not None and dt.timedelta(seconds=50) < job.expires_at - now() <= dt.timedelta(seconds=60)
    assert details(await message_of(idle, message_id)) == [
        ("simulator.queued", "Accepted"),
        ("simulator.scheduled", "Rescheduled"),
        ("simulator.queued", "Rescheduled"),
    ]


async def test_what_is_left_out_stays_and_null_clears(idle: Gateway) -> None:
    await plug(idle)
    later = text(now() + HOUR)
    message_id = await send(idle, scheduledAt=later, priority="BULK", validitySeconds=60)
    changed = (await ask(idle, UPDATE, input={"id": message_id, "priority": "HIGH"}))["message"]
    assert (changed["status"], changed["scheduledAt"], changed["priority"]) == ("SCHEDULED", later, "HIGH")
    job = await job_of(idle, message_id)
    assert job is not None and (job.state, job.priority) == (queue.SCHEDULED, queue.HIGH)
    assert job.expires_at == job.run_at + dt.timedelta(seconds=60)  # type: ignore[operator]
    cleared = (await ask(idle, UPDATE, input={"id": message_id, "priority": None, "validitySeconds": None}))["message"]
    assert (cleared["priority"], cleared["expiresAt"], cleared["scheduledAt"]) == ("NORMAL", None, later)
    job = await job_of(idle, message_id)
    assert job is not None and (job.priority, job.expires_at) == (queue.NORMAL, None)
    untouched = (await ask(idle, UPDATE, input={"id": message_id}))["message"]
    assert untouched == cleared
    assert details(await message_of(idle, message_id))[1:] == [
        ("simulator.updated", "Changed: priority"),
        ("simulator.updated", "Changed: expires_at, priority"),
    ]


async def test_a_one_time_password_goes_back_to_its_five_minutes(idle: Gateway) -> None:
    await plug(idle)
    message_id = await send(idle, flow="OTP", validitySeconds=30, priority="NORMAL")
    later = now() + HOUR
    given = {"id": message_id, "scheduledAt": text(later), "validitySeconds": None, "priority": None}
    changed = (await ask(idle, UPDATE, input=given))["message"]
    assert (changed["priority"], changed["expiresAt"]) == ("HIGH", text(later + dt.timedelta(minutes=5)))
    job = await job_of(idle, message_id)
    assert job is not None and job.priority == queue.OTP


@pytest.mark.parametrize(
    ("given", "field"),
    [({"validitySeconds": 0}, "validitySeconds"), ({"scheduledAt": text(now() + 400 * 24 * HOUR)}, "scheduledAt")],
    ids=["validity", "schedule"],
)
async def test_times_out_of_reach_are_refused(idle: Gateway, given: dict[str, Any], field: str) -> None:
    await plug(idle)
    message_id = await send(idle)
    before = await message_of(idle, message_id)
    (error,) = (await ask(idle, UPDATE, input={"id": message_id, **given}))["userErrors"]
    assert (error["code"], error["field"]) == ("VALIDATION_ERROR", ["input", field])
    assert await message_of(idle, message_id) == before


async def test_what_a_worker_has_is_out_of_reach(idle: Gateway) -> None:
    connector_id = await plug(idle)
    message_id = await send(idle)
    await claim(idle, connector_id)
    before = await everything(idle)
    for query, variables, verb in (
        (UPDATE, {"input": {"id": message_id, "priority": "HIGH"}}, "changed: only what has not left can be"),
        (CANCEL, {"id": message_id}, "canceled: only what has not left can be"),
        (DELETE, {"id": message_id}, "deleted: it is being handed to its provider; try again in a moment"),
        (RESEND, {"input": {"id": message_id}}, "resent: it is still going to be sent"),
    ):
        payload = await ask(idle, query, **variables)
        assert payload["message"] is None
        (error,) = payload["userErrors"]
        assert (error["code"], error["field"]) == ("INVALID_STATE", ["input", "id"])
        assert error["message"] == f"The message is PROCESSING and cannot be {verb}."
    assert await everything(idle) == before


async def test_a_rescheduled_message_is_sent_when_its_time_has_come(gateway: Gateway) -> None:
    await plug(gateway)
    message_id = await send(gateway, scheduledAt=text(now() + HOUR))
    soon = text(now() + dt.timedelta(milliseconds=400))
    await ask(gateway, UPDATE, input={"id": message_id, "scheduledAt": soon})
    message = await until(gateway, message_id, "DELIVERED")
    assert message["sentAt"] > soon and len(message["attempts"]) == 1


@pytest.mark.parametrize("scheduled", [None, text(now() + HOUR)], ids=["queued", "scheduled"])
async def test_a_message_that_waits_is_canceled_once_and_for_all(idle: Gateway, scheduled: str | None) -> None:
    await plug(idle)
    message_id = await send(idle, scheduledAt=scheduled)
    canceled = await ask(idle, CANCEL, id=message_id)
    assert canceled["userErrors"] == []
    failure = {"code": "MESSAGE_CANCELED", "kind": "CANCELED"}
    assert canceled["message"] == {"id": message_id, "status": "CANCELED", "failure": failure}
    assert await ask(idle, CANCEL, id=message_id) == canceled
    assert await job_of(idle, message_id) is None
    told = details(await message_of(idle, message_id))
    assert told[1:] == [("simulator.canceled", "The message was canceled before it was sent.")]


async def test_of_a_cancel_and_a_worker_exactly_one_wins(gateway: Gateway) -> None:
    connector_id = await plug(gateway)
    sent = [await send(gateway, to="no-receipt", connectorId=connector_id) for _ in range(10)]
    messages = [asyncio.create_task(send(gateway, to="no-receipt", connectorId=connector_id)) for _ in range(50)]
    sent += await asyncio.gather(*messages)
    payloads = await asyncio.gather(*(ask(gateway, CANCEL, id=message_id) for message_id in sent))
    for message_id, payload in zip(sent, payloads, strict=True):
        message = await until(gateway, message_id, "SENT", "CANCELED")
        if payload["userErrors"]:
            assert payload["userErrors"][0]["code"] == "INVALID_STATE"
            assert (message["status"], len(message["attempts"])) == ("SENT", 1)
        else:
            assert (message["status"], message["attempts"]) == ("CANCELED", [])
    assert await count(gateway, Job) == 0


async def test_a_cancel_that_waits_for_a_claim_loses_to_it(idle: Gateway) -> None:
    connector_id = await plug(idle)
    message_id = await send(idle)
    database = idle.application.database
    async with database.write() as session:
        await queue.claim(session, connector_id, "a worker", 1, 1, dt.timedelta(seconds=90))
        (await session.get_one(Message, message_id)).status = "PROCESSING"
        await session.flush()
        canceling = asyncio.create_task(ask(idle, CANCEL, id=message_id))
        await asyncio.sleep(0.2)
        assert not canceling.done()
    assert (await canceling)["userErrors"][0]["code"] == "INVALID_STATE"
    assert (await message_of(idle, message_id))["status"] == "PROCESSING"


@pytest.mark.parametrize(
    ("query", "wrapped"),
    [(UPDATE, True), (CANCEL, False), (RESEND, True), (DELETE, False)],
    ids=["update", "cancel", "resend", "delete"],
)
async def test_only_who_may_send_on_the_channel_controls_a_message(idle: Gateway, query: str, wrapped: bool) -> None:
    await plug(idle)
    message_id = await send(idle)
    before = await everything(idle)
    variables = {"input": {"id": message_id}} if wrapped else {"id": message_id}
    answer = await idle.post(query, variables, idle.token("send:email", "read:*"))
    assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN", "httpStatus": 403, "requiredScope": "send:simulator"}
    stranger = idle.token(workspace=await idle.workspace("another"))
    (error,) = (await ask(idle, query, stranger, **variables))["userErrors"]
    assert (error["code"], error["field"]) == ("MESSAGE_NOT_FOUND", ["input", "id"])
    assert [line for line in (await everything(idle)).splitlines() if "another" not in line and "counter" not in line[:12]] == [
        line for line in before.splitlines() if "counter" not in line[:12]
    ]


async def test_a_message_is_sent_again_as_a_new_one(gateway: Gateway) -> None:
    first, second = await plug(gateway), await plug(gateway, "Other")
    original = await send(gateway, to="rejected", clientReference="order 7", metadata={"a": 1}, connectorId=first)
    await until(gateway, original, "FAILED")
    again = (await ask(gateway, RESEND, input={"id": original}))["message"]
    assert again["id"] != original and again["clientReference"] == "order 7"
    assert (again["to"], again["body"], again["connector"]["id"]) == ("rejected", "Hello", first)
    elsewhere = (await ask(gateway, RESEND, input={"id": original, "connectorId": second}))["message"]
    assert elsewhere["connector"]["id"] == second
    told = details(await until(gateway, original, "FAILED"))[-2:]
    assert told == [("simulator.resent", f"Resent as {again['id']}"), ("simulator.resent", f"Resent as {elsewhere['id']}")]
    repeated = await until(gateway, again["id"], "FAILED")
    assert details(repeated)[0] == ("simulator.queued", f"Resent from {original}") and repeated["metadata"] == {"a": 1}


async def test_an_unknown_message_is_sent_again_when_a_person_says_so(gateway: Gateway) -> None:
    await plug(gateway)
    script = {"simulator": {"steps": [{"outcome": "lost-answer"}]}}
    original = await send(gateway, flow="OTP", validitySeconds=90, metadata=script)
    await until(gateway, original, "UNKNOWN")
    again = (await ask(gateway, RESEND, input={"id": original}))["message"]
    message = await until(gateway, again["id"], "UNKNOWN")
    left = dt.datetime.fromisoformat(message["expiresAt"]) - dt.datetime.fromisoformat(message["createdAt"])
    assert dt.timedelta(seconds=89) <= left <= dt.timedelta(seconds=91)
    assert (await message_of(gateway, original))["status"] == "UNKNOWN"


async def test_resending_through_what_is_not_there_stores_nothing(idle: Gateway) -> None:
    await plug(idle)
    message_id = await send(idle)
    await ask(idle, CANCEL, id=message_id)
    (error,) = (await ask(idle, RESEND, input={"id": message_id, "connectorId": "con_none"}))["userErrors"]
    assert (error["code"], error["field"]) == ("CONNECTOR_NOT_FOUND", ["input", "connectorId"])
    assert await count(idle, Message) == 1


SECRETS = ("lovelace", "Countess", "swordfish", "analytical", "engine.png", "tpl-variable", "private-note")
CONTENT: dict[str, Any] = {
    "to": "ada.lovelace",
    "subject": "For the Countess",
    "body": "Your code is swordfish",
    "html": "<p>analytical</p>",
    "template": {"name": "tpl-variable"},
    "media": [{"url": "https://example.com/engine.png"}],
    "clientReference": "order 7",
}


async def report(gateway: Gateway, connector_id: str, provider_id: str, status: str) -> None:
    """A receipt in which the provider says all it knows."""
    async with gateway.read() as session:
        connector = await connectors.get(session, gateway.demo.id, connector_id)
    assert connector is not None
    said = SendError(FailureKind.RECIPIENT, "GONE", "ada.lovelace moved", provider_message="lovelace")
    told = Report(
        event_id=f"{provider_id}/lovelace/{status}",
        provider_id=provider_id,
        status=DeliveryStatus(status),
        occurred_at=now(),
        detail="to ada.lovelace",
        failure=said if status == "FAILED" else None,
        raw={"to": "ada.lovelace"},
    )
    await hear(gateway, connector, told)


async def test_a_deleted_message_keeps_its_story_and_loses_its_content(gateway: Gateway) -> None:
    connector_id = await plug(gateway)
    script = {"steps": [{"outcome": "unavailable"}, {"outcome": "accept"}]}
    message_id = await send(gateway, **CONTENT, metadata={"private-note": 1, "simulator": script})
    sent = await until(gateway, message_id, "SENT")
    await report(gateway, connector_id, sent["externalId"], "SENT")
    stored = await everything(gateway)
    assert [secret for secret in SECRETS if secret not in stored] == []
    deleted = await ask(gateway, DELETE, id=message_id)
    assert deleted["userErrors"] == []
    assert (deleted["message"]["status"], deleted["message"]["to"]) == ("SENT", "")
    left = await everything(gateway)
    assert [secret for secret in (*SECRETS, sent["externalId"]) if secret in left] == []
    message = await message_of(gateway, message_id)
    emptied = ("subject", "body", "html", "template", "metadata")
    assert [message[name] for name in emptied] == [None] * 5 and message["media"] == []
    assert (message["sentAt"], message["clientReference"]) == (sent["sentAt"], "order 7")
    assert [(a["outcome"], a["exchange"]) for a in message["attempts"]] == [("RETRY", None), ("SENT", None)]
    assert message["attempts"][0]["failure"] == {"code": "SERVICE_UNAVAILABLE", "message": "(redacted)"}
    assert [e["type"] for e in message["timeline"]] == [
        *(e["type"] for e in sent["timeline"]),
        "simulator.receipt",
        "simulator.redacted",
    ]
    assert await ask(gateway, DELETE, id=message_id) == deleted


async def test_a_receipt_still_finds_a_deleted_message_and_says_no_more_than_it_must(gateway: Gateway) -> None:
    connector_id = await plug(gateway)
    message_id = await send(gateway, to="ada.lovelace", metadata={"simulator": {}})
    external_id = (await until(gateway, message_id, "SENT"))["externalId"]
    await ask(gateway, DELETE, id=message_id)
    await report(gateway, connector_id, external_id, "FAILED")
    await report(gateway, connector_id, external_id, "FAILED")
    message = await message_of(gateway, message_id)
    assert message["status"] == "FAILED"
    assert message["failure"]["code"] == "GONE" and message["failure"]["message"] == redaction.FORGOTTEN
    assert "lovelace" not in await everything(gateway)
    assert await count(gateway, Receipt) == 1
    assert [e["type"] for e in message["timeline"]][-1] == "simulator.failed"


async def test_deleting_a_waiting_message_cancels_it_first(idle: Gateway) -> None:
    await plug(idle)
    message_id = await send(idle, **CONTENT)
    async with idle.application.database.write() as session:
        message = await session.get_one(Message, message_id)
        refused = {**message.route[0], "decision": "UNSUPPORTED_CONTENT", "reason": "ada.lovelace is no number."}
        message.route = [refused, *message.route]
    deleted = (await ask(idle, DELETE, id=message_id))["message"]
    assert (deleted["status"], deleted["to"]) == ("CANCELED", "")
    left = await everything(idle)
    assert [secret for secret in SECRETS if secret in left] == []
    assert await job_of(idle, message_id) is None and await count(idle, Attempt) == 0
    told = [kind for kind, _ in details(await message_of(idle, message_id))]
    assert told == ["simulator.queued", "simulator.canceled", "simulator.redacted"]
    (error,) = (await ask(idle, RESEND, input={"id": message_id}))["userErrors"]
    assert error["message"].endswith("cannot be resent: its recipient and its content were deleted.")
    assert await count(idle, Message) == 1
