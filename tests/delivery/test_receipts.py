"""What providers tell later: a status only moves up, and everything they told is on record."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from sqlalchemy import select

from channels.base import DeliveryStatus, Received, Report, Watermark
from channels.errors import FailureKind, SendError
from models import connectors
from models.base import now
from models.connectors import Connector
from models.receipts import Receipt
from tests.harness import Gateway
from tests.sending import hear, log_of, message, plug, script, send, settled

Json = Any


async def row(gateway: Gateway, connector_id: str) -> Connector:
    async with gateway.read() as session:
        found = await connectors.get(session, gateway.demo.id, connector_id)
    assert found is not None
    return found


def report(message_id: str, status: str, event_id: str | None = None, **given: Json) -> Report:
    """What the simulator's provider might say of a message."""
    values = {"occurred_at": now(), **given}
    return Report(
        event_id=event_id or f"{message_id}:{status}",
        provider_id=f"sim_{message_id}",
        status=DeliveryStatus(status),
        **values,
    )


async def kept(gateway: Gateway) -> list[Receipt]:
    async with gateway.read() as session:
        return list(await session.scalars(select(Receipt).order_by(Receipt.received_at)))


def moves(found: Json) -> list[tuple[str, str]]:
    return [(entry["type"].partition(".")[2], entry["source"]) for entry in found["timeline"]]


ROAD = [("queued", "API"), ("processing", "DISPATCHER"), ("sent", "PROVIDER_RESPONSE")]
CALLBACK = "PROVIDER_CALLBACK"


async def test_delivered_then_read(gateway: Gateway) -> None:
    await plug(gateway)
    found = await settled(gateway, await send(gateway, "read"), "READ")
    assert moves(found) == [*ROAD, ("delivered", CALLBACK), ("read", CALLBACK)]
    assert found["deliveredAt"] is not None and found["failure"] is None
    assert {receipt.status for receipt in await kept(gateway)} == {"DELIVERED", "READ"}
    assert {receipt.message_id for receipt in await kept(gateway)} == {found["id"]}


async def test_undelivered(gateway: Gateway) -> None:
    await plug(gateway)
    found = await settled(gateway, await send(gateway, "undelivered"), "FAILED")
    assert moves(found) == [*ROAD, ("failed", CALLBACK)]
    assert (found["failure"]["code"], found["failure"]["kind"]) == ("UNDELIVERED", "RECIPIENT")
    assert found["attempts"][0]["outcome"] == "SENT"  # the provider had taken it


async def test_a_receipt_that_overtakes_the_answer_waits_for_it(gateway: Gateway) -> None:
    made = await plug(gateway)
    connector = await row(gateway, made["id"])
    message_id = await send(gateway, metadata=script(latency=500))
    await settled(gateway, message_id, "PROCESSING")
    await hear(gateway, connector, report(message_id, "DELIVERED"))
    (parked,) = await kept(gateway)
    assert parked.message_id is None and (await message(gateway, message_id))["status"] == "PROCESSING"
    found = await settled(gateway, message_id, "DELIVERED")
    assert moves(found) == [*ROAD, ("delivered", CALLBACK)]
    assert [receipt.message_id for receipt in await kept(gateway)] == [message_id]


async def test_receipts_that_overtake_it_in_the_wrong_order(gateway: Gateway) -> None:
    made = await plug(gateway)
    connector = await row(gateway, made["id"])
    message_id = await send(gateway, metadata=script(latency=500))
    await settled(gateway, message_id, "PROCESSING")
    for status in ("READ", "DELIVERED", "SENT", "READ"):
        await hear(gateway, connector, report(message_id, status))
    found = await settled(gateway, message_id, "READ")
    await asyncio.sleep(0.2)
    found = await message(gateway, message_id)
    assert found["status"] == "READ"
    assert moves(found) == [*ROAD, ("read", CALLBACK), ("receipt", CALLBACK), ("receipt", CALLBACK)]
    details = [entry["detail"] for entry in found["timeline"]][-2:]
    assert details == ["DELIVERED reported while READ", "SENT reported while READ"]
    assert len(await kept(gateway)) == 3


async def test_out_of_order_and_repeated(gateway: Gateway) -> None:
    await plug(gateway)
    message_id = await send(gateway, "out-of-order")
    await settled(gateway, message_id, "DELIVERED")
    await asyncio.sleep(0.3)
    found = await message(gateway, message_id)
    assert moves(found) == [*ROAD, ("delivered", CALLBACK), ("receipt", CALLBACK)]
    assert found["status"] == "DELIVERED"
    assert found["timeline"][-1]["status"] == "DELIVERED"
    assert found["timeline"][-1]["detail"] == "SENT reported while DELIVERED"
    assert len(await kept(gateway)) == 2  # the repeated one is the same receipt


async def test_a_late_receipt(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway, "no-receipt")
    await settled(gateway, message_id, "SENT")
    then = now() - dt.timedelta(hours=3)
    late = report(message_id, "DELIVERED", occurred_at=then, detail="handset was off")
    await hear(gateway, await row(gateway, made["id"]), late)
    found = await message(gateway, message_id)
    assert found["status"] == "DELIVERED"
    assert dt.datetime.fromisoformat(found["deliveredAt"]) == then
    assert found["timeline"][-1]["detail"] == "handset was off"
    assert dt.datetime.fromisoformat(found["timeline"][-1]["occurredAt"]) == then


async def test_a_provider_whose_clock_is_ahead(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway, "no-receipt")
    await settled(gateway, message_id, "SENT")
    ahead = report(message_id, "DELIVERED", occurred_at=now() + dt.timedelta(days=1))
    await hear(gateway, await row(gateway, made["id"]), ahead)
    assert dt.datetime.fromisoformat((await message(gateway, message_id))["deliveredAt"]) <= now()


async def test_a_hundred_repeats_at_once_are_one(gateway: Gateway) -> None:
    made = await plug(gateway)
    connector = await row(gateway, made["id"])
    message_id = await send(gateway, "no-receipt")
    await settled(gateway, message_id, "SENT")
    one = report(message_id, "DELIVERED")
    await asyncio.gather(*(hear(gateway, connector, one) for _ in range(100)))
    found = await message(gateway, message_id)
    assert moves(found) == [*ROAD, ("delivered", CALLBACK)]
    assert len(await kept(gateway)) == 1


async def test_what_may_follow_what(gateway: Gateway) -> None:
    made = await plug(gateway)
    connector = await row(gateway, made["id"])
    refused = SendError(FailureKind.RECIPIENT, "GONE", "The number is gone.")
    for told, final in [
        (["DELIVERED", "FAILED"], "DELIVERED"),
        (["READ", "DELIVERED", "FAILED"], "READ"),
        (["FAILED", "SENT"], "FAILED"),
        (["FAILED", "DELIVERED"], "DELIVERED"),
        (["PROCESSING", "SENT"], "SENT"),
    ]:
        message_id = await send(gateway, "no-receipt")
        await settled(gateway, message_id, "SENT")
        for status in told:
            failure = refused if status == "FAILED" else None
            await hear(gateway, connector, report(message_id, status, failure=failure))
        found = await message(gateway, message_id)
        assert found["status"] == final, told
        assert (found["failure"] is not None) == (final == "FAILED"), told


async def test_another_connectors_message_of_the_same_name_is_not_meant(gateway: Gateway) -> None:
    await plug(gateway, "one")
    other = await plug(gateway, "two")
    message_id = await send(gateway, "no-receipt", routingKey=(await plug(gateway, "three"))["routingKey"])
    before = await settled(gateway, message_id, "SENT")
    await hear(gateway, await row(gateway, other["id"]), report(message_id, "DELIVERED"))
    assert await message(gateway, message_id) == before
    (parked,) = await kept(gateway)
    assert (parked.connector_id, parked.message_id) == (other["id"], None)


async def test_the_event_of_a_receipt_has_the_status_before(gateway: Gateway) -> None:
    await plug(gateway)
    message_id = await send(gateway, "read")
    await settled(gateway, message_id, "READ")
    told = [(e.payload["previousStatus"], e.payload["status"]) for e in await log_of(gateway) if e.subject_id == message_id]
    assert told == [
        (None, "QUEUED"),
        ("QUEUED", "PROCESSING"),
        ("PROCESSING", "SENT"),
        ("SENT", "DELIVERED"),
        ("DELIVERED", "READ"),
    ]


async def test_a_watermark_is_a_receipt_for_all_that_was_sent_to_one_recipient_by_then(gateway: Gateway) -> None:
    connector = await row(gateway, (await plug(gateway))["id"])
    first = await send(gateway, "no-receipt")
    await settled(gateway, first, "SENT")
    second = await send(gateway, "no-receipt")
    await settled(gateway, second, "SENT")
    between = dt.datetime.fromisoformat((await message(gateway, first))["sentAt"])
    to = (await message(gateway, first))["to"]
    mark = Watermark(recipient=to, status=DeliveryStatus.READ, until=between)
    for _ in range(2):
        await gateway.application.intake.take(connector, Received(watermarks=(mark,)))
    assert (await settled(gateway, first, "READ"))["id"] == first
    assert (await message(gateway, second))["status"] == "SENT"
    assert len(await kept(gateway)) == 1
