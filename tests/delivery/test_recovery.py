"""What a process left unfinished when it died."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from delivery.worker import CHORES_SECONDS
from models.messages import Message
from models.queue import Job
from tests import lab
from tests.harness import Gateway, running, settings_for
from tests.sending import send, settled

DAMAGED = "NO SUCH STATUS"


async def damage(gateway: Gateway, message_id: str) -> None:
    """Leave it in a state in which no outcome can be written down."""
    async with gateway.application.database.write() as session:
        await session.execute(update(Message).where(Message.id == message_id).values(status=DAMAGED))


async def lost_jobs(gateway: Gateway) -> list[tuple[str, str | None]]:
    async with gateway.read() as session:
        return [(job.message_id, job.worker) for job in await session.scalars(select(Job))]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_that_cannot_be_settled_keeps_no_other_back(tmp_path: Path, place: int) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway:
        connector_id = await lab.verified(gateway, "Sim")
        sent = [await send(gateway) for _ in range(3)]
        await lab.abandoned(gateway, connector_id, 3)
        bad = sent.pop(place)
        await damage(gateway, bad)
        with capture_logs() as logs:
            async with lab.working(gateway):
                for message_id in sent:
                    assert (await settled(gateway, message_id, "UNKNOWN"))["failure"]["code"] == "WORKER_LOST"
                await settled(gateway, await send(gateway), "DELIVERED")
                await asyncio.sleep(2.2 * CHORES_SECONDS)
        assert await lost_jobs(gateway) == [(bad, "gone")]
    told = [(line["log_level"], line["event"], line.get("message_id")) for line in logs if line["log_level"] == "error"]
    assert told == [("error", "attempt_not_recovered", bad)]


async def test_the_next_process_tries_again(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway:
        connector_id = await lab.verified(gateway, "Sim")
        bad = await send(gateway)
        await lab.abandoned(gateway, connector_id)
        await damage(gateway, bad)
        with capture_logs() as logs:
            for _ in range(2):
                async with lab.working(gateway):
                    await settled(gateway, await send(gateway), "DELIVERED")
        assert [line["message_id"] for line in logs if line["event"] == "attempt_not_recovered"] == [bad, bad]
        async with gateway.application.database.write() as session:
            await session.execute(update(Message).where(Message.id == bad).values(status="PROCESSING"))
        async with lab.working(gateway):
            await settled(gateway, bad, "UNKNOWN")
        assert await lost_jobs(gateway) == []
