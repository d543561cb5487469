"""A message that takes the process down with it, life after life, is given up and told of; the others go on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from delivery.verdict import MOST_BREAKDOWNS
from tests.brokers import until
from tests.harness import POSTGRESQL, eventually
from tests.installation import Installation
from tests.provider_server import ProviderServer, Recorded, Reply
from tests.sending import MESSAGE, SEND

Json = Any
METRICS_TOKEN = "a token for the tests"
USER = "U" + "0" * 32
PUSH = "/v2/bot/message/push"
POISON, HARMLESS = "poison", "harmless"
BESIDE = 20
LINE = {"channelAccessToken": "bNl4YEFPI-access-token"}

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(POSTGRESQL), reason="on PostgreSQL a dead worker's leases are waited for"),
]


def text(request: Recorded) -> str:
    return str(request.json()["messages"][0]["text"])


class Provider(ProviderServer):
    """A LINE that takes every message but one, for which it keeps the caller waiting; `delay` seconds for the others."""

    def __init__(self) -> None:
        super().__init__(default=Reply(404, {}))
        self.delay = 0.0
        self.on("GET", "/v2/bot/info", Reply(200, {"userId": USER, "basicId": "@shop"}))
        self.on("POST", PUSH, self._take)

    def _take(self, request: Recorded) -> Reply:
        taken = {"sentMessages": [{"id": str(len(self.requests)), "quoteToken": "q"}]}
        return Reply(200, taken, delay=60 if text(request) == POISON else self.delay)

    async def asked(self, times: int, body: str = POISON) -> None:
        """Wait until it was asked so often for a message: unless told otherwise, for the one it does not take."""
        await until(lambda: len(self.keys(body)) == times, 30)

    def keys(self, body: str) -> list[str]:
        """What each request for this text says it is to be known by."""
        return [r.headers["x-line-retry-key"] for r in self.requests if r.path == PUSH and text(r) == body]


class Life:
    """What a test says to one installation, whichever process it runs in."""

    def __init__(self, installation: Installation, http: aiohttp.ClientSession) -> None:
        self.installation = installation
        self._http = http

    async def send(self, body: str) -> str:
        given = {"channel": "LINE", "to": USER, "body": body, "flow": "OTP"}
        payload = (await self.installation.gql(self._http, SEND, input=given))["messageSend"]
        assert payload["userErrors"] == [], payload
        return str(payload["message"]["id"])

    async def settled(self, message_id: str, status: str) -> Json:
        async def there() -> Json:
            found = (await self.installation.gql(self._http, MESSAGE, id=message_id))["message"]
            return found if found["status"] == status else None

        return await eventually(there, 30)

    async def poisoned(self) -> dict[tuple[str, str], float]:
        """The count of such messages in /metrics, by channel and provider."""
        headers = {"authorization": f"Bearer {METRICS_TOKEN}"}
        async with self._http.get(f"{self.installation.url}/metrics", headers=headers) as response:
            families = text_string_to_metric_families(await response.text())
        samples = [s for family in families for s in family.samples if s.name == "patchbay_messages_poisoned_total"]
        return {(sample.labels["channel"], sample.labels["provider"]): sample.value for sample in samples}

    def told(self) -> list[Json]:
        """The lines of the log, of every process, that tell of a message given up."""
        lines = [json.loads(line) for line in self.installation.complaints().splitlines()]
        return [line for line in lines if line["event"] == "message_poisoned"]


async def test_a_message_that_outlives_no_process_is_given_up_while_the_others_go_on(tmp_path: Path) -> None:
    installation = Installation(tmp_path, METRICS_TOKEN=METRICS_TOKEN)
    await installation.prepare()
    try:
        async with Provider() as provider, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            life = Life(installation, http)
            await installation.start(http)
            await installation.plug(http, {"line": {**LINE, "baseUrl": provider.url}})
            poison = await life.send(POISON)
            for lives in range(1, MOST_BREAKDOWNS + 1):
                await provider.asked(lives)
                await life.settled(await life.send(HARMLESS), "SENT")
                assert life.told() == []
                await installation.end(signal.SIGKILL)
                await installation.start(http)
            found = await life.settled(poison, "FAILED")
            await life.settled(await life.send(HARMLESS), "SENT")
            assert (found["failure"]["code"], found["failure"]["isRetryable"]) == ("POISON", False)
            assert [attempt["outcome"] for attempt in found["attempts"]] == ["RETRY", "RETRY", "FAILED"]
            assert [attempt["failure"]["code"] for attempt in found["attempts"]] == ["WORKER_LOST", "WORKER_LOST", "POISON"]
            assert await life.poisoned() == {("LINE", "LINE"): 1}
            (line,) = life.told()
            assert (line["level"], line["message_id"], line["attempt"]) == ("error", poison, MOST_BREAKDOWNS)
            assert len(provider.keys(POISON)) == MOST_BREAKDOWNS and len(set(provider.keys(POISON))) == 1
            assert len(set(provider.keys(HARMLESS))) == len(provider.keys(HARMLESS)) == MOST_BREAKDOWNS + 1
    finally:
        await installation.close()


async def test_those_that_were_under_way_beside_it_arrive(tmp_path: Path) -> None:
    """Twice they are lost with it. Then whoever has one chance left is sent alone, and the third death is its own."""
    installation = Installation(tmp_path, WORKER_CONCURRENCY=str(2 * BESIDE))
    await installation.prepare()
    try:
        async with Provider() as provider, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            life = Life(installation, http)
            await installation.start(http)
            await installation.plug(http, {"line": {**LINE, "baseUrl": provider.url}})
            provider.delay = 60
            poison, *innocent = [await life.send(POISON), *[await life.send(HARMLESS) for _ in range(BESIDE)]]
            for lives in range(1, MOST_BREAKDOWNS):
                await provider.asked(lives)
                await provider.asked(lives * BESIDE, HARMLESS)
                await installation.end(signal.SIGKILL)
                await installation.start(http)
            provider.delay = 2
            await provider.asked(MOST_BREAKDOWNS)
            await installation.end(signal.SIGKILL)
            provider.delay = 0
            await installation.start(http)
            assert (await life.settled(poison, "FAILED"))["failure"]["code"] == "POISON"
            for message_id in innocent:
                found = await life.settled(message_id, "SENT")
                codes = [(attempt["failure"] or {}).get("code") for attempt in found["attempts"]]
                assert codes == ["WORKER_LOST", "WORKER_LOST", None]
            assert [line["message_id"] for line in life.told()] == [poison]
            assert len(provider.keys(HARMLESS)) == MOST_BREAKDOWNS * BESIDE and len(set(provider.keys(HARMLESS))) == BESIDE
    finally:
        await installation.close()
