"""A template that gets a new version while connectors of the old one are plugged in: the toy provider of the guide, on a server
that is stopped, given the new version and started again."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.installation import SENDER
from channels.callbacks import signed
from tests.guide import FIRST, SECOND, Checkout
from tests.harness import eventually
from tests.installation import Installation
from tests.provider_server import ProviderServer, Recorded, Reply

Json = Any
SIGNING, TO, INVITATION = "sig_8f3a9c1d", "+447700900123", "an-invitation-of-ours"
ERRORS = "userErrors { code message field }"
CREATE = (
    f"mutation($i: ConnectorCreateInput!) {{ done: connectorCreate(input: $i) {{ connector {{ id }} isReplay {ERRORS} }} }}"
)
UPDATE = f"mutation($i: ConnectorUpdateInput!) {{ done: connectorUpdate(input: $i) {{ connector {{ id }} {ERRORS} }} }}"
UPSERT = f"mutation($i: ConnectorUpsertInput!) {{ done: connectorUpsert(input: $i) {{ connector {{ id }} created {ERRORS} }} }}"
VERIFY = f"mutation($i: ConnectorVerifyInput!) {{ done: connectorVerify(input: $i) {{ connector {{ id }} {ERRORS} }} }}"
SEND = f"mutation($i: MessageSendInput!) {{ done: messageSend(input: $i) {{ message {{ id }} {ERRORS} }} }}"
CONNECTOR = """query($id: ID!) { connector(id: $id) {
  isVerified verifiedAt config inboundWebhookUrl template { ref releaseStatus fields { name } } } }"""
MESSAGE = "query($id: ID!) { message(id: $id) { status } }"
CATALOGUE = "{ connectorTemplates(channel: SMS) { ref slug version releaseStatus fields { name } } }"


@dataclass
class World:
    """An installation and the provider it speaks to."""

    checkout: Checkout
    installation: Installation
    toy: ProviderServer
    http: aiohttp.ClientSession

    async def ask(self, query: str, **variables: Json) -> Json:
        data = await self.installation.gql(self.http, query, **variables)
        assert data is not None, self.installation.complaints()
        return data

    async def do(self, mutation: str, **given: Json) -> Json:
        return (await self.ask(mutation, i=given))["done"]

    async def connector(self, connector_id: str) -> Json:
        return (await self.ask(CONNECTOR, id=connector_id))["connector"]

    async def plug(self, name: str, template_ref: str | None = None, **settings: Json) -> str:
        """The id of a verified connector, made with typed settings."""
        config = {"toy": {"apiKey": "toy_8f3a9c", "baseUrl": self.toy.url, **settings}}
        made = await self.do(CREATE, name=name, config=config, **({"templateRef": template_ref} if template_ref else {}))
        assert made["userErrors"] == []
        await self.verified(made["connector"]["id"])
        return str(made["connector"]["id"])

    async def verified(self, connector_id: str) -> None:
        async def is_verified() -> bool:
            return bool((await self.connector(connector_id))["isVerified"])

        await eventually(is_verified)

    async def send(self, connector_id: str) -> tuple[str, Recorded]:
        """The id of a message that was sent, and the request it made."""
        before = len(self.toy.requests)
        sent = await self.do(SEND, channel="SMS", senderId=SENDER, connectorId=connector_id, to=TO, body="Hi")
        assert sent["userErrors"] == []
        await self.becomes(sent["message"]["id"], "SENT")
        [request] = [request for request in self.toy.requests[before:] if request.method == "POST"]
        return sent["message"]["id"], request

    async def becomes(self, message_id: str, status: str) -> None:
        async def has_become() -> bool:
            return bool((await self.ask(MESSAGE, id=message_id))["message"]["status"] == status)

        await eventually(has_become)

    async def call_back(self, connector_id: str, provider_id: str, secret: str = SIGNING) -> int:
        """Toy tells that a message was delivered; the HTTP status it gets."""
        url = (await self.connector(connector_id))["inboundWebhookUrl"].replace("https://gw.example", self.installation.url)
        at = str(int(time.time()))
        body = f'{{"id": "{provider_id}", "status": "delivered", "at": {at}}}'.encode()
        headers = {"toy-time": at, "toy-signature": signed(secret, f"{at}.".encode() + body).hex()}
        async with self.http.post(url, data=body, headers=headers) as answer:
            return answer.status

    async def restart_with_version_2(self, release_status: str = "GA", first_status: str = "GA", added: str = "") -> None:
        """Version 1 gets another status, and both get the setting that is `added`."""
        await self.installation.end(signal.SIGTERM)
        self.checkout.follow(SECOND)
        self.edit("toy_2", "version=2,", f"version=2, release_status=ReleaseStatus.{release_status},")
        self.edit("toy", 'slug="sms-toy",', f'slug="sms-toy", release_status=ReleaseStatus.{first_status},')
        for module in ("toy", "toy_2"):
            self.edit(module, "    Report,\n", "    ReleaseStatus,\n    Report,\n")
            self.edit(module, "    api_key: ", f"    {added}\n    api_key: ")
        await self.installation.start(self.http)

    def edit(self, module: str, old: str, new: str) -> None:
        """Change a provider's file where it first says `old`."""
        path = self.checkout.directory / "channels" / f"{module}.py"
        code = path.read_text()
        assert old in code
        path.write_text(code.replace(old, new, 1))

    async def create(self, **given: Json) -> tuple[str | None, bool, list[str]]:
        """The id of the connector that is answered, whether it is a replay, and the codes of what is wrong."""
        done = await self.do(CREATE, **given)
        connector_id = done["connector"]["id"] if done["connector"] else None
        return connector_id, done["isReplay"], [error["code"] for error in done["userErrors"]]


def toy_server() -> ProviderServer:
    """Toy as its two APIs have it; every message gets an id of its own."""
    server = ProviderServer()

    def taken(request: Recorded) -> Reply:
        return Reply(202, {"id": f"t{len(server.requests)}"})

    for root in ("", "/v2"):
        server.on("POST", f"{root}/messages", taken)
        server.on("GET", f"{root}/account", Reply(200, {"name": "Acme"}))
    return server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With version 1. BETA templates want an invitation."""
    for name in ("checkout", "data"):
        (tmp_path / name).mkdir()
    checkout = Checkout(tmp_path / "checkout")
    checkout.follow(FIRST)
    installation = Installation(
        tmp_path / "data", checkout.directory, PUBLIC_URL="https://gw.example", INVITATION_TOKENS=INVITATION
    )
    await installation.prepare()
    async with toy_server() as toy, aiohttp.ClientSession() as http:
        await installation.start(http)
        yield World(checkout, installation, toy, http)
        await installation.close()


async def test_connectors_go_on_when_their_template_gets_a_new_version(world: World) -> None:
    old = await world.plug("Old", signingKey=SIGNING)
    early, request = await world.send(old)
    assert request.path == "/messages"

    await world.restart_with_version_2()
    shown = (await world.ask(CATALOGUE))["connectorTemplates"]
    assert [(t["ref"], t["version"], t["releaseStatus"]) for t in shown if t["slug"] == "sms-toy"] == [
        ("sms-toy:2", 2, "GA"),
        ("sms-toy:1", 1, "GA"),
    ]

    found = await world.connector(old)
    assert (found["template"]["ref"], found["isVerified"]) == ("sms-toy:1", True)
    assert [field["name"] for field in found["template"]["fields"]] == ["apiKey", "signingKey", "baseUrl"]
    late, request = await world.send(old)
    assert (request.path, request.json()["to"]) == ("/messages", TO) and "region" not in request.json()
    asked = len(world.toy.requests)
    assert (await world.do(VERIFY, id=old))["userErrors"] == []
    await eventually_asked(world, asked, "/account")
    for message_id, provider_id in ((early, "t2"), (late, "t3")):
        assert await world.call_back(old, provider_id, "another key") == 401
        assert await world.call_back(old, provider_id) == 200
        await world.becomes(message_id, "DELIVERED")


async def test_a_connector_takes_the_settings_of_its_own_version(world: World) -> None:
    old = await world.plug("Old")
    await world.restart_with_version_2()
    url = world.toy.url
    refused = await world.do(UPDATE, id=old, config={"toy": {"apiKey": "****", "baseUrl": url, "region": "eu"}})
    message, path = "region: is not a setting of sms-toy:1", ["input", "config", "toy", "region"]
    assert refused["userErrors"] == [{"code": "VALIDATION_ERROR", "message": message, "field": path}]
    assert (await world.connector(old))["config"] == {"apiKey": "****", "baseUrl": url}

    assert (await world.do(UPDATE, id=old, config={"toy": {"apiKey": "****", "signingKey": SIGNING}}))["userErrors"] == []
    assert (await world.do(UPSERT, name="Old", mode="MERGE", config={"toy": {"apiKey": "toy_other"}}))["userErrors"] == []
    await world.verified(old)
    found = await world.connector(old)
    assert (found["template"]["ref"], found["config"]) == (
        "sms-toy:1",
        {"apiKey": "****", "signingKey": "****", "baseUrl": url},
    )
    _, request = await world.send(old)
    assert (request.path, request.headers["authorization"]) == ("/messages", "Bearer toy_other")


async def test_a_new_connector_is_of_the_newest_version_unless_it_names_another(world: World) -> None:
    await world.restart_with_version_2()
    lacking = await world.do(CREATE, name="New", config={"toy": {"apiKey": "toy_8f3a9c", "signingKey": SIGNING}})
    assert [(error["message"], error["field"]) for error in lacking["userErrors"]] == [
        ("region: is required", ["input", "config", "toy", "region"]),
        ("signingKey: is not a setting of sms-toy:2", ["input", "config", "toy", "signingKey"]),
    ]
    assert world.toy.requests == []

    new = await world.plug("New", region="eu", webhookSecret=SIGNING)
    _, request = await world.send(new)
    assert (request.path, request.json()["region"]) == ("/v2/messages", "eu")
    assert await world.call_back(new, "t2") == 200
    assert (await world.do(UPDATE, id=new, arguments={"region": "us"}))["userErrors"] == []

    other = await world.plug("Other", "sms-toy:1", signingKey=SIGNING)
    assert ((await world.connector(other))["template"]["ref"], (await world.send(other))[1].path) == ("sms-toy:1", "/messages")
    unfit = await world.do(CREATE, name="Unfit", templateRef="sms-twilio:1", config={"toy": {"apiKey": "toy_8f3a9c"}})
    assert [error["message"] for error in unfit["userErrors"]] == ["templateRef does not fit config.toy; leave it out."]


async def test_a_connector_is_taken_to_another_version_and_back(world: World) -> None:
    old = await world.plug("Old", signingKey=SIGNING)
    early, _ = await world.send(old)
    await world.restart_with_version_2()
    lacking = await world.do(UPSERT, name="Old", templateRef="sms-toy:2", mode="MERGE", arguments={"webhookSecret": SIGNING})
    assert [error["message"] for error in lacking["userErrors"]] == ["region: is required"]
    assert (await world.connector(old))["template"]["ref"] == "sms-toy:1"

    given = {"apiKey": "****", "region": "eu", "webhookSecret": SIGNING}
    moved = await world.do(UPSERT, name="Old", templateRef="sms-toy:2", mode="MERGE", config={"toy": given})
    assert moved == {"connector": {"id": old}, "created": False, "userErrors": []}
    await world.verified(old)
    found = await world.connector(old)
    assert (found["template"]["ref"], found["config"]) == (
        "sms-toy:2",
        {"apiKey": "****", "baseUrl": world.toy.url, "region": "eu", "webhookSecret": "****"},
    )
    _, request = await world.send(old)
    assert (request.path, request.headers["authorization"]) == ("/v2/messages", "Bearer toy_8f3a9c")
    assert await world.call_back(old, "t2") == 200
    await world.becomes(early, "DELIVERED")

    whole = {"apiKey": "****", "baseUrl": world.toy.url}
    assert (await world.do(UPSERT, name="Old", templateRef="sms-toy:1", config={"toy": whole}))["userErrors"] == []
    await world.verified(old)
    assert (await world.connector(old))["config"] == whole
    assert (await world.send(old))[1].path == "/messages"


async def test_a_version_that_is_not_for_everyone_is_named_and_asks_for_an_invitation(world: World) -> None:
    old = await world.plug("Old")
    await world.restart_with_version_2("BETA")
    another = await world.plug("Another")
    assert (await world.connector(another))["template"]["ref"] == "sms-toy:1"
    settings = {"apiKey": "toy_8f3a9c", "baseUrl": world.toy.url, "region": "eu"}
    given = {"templateRef": "sms-toy:2", "config": {"toy": settings}}
    for mutation, name in ((CREATE, "New"), (UPSERT, "New"), (UPSERT, "Old")):
        [refused] = (await world.do(mutation, name=name, **given))["userErrors"]
        assert (refused["code"], refused["field"]) == ("INVITATION_REQUIRED", ["input", "invitationToken"])
    assert (await world.connector(old))["template"]["ref"] == "sms-toy:1"
    for mutation, name in ((CREATE, "New"), (UPSERT, "Old")):
        assert (await world.do(mutation, name=name, **given, invitationToken=INVITATION))["userErrors"] == []
    assert (await world.do(UPDATE, id=old, config={"toy": {**settings, "region": "us"}}))["userErrors"] == []
    found = (await world.connector(old))["template"]
    assert (found["ref"], found["releaseStatus"]) == ("sms-toy:2", "BETA")


async def test_a_repeated_request_is_answered_whatever_has_become_of_its_template(world: World) -> None:
    """Version 1 retires, version 2 wants other settings, and both get one with a default."""
    settings = {"apiKey": "toy_8f3a9c", "baseUrl": world.toy.url}
    typed = {"name": "Typed", "idempotencyKey": "k1", "config": {"toy": {**settings, "signingKey": SIGNING}}}
    named = {"name": "Named", "idempotencyKey": "k2", "templateRef": "sms-toy:1", "arguments": settings}
    made = {given["idempotencyKey"]: (await world.create(**given))[0] for given in (typed, named)}
    assert None not in made.values() and len(set(made.values())) == 2
    attempts = 'attempts: int = Field(3, title="Attempts", description="How often.", examples=[3])'
    await world.restart_with_version_2(first_status="INTERNAL", added=attempts)

    for given in (typed, named):
        assert await world.create(**given) == (made[given["idempotencyKey"]], True, [])
        for other in ({"name": "Other"}, {"priority": 1}):
            assert await world.create(**{**given, **other}) == (None, False, ["IDEMPOTENCY_KEY_REUSED"])
    fresh = {**typed, "name": "Fresh", "idempotencyKey": "k3"}
    assert await world.create(**fresh) == (None, False, ["VALIDATION_ERROR", "VALIDATION_ERROR"])
    assert await world.create(**{**named, "name": "Fresh", "idempotencyKey": "k4"}) == (None, False, ["INVITATION_REQUIRED"])


async def eventually_asked(world: World, since: int, path: str) -> None:
    async def has_asked() -> bool:
        return [(request.method, request.path) for request in world.toy.requests[since:]] == [("GET", path)]

    await eventually(has_asked)
