"""A storm of callbacks, replayed, reordered, early and forged, while messages are being sent; and a database that is away."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import lab
from tests.gateway import calls
from tests.harness import Gateway, Json, eventually, running, settings_for

MESSAGES = 60
STATUSES = ("queued", "sending", "sent", "delivered", "read")
TIMELINE = "query($id: ID!) { message(id: $id) { status timeline { type } } }"


@pytest.fixture
async def provider() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path, public_url=calls.PUBLIC)) as started:
        yield started


async def test_a_storm_changes_each_message_once_and_keeps_no_message_waiting(gateway: Gateway, provider: lab.Twilio) -> None:
    connector_id = await lab.verified(gateway, "sms", calls.twilio_config(provider))
    url = await calls.hook(gateway, connector_id)
    sender = await lab.approve(gateway)
    batch = await lab.send_batch(gateway, [lab.sms(f"m{n}", senderId=sender) for n in range(MESSAGES)])
    sids = [f"SM{n + 1:032x}" for n in range(MESSAGES)]
    storm = [(sid, status) for sid in sids for status in STATUSES] * 2
    random.Random(5).shuffle(storm)
    slots, seen = asyncio.Semaphore(40), Counter[int]()

    async def one(sid: str, status: str, number: int) -> None:
        fields = {"MessageSid": sid, "MessageStatus": status}
        async with slots:
            signature = "forged" if number % 10 == 0 else None
            seen[(await calls.twilio(gateway, url, fields, signature))[0]] += 1

    forged = [(sid, "failed") for sid in sids]
    await asyncio.gather(
        *(one(sid, status, 1) for sid, status in storm),
        *(one(sid, status, 0) for sid, status in forged),
    )
    assert seen == {204: len(storm), 401: len(forged)}
    await lab.drained(gateway, batch, {"READ": MESSAGES})
    found = (await gateway.gql("{ messages(first: 100) { nodes { id } } }"))["messages"]["nodes"]
    for message in found:
        timeline = (await gateway.gql(TIMELINE, id=message["id"]))["message"]["timeline"]
        told = Counter(entry["type"] for entry in timeline)
        assert told["sms.read"] == 1 and told["sms.delivered"] <= 1 and told["sms.failed"] == 0
    assert Counter(body for _at, body in provider.arrivals) == {f"m{n}": 1 for n in range(MESSAGES)}


async def test_a_call_is_answered_503_while_it_cannot_be_stored_and_taken_when_it_comes_again(
    gateway: Gateway, provider: lab.Twilio
) -> None:
    path = gateway.application.settings.database_file
    if path is None:
        pytest.skip("a lock on the whole database is SQLite's")
    url = await calls.hook(gateway, await lab.verified(gateway, "sms", calls.twilio_config(provider)))
    hello: Json = {"MessageSid": "SM9", "From": "+447700900123", "To": "+15005550006", "Body": "Hello"}
    assert (await calls.twilio(gateway, url, {**hello, "MessageSid": "SM8"}))[0] == 204
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        status, text = await calls.twilio(gateway, url, hello)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert (status, text) == (503, "The call cannot be stored now; call again.\n")

    async def taken() -> bool:
        return (await calls.twilio(gateway, url, hello))[0] == 204

    await eventually(taken, 20)
    assert len((await calls.stored(gateway))[1]) == 2
