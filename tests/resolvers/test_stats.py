from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from models import ids
from models.base import now
from models.messages import Message
from resolvers import stats
from tests.harness import Gateway, Json, running, settings_for
from tests.simulated import plug, send, until

STATS = """query($filter: MessageFilter, $from: DateTime, $to: DateTime, $bucket: StatsBucket) {
  messageStats(filter: $filter, from: $from, to: $to, bucket: $bucket) {
    totals { status count } buckets { start channelType counts { status count } } acceptP50Ms deliverP50Ms deliverP95Ms } }"""
DELETE = "mutation($id: ID!) { messageDelete(input: {id: $id}) { message { id } userErrors { code } } }"
NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
SECOND, HOUR, DAY = dt.timedelta(seconds=1), dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway nobody sends for, with a connector and one message of today to copy."""
    async with running(settings_for(tmp_path), worker=False) as started:
        await plug(started)
        await send(started)
        yield started


async def past(gateway: Gateway, *rows: dict[str, Any]) -> None:
    """Messages of old: copies of the one that is there, with other columns."""
    async with gateway.application.database.write() as session:
        first = (await session.scalars(select(Message).order_by(Message.id.desc()).limit(1))).one()
        model = {column.key: getattr(first, column.key) for column in Message.__mapper__.column_attrs}
        made = [
            {**model, "id": ids.earliest(ids.MESSAGE, row["created_at"])[:-16] + secrets.token_hex(8), **row} for row in rows
        ]
        await session.execute(insert(Message), made)


async def read(gateway: Gateway, token: str | None = None, /, **given: Any) -> Json:
    texts = {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in given.items()}
    return (await gateway.gql(STATS, token, **texts))["messageStats"]


async def refused(gateway: Gateway, **given: Any) -> tuple[str, str]:
    texts = {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in given.items()}
    answer = await gateway.post(STATS, texts)
    assert answer["data"] == {"messageStats": None}
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["message"]


def counted(items: Json) -> dict[str, int]:
    return {item["status"]: item["count"] for item in items}


def shown(found: Json) -> list[tuple[str, str, dict[str, int]]]:
    return [(bucket["start"], bucket["channelType"], counted(bucket["counts"])) for bucket in found["buckets"]]


async def test_messages_are_counted_by_hour_channel_and_status(idle: Gateway) -> None:
    await past(
        idle,
        {"created_at": NOON, "status": "DELIVERED"},
        {"created_at": NOON + HOUR - SECOND / 1_000_000, "status": "READ"},
        {"created_at": NOON + 59 * 60 * SECOND + 0.6 * SECOND, "status": "READ", "channel_type": "EMAIL"},
        {"created_at": NOON + HOUR, "status": "FAILED"},
        {"created_at": NOON + HOUR, "status": "FAILED"},
        {"created_at": NOON + 2 * HOUR, "status": "SENT"},
        {"created_at": NOON - SECOND / 1_000_000, "status": "SENT"},
    )
    found = await read(idle, None, **{"from": NOON, "to": NOON + 2 * HOUR, "bucket": "HOUR"})
    assert shown(found) == [
        ("2026-03-10T12:00:00Z", "EMAIL", {"READ": 1}),
        ("2026-03-10T12:00:00Z", "SIMULATOR", {"DELIVERED": 1, "READ": 1}),
        ("2026-03-10T13:00:00Z", "SIMULATOR", {"FAILED": 2}),
    ]
    assert found["totals"] == [
        {"status": "FAILED", "count": 2},
        {"status": "DELIVERED", "count": 1},
        {"status": "READ", "count": 2},
    ]


async def test_days_begin_at_midnight_utc(idle: Gateway) -> None:
    late = dt.datetime(2026, 3, 10, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    await past(idle, {"created_at": late, "status": "SENT"}, {"created_at": late + SECOND / 1_000_000, "status": "SENT"})
    found = await read(idle, None, **{"from": NOON, "to": NOON + DAY})
    assert shown(found) == [
        ("2026-03-10T00:00:00Z", "SIMULATOR", {"SENT": 1}),
        ("2026-03-11T00:00:00Z", "SIMULATOR", {"SENT": 1}),
    ]


async def test_without_a_span_it_is_the_last_seven_days(idle: Gateway) -> None:
    at = now()
    await past(idle, {"created_at": at - 7 * DAY + 60 * SECOND}, {"created_at": at - 7 * DAY - 60 * SECOND, "status": "FAILED"})
    assert counted((await read(idle))["totals"]) == {"QUEUED": 2}
    assert counted((await read(idle, to=at - 7 * DAY))["totals"]) == {"FAILED": 1}
    assert counted((await read(idle, None, **{"from": at - 8 * DAY}))["totals"]) == {"QUEUED": 2, "FAILED": 1}


async def test_a_filter_and_a_foreign_workspace_narrow_it(idle: Gateway) -> None:
    await past(
        idle,
        {"created_at": NOON, "status": "SENT", "flow": "OTP"},
        {"created_at": NOON, "status": "SENT", "client_reference": "order 7"},
        {"created_at": NOON, "status": "SENT", "channel_type": "EMAIL", "to": "Ada@example.com"},
    )
    span: dict[str, Any] = {"from": NOON, "to": NOON + DAY}
    assert counted((await read(idle, filter={"flow": "OTP"}, **span))["totals"]) == {"SENT": 1}
    assert counted((await read(idle, filter={"channels": ["EMAIL", "SMS"]}, **span))["totals"]) == {"SENT": 1}
    assert counted((await read(idle, filter={"query": "ada@"}, **span))["totals"]) == {"SENT": 1}
    assert counted((await read(idle, idle.token("read:email"), **span))["totals"]) == {"SENT": 1}
    nothing: Json = {"totals": [], "buckets": [], "acceptP50Ms": None, "deliverP50Ms": None, "deliverP95Ms": None}
    assert await read(idle, idle.token(workspace=await idle.workspace("another")), **span) == nothing


async def test_times_are_those_of_what_was_sent(idle: Gateway) -> None:
    sent = NOON + 10 * SECOND
    await past(
        idle,
        *({"created_at": sent - i * SECOND, "sent_at": sent, "delivered_at": sent + i * SECOND} for i in range(1, 9)),
        {"created_at": NOON, "scheduled_at": sent - SECOND, "sent_at": sent, "delivered_at": sent - SECOND},
        {"created_at": NOON, "status": "FAILED"},
    )
    found = await read(idle, None, **{"from": NOON, "to": NOON + DAY})
    assert (found["acceptP50Ms"], found["deliverP50Ms"], found["deliverP95Ms"]) == (4_000.0, 4_000.0, 8_000.0)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.95, 7.0), ([3, 1, 2], 0.5, 2), ([4, 1, 3, 2], 0.5, 2), (list(range(1, 101)), 0.95, 95)],
)
def test_a_quantile_is_a_value_that_was_seen(values: list[float], share: float, expected: float | None) -> None:
    assert stats.quantile(values, share) == expected


async def test_spans_that_make_no_sense_are_refused(idle: Gateway) -> None:
    assert await refused(idle, **{"from": NOON, "to": NOON}) == ("BAD_USER_INPUT", "from must lie before to.")
    assert await refused(idle, **{"from": NOON, "to": NOON + 400 * DAY + SECOND}) == (
        "BAD_USER_INPUT",
        "Buckets of a day span at most 400 days from from to to.",
    )
    assert await refused(idle, **{"from": NOON, "to": NOON + 1_000 * HOUR + SECOND, "bucket": "HOUR"}) == (
        "BAD_USER_INPUT",
        "Buckets of an hour span at most 41.67 days from from to to.",
    )
    assert (await read(idle, None, **{"from": NOON, "to": NOON + 1_000 * HOUR, "bucket": "HOUR"}))["buckets"] == []
    assert await refused(idle, **{"from": now() + DAY}) == ("BAD_USER_INPUT", "from must lie before to.")


async def test_what_one_may_not_read_is_not_counted(idle: Gateway) -> None:
    answer = await idle.post(STATS, {}, idle.token("send:*"))
    assert answer["errors"][0]["extensions"]["requiredScope"] == "read:*"
    answer = await idle.post(STATS, {"filter": {"channels": ["SMS"]}}, idle.token("read:email"))
    assert answer["errors"][0]["extensions"]["requiredScope"] == "read:sms"
    assert (await read(idle, idle.token("read:email")))["totals"] == []


async def test_a_deleted_message_is_counted_as_before(gateway: Gateway) -> None:
    await plug(gateway)
    message_id = await send(gateway)
    await until(gateway, message_id, "DELIVERED")
    before = await read(gateway)
    assert counted(before["totals"]) == {"DELIVERED": 1} and before["acceptP50Ms"] > 0 and before["deliverP50Ms"] > 0
    await gateway.gql(DELETE, id=message_id)
    assert await read(gateway) == before
