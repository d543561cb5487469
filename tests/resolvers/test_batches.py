from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from models.base import now
from models.batches import Batch
from models.events import Event
from models.messages import Message
from models.queue import Job
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.simulated import SEND, count, everything, message_of, plug, send

BATCH = "id total alreadyAccepted counts { status count } isComplete createdAt completedAt"
SEND_BATCH = f"""mutation($input: MessageSendBatchInput!) {{ messageSendBatch(input: $input) {{
  batch {{ {BATCH} }} isReplay userErrors {{ code message field httpStatus }} }} }}"""
READ = f"query($id: ID!) {{ batch(id: $id) {{ {BATCH} firstFailures {{ to status failure {{ code }} }} }} }}"
NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on MessageBatch { total } } }"
LIST = "query($id: ID!) { messages(first: 100, filter: {batchId: $id}) { totalCount nodes { to } } }"
WATCH = """subscription($id: ID!, $ms: Int) {
  batchProgressed(batchId: $id, intervalMs: $ms) { total isComplete counts { status count } } }"""
CANCEL = "mutation($id: ID!) { messageCancel(input: {id: $id}) { message { status } userErrors { code } } }"


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway nobody sends for."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


def draft(to: str = "ada", **given: Any) -> dict[str, Any]:
    return {"to": to, "channel": "SIMULATOR", "body": "Hello", **given}


async def send_batch(gateway: Gateway, drafts: list[dict[str, Any]], key: str | None = None, token: str | None = None) -> Json:
    given = {"messages": drafts, "idempotencyKey": key}
    return (await gateway.gql(SEND_BATCH, token, input=given))["messageSendBatch"]


async def accepted(gateway: Gateway, drafts: list[dict[str, Any]], key: str | None = None) -> Json:
    payload = await send_batch(gateway, drafts, key)
    assert payload["userErrors"] == []
    return payload["batch"]


async def read(gateway: Gateway, batch_id: str, token: str | None = None) -> Json:
    return (await gateway.gql(READ, token, id=batch_id))["batch"]


def counts(batch: Json) -> dict[str, int]:
    return {item["status"]: item["count"] for item in batch["counts"]}


async def nothing_stored(gateway: Gateway) -> bool:
    return [await count(gateway, table) for table in (Batch, Message, Job)] == [0, 0, 0]


async def test_a_batch_is_accepted_as_one(idle: Gateway) -> None:
    await plug(idle)
    later = (now() + dt.timedelta(hours=1)).isoformat()
    batch = await accepted(idle, [draft("ada"), draft("bob", scheduledAt=later), draft("cem", flow="OTP")])
    assert (batch["total"], batch["alreadyAccepted"], batch["isComplete"], batch["completedAt"]) == (3, 0, False, None)
    assert batch["counts"] == [{"status": "SCHEDULED", "count": 1}, {"status": "QUEUED", "count": 2}]
    assert {**batch, "firstFailures": []} == await read(idle, batch["id"])
    listed = (await idle.gql(LIST, id=batch["id"]))["messages"]
    assert listed == {"totalCount": 3, "nodes": [{"to": "cem"}, {"to": "bob"}, {"to": "ada"}]}
    assert (await idle.gql(NODES, ids=[batch["id"]]))["nodes"] == [
        {"__typename": "MessageBatch", "id": batch["id"], "total": 3}
    ]
    async with idle.read() as session:
        jobs = {job.message_id: job for job in await session.scalars(select(Job))}
        told = (await session.scalars(select(Event).where(Event.kind == "message").order_by(Event.seq))).all()
        stored = (await session.scalars(select(Message).order_by(Message.id))).all()
    assert [(jobs[m.id].priority, jobs[m.id].state) for m in stored] == [(2, 0), (2, 3), (0, 0)]
    assert [(e.subject_id, e.payload["batchId"], e.payload["detail"]) for e in told] == [
        (m.id, batch["id"], "Accepted") for m in stored
    ]
    assert [e.seq for e in told] == list(range(told[0].seq, told[0].seq + 3))


async def test_one_bad_message_keeps_all_from_being_accepted(idle: Gateway) -> None:
    await plug(idle)
    drafts = [draft(f"to{i}") for i in range(20)]
    drafts[3] = draft("invalid")
    drafts[7] = draft(channel="EMAIL")
    drafts[17] = {"to": "ada", "body": "Hello"}
    drafts[18] = draft(connectorId="con_none")
    drafts[19] = draft(metadata={"simulator": {"steps": "x"}})
    payload = await send_batch(idle, drafts)
    assert payload["batch"] is None
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [
        ("INVALID_DESTINATION", ["input", "messages", "3", "to"]),
        ("NO_ROUTE_AVAILABLE", ["input", "messages", "7", "channel"]),
        ("VALIDATION_ERROR", ["input", "messages", "17", "channel"]),
        ("CONNECTOR_NOT_FOUND", ["input", "messages", "18", "connectorId"]),
        ("VALIDATION_ERROR", ["input", "messages", "19"]),
    ]
    assert await nothing_stored(idle)


async def test_what_no_channel_would_take_is_told_before_anything_is_looked_up(idle: Gateway) -> None:
    drafts = [draft(), draft(" "), draft(body="x" * 100_001, validitySeconds=0)]
    payload = await send_batch(idle, drafts)
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [
        ("INVALID_DESTINATION", ["input", "messages", "1", "to"]),
        ("VALIDATION_ERROR", ["input", "messages", "2", "body"]),
        ("VALIDATION_ERROR", ["input", "messages", "2", "validitySeconds"]),
    ]
    assert await nothing_stored(idle)


@pytest.mark.parametrize("size", [0, 1_001])
async def test_a_batch_has_one_to_a_thousand_messages(idle: Gateway, size: int) -> None:
    await plug(idle)
    payload = await send_batch(idle, [draft()] * size)
    assert payload["userErrors"] == [
        {
            "code": "VALIDATION_ERROR",
            "message": f"A batch has 1 to 1000 messages, not {size}.",
            "field": ["input", "messages"],
            "httpStatus": 400,
        }
    ]
    assert await nothing_stored(idle)


async def test_a_thousand_messages_take_as_many_statements_as_ten(idle: Gateway) -> None:
    await plug(idle)
    await plug(idle, "Other")
    taken = {}
    for size in (10, 1_000):
        statements: list[str] = []

        def seen(_c: Any, _cur: Any, statement: str, *_rest: Any, into: list[str] = statements) -> None:
            into.append(statement)

        engines = {idle.application.database.engine.sync_engine, idle.application.database._readers.sync_engine}
        for engine in engines:
            event.listen(engine, "before_cursor_execute", seen)
        batch = await accepted(idle, [draft(f"to{i}") for i in range(size)])
        for engine in engines:
            event.remove(engine, "before_cursor_execute", seen)
        assert counts(batch) == {"QUEUED": size}
        taken[size] = [statement.split(" VALUES")[0].split(" IN (")[0] for statement in statements]
    assert taken[1_000] == taken[10]


async def test_the_same_batch_again_is_answered_with_the_first(idle: Gateway) -> None:
    await plug(idle)
    batch = await accepted(idle, [draft("ada"), draft("bob")], "monday")
    again = await send_batch(idle, [draft("ada"), draft("bob")], "monday")
    assert (again["isReplay"], again["batch"]) == (True, batch)
    (error,) = (await send_batch(idle, [draft("ada"), draft("cem")], "monday"))["userErrors"]
    assert (error["code"], error["field"]) == ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"])
    (empty,) = (await send_batch(idle, [draft()], ""))["userErrors"]
    assert (empty["code"], empty["field"]) == ("VALIDATION_ERROR", ["input", "idempotencyKey"])
    assert [await count(idle, table) for table in (Batch, Message, Job)] == [1, 2, 2]


async def test_twenty_at_once_with_one_key_accept_one_batch(idle: Gateway) -> None:
    await plug(idle)
    payloads = await asyncio.gather(*(send_batch(idle, [draft("ada"), draft("bob")], "once") for _ in range(20)))
    assert [payload["userErrors"] for payload in payloads] == [[]] * 20
    assert len({payload["batch"]["id"] for payload in payloads}) == 1
    assert sorted(payload["isReplay"] for payload in payloads) == [False] + [True] * 19
    assert [await count(idle, table) for table in (Batch, Message, Job)] == [1, 2, 2]


async def test_a_message_with_a_used_key_is_not_sent_again(idle: Gateway) -> None:
    await plug(idle)
    await send(idle, to="ada", idempotencyKey="a")
    batch = await accepted(idle, [draft("ada", idempotencyKey="a"), draft("bob", idempotencyKey="b"), draft("cem")])
    assert (batch["total"], batch["alreadyAccepted"]) == (2, 1)
    assert await count(idle, Message) == 3
    (error,) = (await send_batch(idle, [draft("cem"), draft("eve", idempotencyKey="b")]))["userErrors"]
    assert (error["code"], error["field"]) == ("IDEMPOTENCY_KEY_REUSED", ["input", "messages", "1", "idempotencyKey"])
    (error,) = (await send_batch(idle, [draft(idempotencyKey="x"), draft(), draft(idempotencyKey="x")]))["userErrors"]
    assert (error["field"], error["message"]) == (
        ["input", "messages", "2", "idempotencyKey"],
        "Message 0 of this batch has the same idempotency key.",
    )
    single = (await idle.gql(SEND, input=draft("bob", idempotencyKey="b")))["messageSend"]
    assert (await message_of(idle, single["message"]["id"]))["batchId"] == batch["id"]
    assert await count(idle, Message) == 3


async def test_a_batch_repeated_by_its_messages_keys_is_the_first(idle: Gateway) -> None:
    await plug(idle)
    drafts = [draft("ada", idempotencyKey="a"), draft("bob", idempotencyKey="b")]
    batch = await accepted(idle, drafts)
    again = await send_batch(idle, drafts)
    assert (again["isReplay"], again["batch"]) == (True, batch)
    assert await count(idle, Batch) == 1


async def test_a_batch_needs_every_scope_its_messages_need(idle: Gateway) -> None:
    connector_id = await plug(idle)
    given = {"messages": [draft(), draft(channel="EMAIL")]}
    answer = await idle.post(SEND_BATCH, {"input": given}, idle.token("send:email"))
    assert answer["errors"][0]["extensions"]["requiredScope"] == "send:simulator"
    assert await nothing_stored(idle)
    batch = await accepted(idle, [draft(connectorId=connector_id)])
    assert await read(idle, batch["id"], idle.token("read:email")) is None
    assert await read(idle, batch["id"], idle.token(workspace=await idle.workspace("another"))) is None
    assert await read(idle, "bat_none") is None
    answer = await idle.post(READ, {"id": batch["id"]}, idle.token("send:*"))
    assert answer["errors"][0]["extensions"]["requiredScope"] == "read:*"
    nodes = (await idle.gql(NODES, idle.token("read:email"), ids=[batch["id"]]))["nodes"]
    assert nodes == [None]


async def test_a_batch_is_watched_until_it_is_complete(gateway: Gateway) -> None:
    await plug(gateway, latencyMs=100)
    later = (now() + dt.timedelta(seconds=1)).isoformat()
    drafts = [draft("no-receipt") for _ in range(8)] + [draft("rejected"), draft("no-receipt", scheduledAt=later)]
    batch = await accepted(gateway, drafts)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, id=batch["id"], ms=100)
        frames: list[Json] = []
        at: list[float] = []
        while not frames or not frames[-1]["isComplete"]:
            frames.append(await stream.next())
            at.append(time.monotonic())
        assert (await stream.frame())["type"] == "complete"
    assert all(after - before > 0.08 for before, after in pairwise(at))
    assert all(before != after for before, after in pairwise(frames))
    assert all(sum(counts(frame).values()) == frame["total"] == 10 for frame in frames)
    assert counts(frames[-1]) == {"SENT": 9, "FAILED": 1}
    done = await read(gateway, batch["id"])
    assert (done["isComplete"], done["completedAt"] > later[:19]) == (True, True)
    assert done["firstFailures"] == [{"to": "rejected", "status": "FAILED", "failure": {"code": "INVALID_RECIPIENT"}}]


async def test_watching_what_is_complete_answers_once(gateway: Gateway) -> None:
    await plug(gateway)
    batch = await accepted(gateway, [draft("no-receipt")])

    async def complete() -> bool:
        return bool((await read(gateway, batch["id"]))["isComplete"])

    await eventually(complete)
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, id=batch["id"])
        assert await stream.next() == {"total": 1, "isComplete": True, "counts": [{"status": "SENT", "count": 1}]}
        assert (await stream.frame())["type"] == "complete"


async def test_changes_within_an_interval_are_one_answer(idle: Gateway) -> None:
    await plug(idle)
    batch = await accepted(idle, [draft() for _ in range(6)])
    async with idle.read() as session:
        sent = (await session.scalars(select(Message.id).order_by(Message.id))).all()
    async with idle.socket() as socket:
        stream = await socket.subscribe(WATCH, id=batch["id"], ms=1000)
        assert counts(await stream.next()) == {"QUEUED": 6}
        await asyncio.gather(*(idle.gql(CANCEL, id=message_id) for message_id in sent[:5]))
        assert counts(await stream.next()) == {"QUEUED": 1, "CANCELED": 5}
        assert await stream.silent(1.2)
        await send(idle, to="somebody else")
        assert await stream.silent(1.2)
        await idle.gql(CANCEL, id=sent[5])
        last = await stream.next()
        assert (counts(last), last["isComplete"]) == ({"CANCELED": 6}, True)
        assert (await stream.frame())["type"] == "complete"


@pytest.mark.parametrize(
    ("batch_id", "ms", "message"),
    [
        ("bat_none", 100, "There is no such batch."),
        ("given", 49, "intervalMs must be from 50 to 60000."),
        ("given", 60_001, "intervalMs must be from 50 to 60000."),
    ],
)
async def test_what_cannot_be_watched_is_refused(idle: Gateway, batch_id: str, ms: int, message: str) -> None:
    await plug(idle)
    batch = await accepted(idle, [draft()])
    async with idle.socket() as socket:
        stream = await socket.subscribe(WATCH, id=batch["id"] if batch_id == "given" else batch_id, ms=ms)
        frame = await stream.frame()
    (error,) = frame["payload"]
    assert (frame["type"], error["extensions"]["code"], error["message"]) == ("error", "BAD_USER_INPUT", message)


async def test_an_unreadable_batch_cannot_be_watched(idle: Gateway) -> None:
    await plug(idle)
    batch = await accepted(idle, [draft()])
    before = await everything(idle)
    async with idle.socket(idle.token("read:email")) as socket:
        frame = await (await socket.subscribe(WATCH, id=batch["id"])).frame()
    assert frame["payload"][0]["message"] == "There is no such batch."
    assert await everything(idle) == before
