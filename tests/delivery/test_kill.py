"""A process killed in mid-load loses nothing it accepted and sends nothing twice; one that is asked to stop leaves no doubt."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select

from bench.installation import SENDER
from models.messages import Attempt, Message
from models.queue import Job
from tests import make
from tests.harness import POSTGRESQL, eventually
from tests.installation import IN_FLIGHT, Installation
from tests.provider_server import ProviderServer, Recorded, Reply

Json = Any
ACCOUNT = "/2010-04-01/Accounts/AC00000000000000000000000000000000"
CLIENTS = 8
KILLS = 3
SEND = """mutation($input: MessageSendInput!) { messageSend(input: $input) {
  isReplay message { id status } userErrors { code message } } }"""

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(POSTGRESQL), reason="on PostgreSQL a dead worker's leases are waited for"),
]


class Twilio(ProviderServer):
    """Takes every message after a moment, and remembers each by its body."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(default=Reply(404, {}))
        self._numbers = itertools.count(1)
        self._least, self._most = least, most
        self.on("GET", f"{ACCOUNT}.json", Reply(200, {"status": "active"}))
        self.on("POST", f"{ACCOUNT}/Messages.json", self._take)

    def _take(self, _request: Recorded) -> Reply:
        delay = random.uniform(self._least, self._most)
        return Reply(201, {"sid": f"SM{next(self._numbers):032x}", "status": "queued", "num_segments": "1"}, delay=delay)

    def seen(self) -> Counter[str]:
        """How often each message was asked for, by its body."""
        return Counter(dict(request.form())["Body"] for request in self.requests if request.method == "POST")


class Load:
    """Clients that send message after message, each until it is answered, over and over with the same key."""

    def __init__(self, installation: Installation, http: aiohttp.ClientSession) -> None:
        self._installation = installation
        self._http = http
        self._numbers = itertools.count(1)
        self._ending = False
        self.answered: dict[str, str] = {}
        self.replays = 0
        self.repeated = 0
        self._tasks = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]

    async def _client(self) -> None:
        while not self._ending:
            key = f"key-{next(self._numbers)}"
            while key not in self.answered:
                await self._send(key)

    async def _send(self, key: str) -> None:
        given = {"channel": "SMS", "senderId": SENDER, "to": "+14155550123", "body": f"Message {key}", "idempotencyKey": key}
        data = await self._installation.gql(self._http, SEND, input=given)
        if data is None:
            self.repeated += 1
            await asyncio.sleep(0.05)
            return
        payload = data["messageSend"]
        assert payload["userErrors"] == [], payload
        self.replays += payload["isReplay"]
        self.answered[key] = payload["message"]["id"]

    async def end(self) -> None:
        self._ending = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 30)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def under_load(directory: Path, twilio: Twilio, **settings: str) -> AsyncIterator[tuple[Installation, Load, Any]]:
    installation = Installation(directory, **settings)
    await installation.prepare()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        try:
            await installation.start(http)
            await installation.plug(http, make.twilio(twilio.url, fromNumber="Patchbay"))
            load = Load(installation, http)
            try:
                yield installation, load, http
            finally:
                load.cancel()
        finally:
            await installation.close()


async def all_settled(installation: Installation) -> dict[str, str]:
    """Where every message stands, once none has a job any more: status by id."""

    async def none_left() -> bool:
        async with installation.database.read() as session:
            return await session.scalar(select(func.count()).select_from(Job)) == 0

    await eventually(none_left, 30)
    async with installation.database.read() as session:
        found = await session.execute(select(Message.id, Message.status))
        return {message_id: status for message_id, status in found}


async def check(installation: Installation, load: Load, twilio: Twilio) -> Counter[str]:
    """Nothing lost, nothing twice; how many messages stand where."""
    standing = await all_settled(installation)
    assert set(load.answered.values()) <= set(standing), "an accepted message is lost"
    assert len(standing) == len(set(load.answered.values())) == len(load.answered), "a key was accepted twice"
    seen = twilio.seen()
    assert [body for body, times in seen.items() if times > 1] == [], "the provider was asked twice"
    for key, message_id in load.answered.items():
        assert standing[message_id] in ("SENT", "UNKNOWN")
        if standing[message_id] == "SENT":
            assert seen[f"Message {key}"] == 1
    async with installation.database.read() as session:
        open_ended = select(func.count()).select_from(Attempt).where(Attempt.outcome.is_(None))
        assert await session.scalar(open_ended) == 0
    return Counter(standing.values())


async def test_killed_in_mid_load(tmp_path: Path) -> None:
    async with Twilio(0.02, 0.12) as twilio, under_load(tmp_path, twilio) as (installation, load, http):
        starts = []
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.3, 1.2))
            status, _ = await installation.end(signal.SIGKILL)
            assert status == -signal.SIGKILL
            starts.append(await installation.start(http))
        await asyncio.sleep(0.5)
        await load.end()
        standing = await check(installation, load, twilio)
        assert standing["UNKNOWN"] <= KILLS * IN_FLIGHT
        assert standing["SENT"] > 0
        for key in random.sample(sorted(load.answered), 20):  # their keys are still theirs
            await load._send(key)
            assert load.answered[key] in load.answered.values()
        print(
            f"\nkills {KILLS}, accepted {len(load.answered)}, requests repeated {load.repeated}, replays {load.replays}, "
            f"{dict(standing)}, asked of the provider {twilio.seen().total()}, twice 0, lost 0, "
            f"ready again after {max(starts):.1f} s at most"
        )
        assert load.replays >= 20


async def test_asked_to_stop_in_mid_load(tmp_path: Path) -> None:
    async with (
        Twilio(0.1, 0.4) as twilio,
        under_load(tmp_path, twilio, DRAIN_SECONDS="5") as (installation, load, http),
    ):
        await asyncio.sleep(random.uniform(0.3, 0.8))
        status, seconds = await installation.end(signal.SIGTERM)
        assert status == 0, installation.complaints()
        assert seconds < 5
        await installation.start(http)
        await load.end()
        standing = await check(installation, load, twilio)
        assert set(standing) == {"SENT"}
        print(f"\nstopped after {seconds:.1f} s, accepted {len(load.answered)}, {dict(standing)}, twice 0")
        status, _ = await installation.end(signal.SIGTERM)
        assert status == 0
        assert "Traceback" not in installation.complaints()
