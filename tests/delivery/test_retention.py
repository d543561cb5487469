"""Old events are dropped without breaking those who follow; old messages forget whom they went to, and count on."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from delivery.retention import CHORE, EVERY, Keeper
from models import chores, events, ids
from models.base import now
from models.events import Event
from models.inbound import InboundMessage
from models.messages import Message
from models.receipts import Receipt
from tests import make
from tests.harness import Gateway, Json, running, settings_for

OLD = now() - dt.timedelta(days=40)
MESSAGE = """query($id: ID!) { message(id: $id) {
  to body status redactedAt timeline { type detail } attempts { outcome exchange } } }"""
WATCH = "subscription($ids: [ID!]) { channelStatusChanged(connectorIds: $ids) { cursor status { channel { stage } } } }"
PAGE = "query($after: String) { events(first: 100, after: $after) { nodes { cursor type } } }"


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose keeper is run by hand."""
    async with running(settings_for(tmp_path)) as started:
        yield started


def keeper(gateway: Gateway, **given: int) -> Keeper:
    """One that keeps events for 30 days."""
    return Keeper(gateway.application.database, gateway.application.means.vault, 30, **given)


async def tidy(gateway: Gateway, in_days: int = 0) -> None:
    """What the keeper does so many days from now, with events kept for 30 of them."""
    await keeper(gateway).tidy(now() + dt.timedelta(days=in_days))


async def keep(gateway: Gateway, days: int | None) -> None:
    payload = await make.mutate(gateway, "workspaceUpdate", select="workspace { retentionDays }", retentionDays=days)
    assert payload == {"workspace": {"retentionDays": days}, "userErrors": []}


async def age_events(gateway: Gateway, upto: int | None = None) -> None:
    """Let the first events have happened long ago."""
    async with gateway.application.database.write() as session:
        mine = [Event.workspace_id == gateway.demo.id, *([Event.seq <= upto] if upto else [])]
        await session.execute(update(Event).where(*mine).values(occurred_at=OLD))


async def read(gateway: Gateway, message_id: str) -> Json:
    return (await gateway.gql(MESSAGE, id=message_id))["message"]


async def seqs(gateway: Gateway) -> list[int]:
    async with gateway.read() as session:
        mine = Event.workspace_id == gateway.demo.id
        return list(await session.scalars(select(Event.seq).where(mine).order_by(Event.seq)))


async def cursors(gateway: Gateway, after: str | None = None) -> list[tuple[str, str]]:
    answer = await gateway.gql(PAGE, after=after)
    return [(node["cursor"], node["type"]) for node in answer["events"]["nodes"]]


async def test_old_events_are_dropped_and_the_floor_tells_where_the_log_begins(idle: Gateway) -> None:
    connector = await make.working(idle)
    for _ in range(2):
        await make.arrived(idle, (await make.message(idle))["id"], "DELIVERED")
    before = await cursors(idle)
    channel_events = [i for i, (_cursor, kind) in enumerate(before, start=1) if kind.startswith("channel.")]
    old = len(before) - 3
    await age_events(idle, upto=old)
    await tidy(idle)
    assert await seqs(idle) == [channel_events[-1], *range(old + 1, len(before) + 1)]
    async with idle.read() as session:
        assert await events.oldest(session, idle.demo.id) == old + 1
    stale = await idle.post(PAGE, {"after": before[0][0]})
    assert stale["errors"][0]["extensions"]["code"] == "RESYNC_REQUIRED"
    assert await cursors(idle, stale["errors"][0]["extensions"]["oldestCursor"]) == before[old:]
    async with idle.socket() as socket:
        first = await (await socket.subscribe(WATCH, ids=[connector["id"]])).next()
        assert first == {"cursor": before[channel_events[-1] - 1][0], "status": {"channel": {"stage": "ACTIVE"}}}


async def test_events_are_dropped_in_batches_and_in_order_only(idle: Gateway) -> None:
    await make.working(idle)
    await make.arrived(idle, (await make.message(idle))["id"], "DELIVERED")
    kept = len(await seqs(idle))
    await age_events(idle)
    async with idle.application.database.write() as session:
        await session.execute(update(Event).where(Event.seq == kept - 1).values(occurred_at=now()))
    await keeper(idle, events_at_once=2).tidy()
    assert (await seqs(idle))[-2:] == [kept - 1, kept]  # the last is old, but comes after one that is not
    assert len(await seqs(idle)) == 3


async def test_old_messages_forget_and_the_statistics_stay(idle: Gateway) -> None:
    await make.working(idle)
    message_id = (await make.message(idle, "delivered", body="words"))["id"]
    await make.arrived(idle, message_id, "DELIVERED")
    await tidy(idle, in_days=29)
    assert (await read(idle, message_id))["body"] == "words"  # the workspace has not said how long
    await keep(idle, 20)
    await tidy(idle, in_days=19)
    assert (await read(idle, message_id))["body"] == "words"
    await tidy(idle, in_days=21)
    redacted = await read(idle, message_id)
    assert (redacted["to"], redacted["body"], redacted["status"]) == ("", None, "DELIVERED")
    assert redacted["redactedAt"] is not None
    assert [attempt["exchange"] for attempt in redacted["attempts"]] == [None]
    assert redacted["timeline"][-1] == {"type": "simulator.redacted", "detail": "Kept long enough"}
    stats = await idle.gql("{ messageStats { totals { status count } } }")
    assert stats["messageStats"]["totals"] == [{"status": "DELIVERED", "count": 1}]
    count = len(await seqs(idle))
    await tidy(idle, in_days=22)
    assert len(await seqs(idle)) == count  # once is enough


async def test_what_is_under_way_is_redacted_when_it_is_over(idle: Gateway) -> None:
    await make.working(idle)
    later = (now() + dt.timedelta(hours=1)).isoformat()
    waiting = (await make.message(idle, body="waits", scheduledAt=later))["id"]
    behind = (await make.message(idle, body="is over"))["id"]
    await make.arrived(idle, behind, "DELIVERED")
    await keep(idle, 1)
    mine, tomorrow = keeper(idle), now() + dt.timedelta(days=2)
    await mine.tidy(tomorrow)
    assert [(await read(idle, message_id))["body"] for message_id in (waiting, behind)] == ["waits", None]
    await make.mutate(idle, "messageCancel", select="message { id }", id=waiting)
    await mine.tidy(tomorrow)
    assert (await read(idle, waiting))["body"] is None


async def test_what_people_wrote_and_receipts_nobody_claimed_go_too(idle: Gateway) -> None:
    connector = await make.working(idle)
    common: dict[str, Any] = {"workspace_id": idle.demo.id, "connector_id": connector["id"]}
    async with idle.application.database.write() as session:
        for name, at in (("old", OLD), ("young", now())):
            inbound = InboundMessage(
                id=ids.earliest(ids.INBOUND, at)[:-1] + "1",
                channel_type="SIMULATOR",
                event_id=name,
                sender="ada@simulator",
                body=name,
                kind="text",
                media=[],
                occurred_at=at,
                received_at=at,
                **common,
            )
            raw = {"to": "ada"}
            told = {"event_id": name, "external_id": name, "status": "SENT", "raw": raw, "occurred_at": at, "received_at": at}
            parked = Receipt(id=ids.new_id(ids.RECEIPT), **told, **common)
            session.add_all([inbound, parked])
    await keep(idle, 30)
    await tidy(idle)
    async with idle.read() as session:
        found = select(InboundMessage.event_id, InboundMessage.sender, InboundMessage.body).order_by(InboundMessage.id)
        assert list(await session.execute(found)) == [("old", "", None), ("young", "ada@simulator", "young")]
        assert list(await session.scalars(select(Receipt.event_id))) == ["young"]


async def test_another_workspace_keeps_what_it_wants(idle: Gateway) -> None:
    other = idle.token(workspace=await idle.workspace("other"))
    await make.working(idle, token=other)
    theirs = (await make.mutate(idle, "messageSend", other, to="delivered", body="theirs", channel="SIMULATOR"))["message"][
        "id"
    ]
    await make.arrived(idle, theirs, "DELIVERED", other)
    await keep(idle, 1)
    await tidy(idle, in_days=2)
    assert (await idle.gql(MESSAGE, other, id=theirs))["message"]["body"] == "theirs"


@pytest.mark.parametrize("days", [0, -1, 3_651])
async def test_a_span_out_of_range_is_refused(idle: Gateway, days: int) -> None:
    sentence = "retentionDays must be from 1 to 3650, or null to keep messages as they are."
    refused = await make.refused(idle, "workspaceUpdate", retentionDays=days)
    assert refused == [("VALIDATION_ERROR", ["input", "retentionDays"], sentence)]


async def test_null_keeps_messages_again(idle: Gateway) -> None:
    await keep(idle, 5)
    await keep(idle, None)
    async with idle.read() as session:
        assert await session.scalar(select(func.count()).select_from(Message)) == 0


async def test_one_process_does_it_for_all(idle: Gateway) -> None:
    database = idle.application.database
    async with database.write() as session:
        assert not await chores.claim(session, CHORE, EVERY)  # the gateway's own keeper has just done it
        assert await chores.claim(session, "other", dt.timedelta(0))
        assert await chores.claim(session, "other", EVERY)
        assert not await chores.claim(session, "other", EVERY)
