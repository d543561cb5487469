"""A connector's metrics, in a list, alone and as they change."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from models import metrics as rows
from models.base import now
from models.messages import Attempt, Message
from models.queue import Job
from tests.harness import Gateway, eventually, running, settings_for
from tests.sending import CREATE, DELETE, plug, script, send, settled

FIELDS = "connectorId queued inFlight sentLastMinute failedLastMinute acceptP50Ms acceptP95Ms deliverP50Ms deliverP95Ms at"
ONE = f"query($id: ID!) {{ connector(id: $id) {{ metrics {{ {FIELDS} }} }} }}"
LIST = f"{{ connectors(first: 100) {{ nodes {{ name metrics {{ {FIELDS} }} }} }} }}"
WATCH = f"subscription($id: ID!, $every: Int) {{ connectorMetrics(connectorId: $id, intervalMs: $every) {{ {FIELDS} }} }}"
IDLE = {
    "queued": 0,
    "inFlight": 0,
    "sentLastMinute": 0,
    "failedLastMinute": 0,
    "acceptP50Ms": None,
    "acceptP95Ms": None,
    "deliverP50Ms": None,
    "deliverP95Ms": None,
}


def without_time(metrics: dict[str, Any]) -> dict[str, Any]:
    assert abs(dt.datetime.fromisoformat(metrics["at"]) - now()) < dt.timedelta(seconds=10)
    return {name: value for name, value in metrics.items() if name != "at"}


async def metrics_of(gateway: Gateway, connector_id: str) -> dict[str, Any]:
    return without_time((await gateway.gql(ONE, id=connector_id))["connector"]["metrics"])


async def write(gateway: Gateway, *statements: Any) -> None:
    async with gateway.application.database.write() as session:
        for statement in statements:
            await session.execute(statement)


async def backdate(gateway: Gateway, message_id: str, sent_ago: float, took_ms: float, arrived_ms: float | None) -> None:
    """Have a message sent some seconds ago, that long after it was due, and delivered that long after it was sent."""
    sent = now() - dt.timedelta(seconds=sent_ago)
    times = {
        "created_at": sent - dt.timedelta(milliseconds=took_ms),
        "sent_at": sent,
        "delivered_at": sent + dt.timedelta(milliseconds=arrived_ms) if arrived_ms is not None else None,
    }
    await write(
        gateway,
        update(Message).where(Message.id == message_id).values(times),
        update(Attempt).where(Attempt.message_id == message_id).values(finished_at=sent),
    )


async def test_an_idle_connector_has_nothing_to_tell(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    assert await metrics_of(gateway, connector_id) == {"connectorId": connector_id, **IDLE}


async def test_queue_outcomes_and_times_are_each_connectors_own(gateway: Gateway) -> None:
    one, other = (await plug(gateway, "one"))["id"], (await plug(gateway, "other"))["id"]
    times = [(1, 10, 100), (2, 20, None), (30, 30, 300), (59, 40, 400), (100, 1000, 5000), (1000, 9000, 9000)]
    for sent_ago, took, arrived in times:
        message_id = await send(gateway, connectorId=one, metadata=script())
        await settled(gateway, message_id, "SENT")
        await backdate(gateway, message_id, sent_ago, took, arrived)
    failed = await send(gateway, connectorId=one, metadata=script("rejected"))
    await settled(gateway, failed, "FAILED")
    await send(gateway, connectorId=one, scheduledAt=(now() + dt.timedelta(hours=1)).isoformat())
    found = {node["name"]: without_time(node["metrics"]) for node in (await gateway.gql(LIST))["connectors"]["nodes"]}
    assert found == {
        "one": {
            "connectorId": one,
            "queued": 1,
            "inFlight": 0,
            "sentLastMinute": 4,
            "failedLastMinute": 1,
            "acceptP50Ms": 30,
            "acceptP95Ms": 1000,
            "deliverP50Ms": 300,
            "deliverP95Ms": 5000,
        },
        "other": {"connectorId": other, **IDLE},
    }
    assert await metrics_of(gateway, one) == found["one"]


async def test_a_scheduled_message_is_timed_from_when_it_was_due(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    message_id = await send(gateway, connectorId=connector_id, metadata=script())
    await settled(gateway, message_id, "SENT")
    await backdate(gateway, message_id, 5, 60_000, None)
    planned = now() - dt.timedelta(seconds=6)
    await write(gateway, update(Message).where(Message.id == message_id).values(scheduled_at=planned))
    assert (await metrics_of(gateway, connector_id))["acceptP50Ms"] == pytest.approx(1_000, abs=500)


async def test_what_waits_and_what_is_under_way_are_told_apart(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=True) as gateway:
        connector_id = (await plug(gateway))["id"]
        slow = await send(gateway, connectorId=connector_id, metadata=script(latency=1_500))

        async def under_way() -> bool:
            return (await metrics_of(gateway, connector_id))["inFlight"] == 1

        await eventually(under_way)
        await settled(gateway, slow, "SENT")
    async with running(settings_for(tmp_path / "idle"), worker=False) as gateway:
        made = await gateway.gql(CREATE, input={"name": "idle", "config": {"simulator": {}}})
        other_id = made["connectorCreate"]["connector"]["id"]
        for _ in range(3):
            await send(gateway, connectorId=other_id)
        assert await metrics_of(gateway, other_id) == {"connectorId": other_id, **IDLE, "queued": 3}


async def test_no_other_workspace_counts(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    await settled(gateway, await send(gateway, connectorId=connector_id), "DELIVERED")
    stranger = await gateway.workspace("stranger")
    async with gateway.read() as session:
        since = now() - dt.timedelta(hours=1)
        assert set(await rows.loads(session, gateway.demo.id, [connector_id])) == {connector_id}
        assert await rows.loads(session, stranger.id, [connector_id]) == {}
        assert len((await rows.times(session, gateway.demo.id, [connector_id], since, 10))[connector_id]) == 1
        assert await rows.times(session, stranger.id, [connector_id], since, 10) == {connector_id: []}


async def test_the_sample_has_an_end(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    for took in (10, 20, 30):
        message_id = await send(gateway, connectorId=connector_id, metadata=script())
        await settled(gateway, message_id, "SENT")
        await backdate(gateway, message_id, 60 - took, took, None)
    async with gateway.read() as session:
        since = now() - dt.timedelta(hours=1)
        found = (await rows.times(session, gateway.demo.id, [connector_id], since, 2))[connector_id]
    assert sorted((times.sent_at - times.due_at) // dt.timedelta(milliseconds=1) for times in found) == [20, 30]


async def test_an_index_answers_each_question(gateway: Gateway) -> None:
    if not gateway.application.database.is_sqlite:
        pytest.skip("the plan is SQLite's")
    queries = {
        "SELECT count(*) FROM job WHERE lane_id = 'x' AND state = 0": "INDEX ix_job_ready",
        "SELECT count(*) FROM job WHERE lane_id = 'x' AND state = 1": "INDEX ix_job_leased",
        "SELECT count(*) FROM job WHERE lane_id = 'x' AND state = 3": "INDEX ix_job_scheduled_lane",
        "SELECT count(*) FROM attempt WHERE connector_id = 'x' AND outcome = 'SENT' AND finished_at > '2'": (
            "COVERING INDEX ix_attempt_finished"
        ),
        "SELECT message_id FROM attempt WHERE connector_id = 'x' AND outcome = 'SENT' AND finished_at > '2' "
        "ORDER BY finished_at DESC LIMIT 9": "INDEX ix_attempt_finished",
    }
    async with gateway.read() as session:
        for query, index in queries.items():
            plan = " ".join(str(row[3]) for row in await session.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert index in plan and "TEMP B-TREE" not in plan, plan


async def test_a_read_message_keeps_when_it_was_delivered(gateway: Gateway) -> None:
    receipts = [(50, "DELIVERED"), (600, "READ")]
    connector_id = (await plug(gateway))["id"]
    message_id = await send(gateway, connectorId=connector_id, metadata=script(receipts=receipts))
    delivered = await settled(gateway, message_id, "DELIVERED")
    read = await settled(gateway, message_id, "READ")
    assert read["deliveredAt"] == delivered["deliveredAt"] is not None


# ------------------------------------------------------------------ as they change


async def test_a_watcher_is_told_at_once_then_only_of_changes(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, id=connector_id, every=100)
        assert without_time(await stream.next(2)) == {"connectorId": connector_id, **IDLE}
        assert await stream.silent(0.4)
        await send(gateway, connectorId=connector_id, metadata=script())

        async def sent() -> bool:
            return (await stream.next())["sentLastMinute"] == 1

        await eventually(sent)


async def test_silence_ends_after_ten_intervals(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, id=connector_id, every=100)
        first, second = await stream.next(2), await stream.next(5)
        apart = dt.datetime.fromisoformat(second["at"]) - dt.datetime.fromisoformat(first["at"])
        assert without_time(first) == without_time(second)
        assert apart >= dt.timedelta(seconds=1)


async def test_watching_ends_with_the_connector(gateway: Gateway) -> None:
    await plug(gateway, "kept")
    connector_id = (await plug(gateway))["id"]
    async with gateway.socket() as socket:
        stream = await socket.subscribe(WATCH, id=connector_id, every=100)
        await stream.next()
        assert (await gateway.gql(DELETE, id=connector_id))["connectorDelete"]["userErrors"] == []

        async def ended() -> bool:
            return (await stream.frame())["type"] == "complete"

        await eventually(ended)


async def refused(gateway: Gateway, token: str, **variables: Any) -> dict[str, Any]:
    """The first frame's only error; nothing else follows."""
    async with gateway.socket(token) as socket:
        stream = await socket.subscribe(WATCH, **variables)
        frame = await stream.frame()
        assert frame["type"] in ("error", "next"), frame
        (error,) = frame["payload"] if frame["type"] == "error" else frame["payload"]["errors"]
        return dict(error)


async def test_a_foreign_connector_is_a_missing_one(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    stranger = gateway.token(workspace=await gateway.workspace("stranger"))
    errors = [await refused(gateway, stranger, id=connector_id), await refused(gateway, gateway.token(), id="con_nowhere")]
    assert [(error["extensions"]["code"], error["message"]) for error in errors] == [
        ("CONNECTOR_NOT_FOUND", "There is no such connector.")
    ] * 2


async def test_watching_needs_its_scope_and_a_sane_interval(gateway: Gateway) -> None:
    connector_id = (await plug(gateway))["id"]
    error = await refused(gateway, gateway.token("read:*"), id=connector_id)
    assert error["extensions"]["code"] == "FORBIDDEN"
    for every in (99, 60_001, -1):
        error = await refused(gateway, gateway.token("connectors:read"), id=connector_id, every=every)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["message"] == "intervalMs must be from 100 to 60000."


async def test_a_watcher_sees_no_job_of_others(gateway: Gateway) -> None:
    """Jobs are counted by lane, and a lane is of one workspace."""
    mine, other = (await plug(gateway, "mine"))["id"], (await plug(gateway, "other"))["id"]
    later = (now() + dt.timedelta(hours=1)).isoformat()
    await send(gateway, connectorId=other, scheduledAt=later)
    assert (await metrics_of(gateway, mine))["queued"] == 0
    await write(gateway, update(Job).values(lane_id=mine))
    assert (await metrics_of(gateway, mine))["queued"] == 1
