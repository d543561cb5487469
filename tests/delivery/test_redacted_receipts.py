"""Receipts of redacted messages: they count as others do and lose the provider's words, however and whenever they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from channels.base import DeliveryStatus, Report
from delivery import receipts
from models import queue, redaction
from models import receipts as rows
from models.base import now
from models.connectors import Connector
from models.database import Database
from models.messages import Attempt, Message, MessageStatus, alias
from models.receipts import Receipt
from tests import lab
from tests.harness import POSTGRESQL, Gateway, eventually, running, settings_for
from tests.sending import message

SAID = "447700900123"
NAME = f"wamid.{SAID}"
OLDER = f"wamid.{SAID}.older"
WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker is played by the test."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


@asynccontextmanager
async def sent(gateway: Gateway, names: Sequence[str] = (NAME,)) -> AsyncIterator[tuple[Connector, str]]:
    """A text message that was taken by its provider, under another name at each attempt, and its connector."""
    async with lab.Twilio() as twilio:
        connector_id = await lab.verified(gateway, "Texts", twilio.config)
        made = await gateway.gql(
            "mutation($input: MessageSendInput!) { messageSend(input: $input) { message { id } userErrors { code } } }",
            input=lab.sms("Hello", f"+{SAID}"),
        )
        message_id = str(made["messageSend"]["message"]["id"])
        tried = [
            {
                "message_id": message_id,
                "number": number,
                "workspace_id": gateway.demo.id,
                "connector_id": connector_id,
                "started_at": now(),
                "external_id": name,
            }
            for number, name in enumerate(names, 1)
        ]
        async with gateway.application.database.write() as session:
            await queue.finish(session, [message_id])
            await session.execute(insert(Attempt), tried)
            await session.execute(update(Message).values(status=MessageStatus.SENT, external_id=names[-1], sent_at=now()))
            connector = await session.get_one(Connector, connector_id)
        yield connector, message_id


def told(name: str, event: str = "1", status: str = "DELIVERED", reference: str | None = None) -> Report:
    return Report(
        event_id=f"{SAID}:{event}",
        provider_id=name,
        status=DeliveryStatus(status),
        occurred_at=now(),
        detail=f"to {SAID}",
        raw={"to": SAID},
        message_id=reference,
    )


async def park(gateway: Gateway, connector: Connector | None, report: Report) -> receipts.Name:
    async with gateway.application.database.write() as session:
        (name,) = await receipts.keep(session, [(connector, report)])
    return name


async def redact(gateway: Gateway, message_id: str) -> None:
    async with gateway.application.database.write() as session:
        locked = await redaction.lock(session, gateway.demo.id, message_id)
        assert locked is not None
        await redaction.redact(session, locked, gateway.application.means.vault)


async def waits(gateway: Gateway) -> bool:
    """Whether somebody waits for a lock."""
    async with gateway.read() as session:
        return bool(await session.scalar(WAITING))


async def kept(gateway: Gateway) -> list[Receipt]:
    async with gateway.read() as session:
        return list(await session.scalars(select(Receipt).order_by(Receipt.id)))


def is_silent(receipt: Receipt) -> bool:
    return SAID not in repr([receipt.event_id, receipt.external_id, receipt.detail, receipt.failure, receipt.raw])


async def test_what_is_parked_is_silenced_under_every_name_of_the_message(idle: Gateway) -> None:
    async with sent(idle, (OLDER, NAME)) as (connector, message_id):
        await park(idle, connector, told(NAME, "1"))
        await park(idle, connector, told(OLDER, "2"))
        await park(idle, connector, told(f"new.{SAID}", "3", reference=message_id))
        await park(idle, None, told(f"other.{SAID}", "4", reference=message_id))
        await park(idle, connector, told("wamid.another", "5"))
        await redact(idle, message_id)
        *ours, another = await kept(idle)
        assert [is_silent(receipt) for receipt in ours] == [True] * 4
        assert (another.external_id, another.raw) == ("wamid.another", {"to": SAID})


async def test_a_silenced_receipt_is_applied_and_known_again(idle: Gateway) -> None:
    async with sent(idle) as (connector, message_id):
        database = idle.application.database
        await park(idle, connector, told(NAME))
        await redact(idle, message_id)
        await receipts.catch_up_all(database)
        assert (await message(idle, message_id))["status"] == "DELIVERED"
        await receipts.catch_up(database, [await park(idle, connector, told(NAME))])
        (receipt,) = await kept(idle)
        assert (receipt.message_id, receipt.event_id) == (message_id, alias(f"{SAID}:1"))


async def test_a_repetition_by_a_door_of_the_whole_installation_is_known(idle: Gateway) -> None:
    async with sent(idle) as (_, message_id):
        database = idle.application.database
        await receipts.catch_up(database, [await park(idle, None, told(NAME))])
        await redact(idle, message_id)
        for event in ("1", "2", "2"):
            await receipts.catch_up(database, [await park(idle, None, told(NAME, event))])
        assert [(receipt.message_id, is_silent(receipt)) for receipt in await kept(idle)] == [(message_id, True)] * 2


@pytest.mark.skipif(not POSTGRESQL, reason="SQLite has one lock only")
async def test_redacting_beside_the_applying_of_a_receipt(idle: Gateway) -> None:
    """Who applies a receipt has it before the message, who redacts has the message first: neither waits for the other."""
    async with sent(idle) as (connector, message_id):
        name = await park(idle, connector, told(NAME))
        beside = Database(idle.application.settings.database_url)
        try:
            async with beside.write() as session:
                parked = await rows.hold_parked(session, [name])
                assert len(parked) == 1
                await asyncio.wait_for(redact(idle, message_id), 10)
                await receipts.apply_all(session, parked)
        finally:
            await beside.close()
        assert (await message(idle, message_id))["status"] == "DELIVERED"
        (receipt,) = await kept(idle)
        assert (receipt.message_id, is_silent(receipt)) == (message_id, True)


@pytest.mark.skipif(not POSTGRESQL, reason="SQLite has one lock only")
async def test_applying_a_receipt_beside_a_redaction(idle: Gateway) -> None:
    """What is applied is what the message says after the redaction."""
    async with sent(idle) as (connector, message_id):
        name = await park(idle, connector, told(NAME, status="READ"))
        database, beside = idle.application.database, Database(idle.application.settings.database_url)
        try:
            async with beside.write() as session:
                locked = await redaction.lock(session, idle.demo.id, message_id)
                assert locked is not None
                applied = asyncio.create_task(receipts.catch_up(database, [name]))
                await eventually(lambda: waits(idle), 30)
                await redaction.redact(session, locked, idle.application.means.vault)
            await applied
        finally:
            await beside.close()
        assert (await message(idle, message_id))["status"] == "READ"
        (receipt,) = await kept(idle)
        assert (receipt.message_id, is_silent(receipt)) == (message_id, True)
