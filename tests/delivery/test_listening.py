"""Messages to a Telegram bot: asked for where the world does not reach us, else told to our address; by one process at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import lab, make
from tests.gateway import calls
from tests.harness import Gateway, Json, eventually, process, running, settings_for
from tests.provider_server import ProviderServer, Recorded, Reply

TOKEN = "1234567890:ABCdefGHIjklMNOpqrsTUVwxyz012345678"
INBOUND = "{ inboundMessages(first: 100) { nodes { body from payload externalId } } }"


class Bot(ProviderServer):
    """A Telegram with one bot: hands out each update until it is asked beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[Json] = []
        self.webhook = ""
        self.asked: list[Json] = []
        self.on("POST", self.path("getMe"), Reply(200, {"ok": True, "result": {"id": 1, "is_bot": True, "username": "b"}}))
        self.on("POST", self.path("getWebhookInfo"), lambda _: Reply(200, {"ok": True, "result": {"url": self.webhook}}))
        self.on("POST", self.path("setWebhook"), self._set)
        self.on("POST", self.path("deleteWebhook"), self._set)
        self.on("POST", self.path("getUpdates"), self._get)

    @staticmethod
    def path(method: str) -> str:
        return f"/bot{TOKEN}/{method}"

    def count(self, method: str) -> int:
        return sum(request.path == self.path(method) for request in self.requests)

    def say(self, text: str) -> None:
        number = len(self.updates) + 10
        chat = {"id": 42, "type": "private"}
        self.updates.append({"update_id": number, "message": {"message_id": number, "chat": chat, "date": 1, "text": text}})

    def _set(self, request: Recorded) -> Reply:
        self.webhook = request.json().get("url", "") if request.body else ""
        return Reply(200, {"ok": True, "result": True})

    def _get(self, request: Recorded) -> Reply:
        if self.webhook:
            conflict = (
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            )
            return Reply(409, {"ok": False, "error_code": 409, "description": conflict})
        self.asked.append(request.json())
        offset = request.json().get("offset", 0)
        found = [update for update in self.updates if update["update_id"] >= offset]
        return Reply(200, {"ok": True, "result": found}, delay=0.05)

    def config(self, **more: Json) -> Json:
        return {"telegramBot": {"botToken": TOKEN, "baseUrl": self.url, "receiveMessages": True, **more}}


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with Bot() as started:
        yield started


async def bodies(gateway: Gateway) -> list[str]:
    return [one["body"] for one in (await gateway.gql(INBOUND))["inboundMessages"]["nodes"]][::-1]


async def until(gateway: Gateway, expected: list[str]) -> None:
    async def there() -> bool:
        return len(await bodies(gateway)) >= len(expected)

    await eventually(there, 20)
    assert await bodies(gateway) == expected


async def test_a_bot_without_a_public_address_is_asked(gateway: Gateway, bot: Bot) -> None:
    bot.webhook = "https://elsewhere.example"  # somebody's old webhook must go
    bot.say("one")
    connector_id = await lab.verified(gateway, "bot", bot.config())
    await until(gateway, ["one"])
    bot.say("two")
    bot.say("/start tok123")
    await until(gateway, ["one", "two", "/start tok123"])
    newest = (await gateway.gql(INBOUND))["inboundMessages"]["nodes"][0]
    assert newest == {"body": "/start tok123", "from": "42", "payload": "tok123", "externalId": "42:12"}
    assert (await calls.inbound_status(gateway, connector_id))["status"] == "OK"
    assert bot.webhook == ""
    assert bot.asked[0] == {"timeout": 20, "limit": 50, "allowed_updates": ["message", "callback_query", "my_chat_member"]}


async def test_two_processes_ask_once_and_go_on_where_the_other_stopped(tmp_path: Path, bot: Bot) -> None:
    async with running(settings_for(tmp_path)) as first:
        await lab.verified(first, "bot", bot.config())
        bot.say("one")
        await until(first, ["one"])
        async with process(settings_for(tmp_path)) as second:
            bot.say("two")
            await until(second, ["one", "two"])
        bot.say("three")
        await until(first, ["one", "two", "three"])
    offsets = [asked.get("offset", 0) for asked in bot.asked]
    assert offsets == sorted(offsets)


async def test_a_bot_with_a_public_address_is_told_to_call_it(tmp_path: Path, bot: Bot) -> None:
    async with running(settings_for(tmp_path, public_url=calls.PUBLIC)) as gateway:
        connector_id = await lab.verified(gateway, "bot", bot.config())

        async def told() -> bool:
            return bool(bot.webhook)

        await eventually(told, 20)
        assert bot.webhook == await calls.hook(gateway, connector_id)
        (asked,) = [request.json() for request in bot.requests if request.path == bot.path("setWebhook")]
        secret = asked["secret_token"]
        bot.say("hello")
        body = json.dumps(bot.updates[0]).encode()
        refused = await calls.call(gateway, bot.webhook, body, {"x-telegram-bot-api-secret-token": "wrong"})
        assert refused[0] == 401 and await bodies(gateway) == []
        for _ in range(2):
            assert await calls.call(gateway, bot.webhook, body, {"x-telegram-bot-api-secret-token": secret}) == (200, "")
        assert await bodies(gateway) == ["hello"]
        assert bot.count("getUpdates") == 0
        await make.change(gateway, connector_id, config=bot.config(receiveMessages=False))

        async def forgotten() -> bool:
            return bot.webhook == ""

        await eventually(forgotten, 20)


async def test_a_failure_is_told_and_tried_again(gateway: Gateway, bot: Bot) -> None:
    other = {"ok": False, "error_code": 409, "description": "Conflict: terminated by other getUpdates request"}
    bot.on("POST", bot.path("getUpdates"), Reply(409, other), bot._get)
    connector_id = await lab.verified(gateway, "bot", bot.config())

    async def status() -> Json:
        found = await calls.inbound_status(gateway, connector_id)
        return found and found["status"]

    async def failed() -> bool:
        return await status() == "ERROR"

    async def well() -> bool:
        return await status() == "OK"

    await eventually(failed, 20)
    await eventually(well, 20)


async def test_a_bot_that_does_not_receive_is_left_alone(gateway: Gateway, bot: Bot) -> None:
    await lab.verified(gateway, "bot", bot.config(receiveMessages=False))
    await asyncio.sleep(2.5)  # one look past the first
    assert bot.count("getUpdates") == bot.count("setWebhook") == bot.count("deleteWebhook") == 0
