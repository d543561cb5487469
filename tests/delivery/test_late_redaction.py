"""What is learned of a message after it was redacted is stored without its words."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from channels.base import Accepted
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery.circuit import Circuits
from delivery.settle import settle
from delivery.verdict import Finished, Outcome, not_sent
from models import connectors, messages, queue, redaction, underway
from models.messages import Message, MessageStatus
from models.queue import Job
from tests import lab
from tests.harness import Gateway, Json, running, settings_for
from tests.sending import message, send

SAID = "15005550006"


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose worker is played by the test."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def learned_too_late(gateway: Gateway, outcome: Outcome) -> Json:
    """A message whose worker was held up past its lease, which was redacted, and whose outcome is stored then."""
    database = gateway.application.database
    connector_id = await lab.verified(gateway, "Sim")
    sent = await send(gateway, to=SAID)
    async with database.write() as session:
        (claim,) = await queue.claim(session, connector_id, "worker", 1, 1, dt.timedelta(seconds=1))
        (begun,) = await underway.begin(session, [sent])
        (connector,) = await connectors.by_ids(session, gateway.demo.id, [connector_id])
    async with database.write() as session:
        await session.execute(delete(Job))
        await session.execute(update(Message).values(status=MessageStatus.UNKNOWN))
    async with database.write() as session:
        locked = await redaction.lock(session, gateway.demo.id, sent)
        assert locked is not None
        await redaction.redact(session, locked, gateway.application.means.vault)
    async with database.write() as session:
        await settle(session, gateway.application.router, Circuits(), [Finished(claim, begun, connector, outcome)])
    found = await message(gateway, sent)
    assert SAID not in str(found)
    async with gateway.read() as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 0
    return found


def exchange() -> Exchange:
    made = Exchange()
    made.record.update({"response": {"body": f"queued for {SAID}"}})
    return made


async def test_that_it_was_sent(idle: Gateway) -> None:
    found = await learned_too_late(idle, Outcome(Accepted(f"wamid.{SAID}", detail=f"to {SAID}"), exchange(), 5.0))
    assert (found["status"], found["externalId"]) == ("SENT", messages.alias(f"wamid.{SAID}"))
    (attempt,) = found["attempts"]
    assert (attempt["outcome"], attempt["exchange"], attempt["durationMs"]) == ("SENT", None, 5)


async def test_that_it_was_refused(idle: Gateway) -> None:
    error = SendError(FailureKind.RECIPIENT, "INVALID_RECIPIENT", f"{SAID} is nobody", provider_code="7", provider_message=SAID)
    found = await learned_too_late(idle, Outcome(error, exchange()))
    assert found["status"] == "FAILED"
    assert (found["failure"]["code"], found["failure"]["message"]) == ("INVALID_RECIPIENT", redaction.FORGOTTEN)
    assert found["attempts"][0]["failure"]["code"] == "INVALID_RECIPIENT"


async def test_that_it_had_not_left_and_is_not_sent_any_more(idle: Gateway) -> None:
    found = await learned_too_late(idle, not_sent("WORKER_DELAYED", f"not sent to {SAID}"))
    assert found["status"] == "UNKNOWN"
    assert found["attempts"][0]["nextAttemptAt"] is None
