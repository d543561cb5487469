"""A message we break on again and again is given up, where it may be sent again at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from delivery.verdict import BREAKDOWNS
from models import messages
from models.base import now
from models.messages import Attempt
from tests import lab
from tests.harness import Gateway, running, settings_for
from tests.sending import send, settled


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker the test starts."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def attempts(gateway: Gateway, connector_id: str, message_id: str, *codes: str | None) -> None:
    rows = [
        {
            "message_id": message_id,
            "number": number,
            "workspace_id": gateway.demo.id,
            "connector_id": connector_id,
            "started_at": now(),
            "failure": {"code": code} if code else None,
        }
        for number, code in enumerate(codes, 1)
    ]
    async with gateway.application.database.write() as session:
        await session.execute(insert(Attempt), rows)


async def test_only_our_own_breakdowns_are_counted(idle: Gateway) -> None:
    connector_id = await lab.verified(idle, "Sim")
    first, second, third = [await send(idle) for _ in range(3)]
    await attempts(idle, connector_id, first, "WORKER_LOST", "INTERNAL", "SERVICE_UNAVAILABLE", None)
    await attempts(idle, connector_id, second, "ANSWER_LOST")
    await attempts(idle, connector_id, third, "WORKER_LOST")
    async with idle.read() as session:
        assert await messages.breakdowns(session, [first, second], BREAKDOWNS) == {first: 2}


async def test_where_nothing_is_sent_twice_the_first_death_is_the_last(idle: Gateway) -> None:
    connector_id = await lab.verified(idle, "Sim")
    sent = await send(idle)
    await lab.abandoned(idle, connector_id)
    async with lab.working(idle):
        found = await settled(idle, sent, "UNKNOWN")
    assert [(a["outcome"], a["failure"]["code"]) for a in found["attempts"]] == [("UNKNOWN", "WORKER_LOST")]
