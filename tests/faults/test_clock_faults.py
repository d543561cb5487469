"""A clock that jumped hours ahead and came back: what it left in the database is put right, and what clients meant stays."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import update

from models.base import now
from models.lanes import Lane
from models.messages import Message
from models.queue import Job
from tests.harness import Gateway
from tests.sending import message, plug, script, send, settled

pytestmark = pytest.mark.fault

JUMP = dt.timedelta(hours=6)


async def test_a_retry_of_the_future_is_made_now(gateway: Gateway) -> None:
    await plug(gateway)
    message_id = await send(gateway, metadata=script("unavailable", "accept"))
    await settled(gateway, message_id, "QUEUED")
    async with gateway.application.database.write() as session:
        await session.execute(update(Job).values(run_at=now() + JUMP))
    assert (await settled(gateway, message_id, "SENT", seconds=5))["status"] == "SENT"


async def test_a_pause_of_the_future_ends(gateway: Gateway) -> None:
    connector = await plug(gateway)
    async with gateway.application.database.write() as session:
        ahead = now() + JUMP
        await session.execute(update(Lane).values(paused_until=ahead, bulk_paused_until=ahead, open_until=ahead))
    message_id = await send(gateway, "no-receipt", connectorId=connector["id"])
    await settled(gateway, message_id, "SENT", seconds=5)


async def test_a_bucket_filled_in_the_future_gives_again(gateway: Gateway) -> None:
    connector = await plug(gateway, throttlePerSecond=50.0)
    async with gateway.application.database.write() as session:
        await session.execute(update(Lane).values(tokens=0.0, tokens_at=now() + JUMP))
    message_id = await send(gateway, "no-receipt", connectorId=connector["id"])
    await settled(gateway, message_id, "SENT", seconds=5)


async def test_what_a_client_scheduled_waits(gateway: Gateway) -> None:
    await plug(gateway)
    at = (now() + JUMP).isoformat()
    later = await send(gateway, scheduledAt=at)
    soon = await send(gateway, "no-receipt")
    await settled(gateway, soon, "SENT")
    assert (await message(gateway, later))["status"] == "SCHEDULED"
    async with gateway.read() as session:
        kept = await session.get(Message, later)
        assert kept is not None and kept.scheduled_at == dt.datetime.fromisoformat(at)
