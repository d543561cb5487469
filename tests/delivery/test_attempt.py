"""Every outcome of a hand-over, on its whole way: API, queue, worker, provider, database, event log."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from models.queue import Job
from tests.harness import Gateway, eventually
from tests.sending import (
    CONNECTOR,
    DELETE,
    change,
    log_of,
    message,
    plug,
    script,
    send,
    settled,
    stored,
)

Json = Any


def outcomes(found: Json) -> list[str]:
    return [attempt["outcome"] for attempt in found["attempts"]]


def statuses(found: Json) -> list[str]:
    return [entry["status"] for entry in found["timeline"]]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


async def test_accepted(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway, "no-receipt", body="secret text")
    found = await settled(gateway, message_id, "SENT")
    assert found["externalId"] == f"sim_{message_id}"
    assert found["failure"] is None and found["deliveredAt"] is None
    (attempt,) = found["attempts"]
    assert attempt["outcome"] == "SENT" and attempt["number"] == 1 and attempt["providerStatus"] == 202
    assert attempt["nextAttemptAt"] is None and attempt["failure"] is None and attempt["connector"] == {"id": made["id"]}
    assert at(attempt["startedAt"]) <= at(attempt["finishedAt"]) and 0 <= attempt["durationMs"] < 5_000
    assert attempt["exchange"]["request"]["body"] == "[11 characters]"
    entries = [(entry["type"], entry["source"], entry["attempt"]) for entry in found["timeline"]]
    assert entries == [
        ("simulator.queued", "API", None),
        ("simulator.processing", "DISPATCHER", 1),
        ("simulator.sent", "PROVIDER_RESPONSE", 1),
    ]
    assert await stored(gateway) == {"message": 1, "job": 0, "attempt": 1}


@pytest.mark.parametrize(
    ("outcome", "kind", "code", "http", "text"),
    [
        ("rejected", "RECIPIENT", "INVALID_RECIPIENT", 404, "The simulator knows no such recipient."),
        ("refused", "CONTENT", "MESSAGE_REFUSED", 422, "The simulator refused the message."),
    ],
)
async def test_refused_for_good(gateway: Gateway, outcome: str, kind: str, code: str, http: int, text: str) -> None:
    made = await plug(gateway)
    found = await settled(gateway, await send(gateway, metadata=script(outcome)), "FAILED")
    assert found["failure"] == {
        "code": code,
        "kind": kind,
        "message": text,
        "providerCode": str(http),
        "providerMessage": outcome,
        "isRetryable": False,
    }
    assert outcomes(found) == ["FAILED"] and statuses(found) == ["QUEUED", "PROCESSING", "FAILED"]
    assert found["attempts"][0]["providerStatus"] == http and found["attempts"][0]["nextAttemptAt"] is None
    assert (await stored(gateway))["job"] == 0
    assert (await gateway.gql(CONNECTOR, id=made["id"]))["connector"]["isVerified"] is True


async def test_a_wrong_configuration_is_the_connectors_fault(gateway: Gateway) -> None:
    made = await plug(gateway)
    events = len(await log_of(gateway))
    found = await settled(gateway, await send(gateway, metadata=script("invalid-credentials")), "FAILED")
    assert found["failure"]["kind"] == "CONFIGURATION" and found["failure"]["code"] == "AUTHENTICATION_FAILED"
    connector = (await gateway.gql(CONNECTOR, id=made["id"]))["connector"]
    assert connector["isVerified"] is False and connector["status"]["ready"] is False
    assert connector["status"]["channel"] == {
        "stage": "INACTIVE",
        "status": "ERROR",
        "errorMessage": "The simulator refused the credentials.",
    }
    told = [event for event in (await log_of(gateway))[events:] if event.type == "channel.updated"]
    assert [event.payload["cause"] for event in told] == ["delivery"]
    assert told[0].payload["previousStage"] == "ACTIVE"


async def test_a_failure_that_passes_is_tried_again(gateway: Gateway) -> None:
    await plug(gateway)
    found = await settled(
        gateway, await send(gateway, flow="OTP", metadata=script("unavailable", "unavailable", "accept")), "SENT"
    )
    assert outcomes(found) == ["RETRY", "RETRY", "SENT"]
    assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3]
    first, second, _ = found["attempts"]
    assert first["failure"] == {"code": "SERVICE_UNAVAILABLE", "kind": "TRANSIENT", "isRetryable": True}
    for attempt, following, base in ((first, second, 0.5), (second, found["attempts"][2], 1.0)):
        waited = (at(attempt["nextAttemptAt"]) - at(attempt["finishedAt"])).total_seconds()
        assert base * 0.5 - 0.1 <= waited <= base * 1.5 + 0.1
        assert at(following["startedAt"]) >= at(attempt["nextAttemptAt"])
    assert statuses(found) == ["QUEUED", "PROCESSING", "QUEUED", "PROCESSING", "QUEUED", "PROCESSING", "SENT"]
    assert found["failure"] is None


async def test_when_the_policy_gives_up_the_message_fails(gateway: Gateway) -> None:
    """A retry that would come after the message's validity is not made."""
    await plug(gateway)
    found = await settled(gateway, await send(gateway, "outage", flow="OTP", validitySeconds=1), "EXPIRED", "FAILED")
    assert found["status"] == "EXPIRED" and found["failure"]["code"] == "MESSAGE_EXPIRED"
    assert set(outcomes(found)) <= {"RETRY", "FAILED"}
    assert (await stored(gateway))["job"] == 0


async def test_throttled_pauses_the_lane_and_costs_no_try(gateway: Gateway) -> None:
    made = await plug(gateway)
    slow = {"outcome": "throttled", "retryAfter": 0.8}
    first = await send(gateway, metadata=script(slow, "accept"))
    found = await settled(gateway, first, "QUEUED")
    while not found["attempts"] or found["attempts"][0]["outcome"] == "STARTED":
        found = await settled(gateway, first, "QUEUED", "PROCESSING")
    (attempt,) = found["attempts"]
    assert attempt["outcome"] == "THROTTLED" and attempt["failure"]["kind"] == "THROTTLED"
    until = at(attempt["nextAttemptAt"])
    assert 0.7 <= (until - at(attempt["finishedAt"])).total_seconds() <= 0.9
    connector = (await gateway.gql(CONNECTOR, id=made["id"]))["connector"]
    assert abs((at(connector["throttle"]["pausedUntil"]) - until).total_seconds()) < 0.01
    async with gateway.read() as session:
        (job,) = await session.scalars(select(Job))
        assert (job.attempts, job.tries) == (1, 0)
    second = await send(gateway, "no-receipt")  # of the same connector: it waits too
    for message_id in (first, second):
        done = await settled(gateway, message_id, "SENT", "DELIVERED")
        assert at(done["attempts"][-1]["startedAt"]) >= until
    assert outcomes(await message(gateway, first)) == ["THROTTLED", "SENT"]


@pytest.mark.parametrize("outcome", ["lost-answer", "crash"])
async def test_an_unknown_outcome_is_never_sent_again(gateway: Gateway, outcome: str) -> None:
    await plug(gateway)
    with capture_logs() as logs:
        message_id = await send(gateway, metadata=script(outcome, "accept"))
        found = await settled(gateway, message_id, "UNKNOWN")
    assert outcomes(found) == ["UNKNOWN"] and statuses(found) == ["QUEUED", "PROCESSING", "UNKNOWN"]
    assert found["failure"]["kind"] == "UNKNOWN_OUTCOME" and found["failure"]["isRetryable"] is False
    assert found["failure"]["code"] == ("ANSWER_LOST" if outcome == "lost-answer" else "INTERNAL")
    assert found["externalId"] is None and found["sentAt"] is None
    broken = [line for line in logs if line["event"] == "attempt_broken"]
    assert len(broken) == (1 if outcome == "crash" else 0)
    if broken:
        assert broken[0]["error_id"] in found["failure"]["message"]
        assert "RuntimeError" not in str(found) and "told to crash" not in str(found)
    await asyncio.sleep(0.6)
    assert (await message(gateway, message_id))["attempts"] == found["attempts"]
    assert (await stored(gateway))["job"] == 0


async def test_a_disabled_connector_keeps_its_queue(gateway: Gateway) -> None:
    made = await plug(gateway)
    later = script("unavailable", "accept")
    waiting = [await send(gateway, metadata=later, connectorId=made["id"]) for _ in range(3)]
    for message_id in waiting:
        await settled(gateway, message_id, "QUEUED")
    await change(gateway, made["id"], enabled=False)
    await asyncio.sleep(3)  # longer than their first retry waits
    for message_id in waiting:
        found = await message(gateway, message_id)
        assert found["status"] == "QUEUED" and len(found["attempts"]) <= 1
    await change(gateway, made["id"], enabled=True)
    for message_id in waiting:
        await settled(gateway, message_id, "SENT")


async def test_deleting_a_connector_with_a_message_in_flight(gateway: Gateway) -> None:
    """What is on its way ends as the provider says; what waits goes elsewhere or fails; nothing is sent twice."""
    made = await plug(gateway)
    flying = await send(gateway, metadata=script(latency=600))
    again = await send(gateway, metadata=script("unavailable", latency=600))
    waiting = await send(gateway, scheduledAt=(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat())
    for message_id in (flying, again):
        await settled(gateway, message_id, "PROCESSING")
    deleted = (await gateway.gql(DELETE, id=made["id"]))["connectorDelete"]
    assert deleted["userErrors"] == [] and (deleted["reroutedMessages"], deleted["failedMessages"]) == (0, 1)
    assert (await message(gateway, waiting))["failure"]["code"] == "CONNECTOR_DELETED"
    assert outcomes(await settled(gateway, flying, "SENT")) == ["SENT"]
    failed = await settled(gateway, again, "FAILED")
    assert failed["failure"]["kind"] == "NO_ROUTE" and outcomes(failed) == ["RETRY"]
    told = {event.subject_id: event.payload for event in await log_of(gateway) if event.type == "simulator.failed"}
    assert {key: value["previousStatus"] for key, value in told.items()} == {again: "QUEUED", waiting: "SCHEDULED"}
    assert (await stored(gateway))["job"] == 0


async def test_secrets_and_texts_are_in_no_record(gateway: Gateway) -> None:
    await plug(gateway, config={"simulator": {"apiKey": "sim_very_secret"}})
    with capture_logs() as logs:
        message_id = await send(gateway, "no-receipt", body="one-time 314159", subject="about 271828")
        found = await settled(gateway, message_id, "SENT")
    seen = str(found["attempts"]) + str(found["timeline"]) + str(logs)
    for hidden in ("sim_very_secret", "314159", "271828"):
        assert hidden not in seen


async def test_the_log_of_an_attempt_names_no_recipient(gateway: Gateway) -> None:
    await plug(gateway)
    with capture_logs() as logs:
        message_id = await send(gateway, "someone-private")
        await settled(gateway, message_id, "DELIVERED")
    (line,) = [line for line in logs if line["event"] == "attempt"]
    assert (line["message_id"], line["outcome"], line["attempt"]) == (message_id, "accepted", 1)
    assert "someone-private" not in str(logs)


async def test_hands_over_through_the_configuration_of_now(gateway: Gateway) -> None:
    made = await plug(gateway)
    await settled(gateway, await send(gateway, "no-receipt"), "SENT")
    await change(gateway, made["id"], config={"simulator": {"apiKey": "invalid"}})

    async def checked() -> bool:
        found = (await gateway.gql(CONNECTOR, id=made["id"]))["connector"]
        return bool(found["status"]["channel"]["stage"] == "INACTIVE")

    await eventually(checked)
    found = await settled(gateway, await send(gateway, connectorId=made["id"]), "FAILED")
    assert found["failure"]["code"] == "AUTHENTICATION_FAILED"
