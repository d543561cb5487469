"""Requests with an idempotency key that come again when the rules are others than when they were accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from channels.smpp import Smpp
from models.batches import Batch
from models.connectors import Connector
from models.messages import Message
from models.queue import Job
from resolvers.batches import Order
from resolvers.call import Call
from resolvers.configs import ConfigInput
from resolvers.connectors import NewConnector
from resolvers.messages import Draft
from resolvers.viewer import Viewer
from tests import make
from tests.harness import Gateway, Json, database_of, process, running, settings_for
from tests.sending import SEND
from tests.simulated import count, plug

BETA = {"messenger": {"accessToken": "EAAB-meta", "pageId": "1353269864728879", "baseUrl": "http://127.0.0.1:9"}}
REUSED = ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"])
TOO_LONG = "b" * 100_001
SEND_BATCH = """mutation($input: MessageSendBatchInput!) { messageSendBatch(input: $input) {
  batch { id total alreadyAccepted } isReplay userErrors { code field } } }"""
DEEP = "{a: " * 40 + "1" + "}" * 40


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway nobody sends for."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


def caller(gateway: Gateway) -> Call:
    viewer = Viewer("tester", gateway.demo.id, gateway.demo.organization_id, frozenset({"*"}))
    return Call(viewer, gateway.application.means)


async def send(gateway: Gateway, **given: Json) -> Json:
    return (await gateway.gql(SEND, input={"to": "ada", "channel": "SIMULATOR", **given}))["messageSend"]


async def send_batch(gateway: Gateway, messages: list[Json], key: str | None = None) -> Json:
    drafts = [{"to": "ada", "channel": "SIMULATOR", **message} for message in messages]
    return (await gateway.gql(SEND_BATCH, input={"messages": drafts, "idempotencyKey": key}))["messageSendBatch"]


def errors(payload: Json) -> list[tuple[str, list[str]]]:
    return [(error["code"], error["field"]) for error in payload["userErrors"]]


async def accepted_once(gateway: Gateway, table: type[Any], key: str, content: object) -> None:
    """What was accepted with this key was this, which no limit of then refused."""
    async with gateway.application.database.write() as session:
        signature = caller(gateway).signature(content)
        await session.execute(update(table).where(table.idempotency_key == key).values(request_hash=signature))


async def test_a_connector_is_replayed_when_its_template_asks_for_an_invitation_now(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    given = {"name": "Page", "config": BETA, "idempotencyKey": "k"}
    async with database_of(settings):
        async with process(settings, worker=False) as gateway:
            made = await make.connector(gateway, **given)
        closed = settings.model_copy(update={"invitation_tokens": SecretStr("an-invitation-of-ours")})
        async with process(closed, worker=False) as gateway:
            again = await make.mutate(gateway, "connectorCreate", **given)
            assert (again["isReplay"], again["userErrors"], again["connector"]["id"]) == (True, [], made["id"])
            other = await make.mutate(gateway, "connectorCreate", **{**given, "name": "Another"})
            assert (other["connector"], errors(other)) == (None, [REUSED])
            new = await make.mutate(gateway, "connectorCreate", **{**given, "name": "Another", "idempotencyKey": "l"})
            assert errors(new) == [("INVITATION_REQUIRED", ["input", "invitationToken"])]
            assert (await make.counts(gateway))["connector"] == 1


@pytest.mark.parametrize("latency", ["18446744073709551616", '"soon"', DEEP])
async def test_a_known_key_with_other_settings_was_reused_whatever_they_are(gateway: Gateway, latency: str) -> None:
    """Also when they cannot be stored, or not even be written down."""
    await make.connector(gateway, templateRef="simulator:1", arguments={"latencyMs": 1}, config=None, idempotencyKey="k")
    text = f"""mutation {{ connectorCreate(input: {{name: "Sim", idempotencyKey: "k", templateRef: "simulator:1",
      arguments: {{latencyMs: {latency}}}}}) {{ connector {{ id }} userErrors {{ code field }} }} }}"""
    payload = (await gateway.gql(text))["connectorCreate"]
    assert (payload["connector"], errors(payload)) == (None, [REUSED])
    assert (await make.counts(gateway))["connector"] == 1


TYPED = {"host": "smsc.example.com", "systemId": "acme", "password": "s3cret", "fromNumber": "AcmeInc"}
FILLED_IN = {"port": 3550, "security": "TLS", "window": 10}


def content(**settings: Json) -> Json:
    source = ConfigInput(key="smpp", typed={**TYPED, **settings})
    return NewConnector(name="SMS", config=source, idempotency_key="k").content(Smpp.about.ref)


def test_a_setting_that_is_as_it_would_be_anyway_is_no_other_content() -> None:
    """The schema fills defaults in: which ones, depends on the versions there are."""
    assert content() == content(**FILLED_IN) == content(systemType="")


def test_other_settings_are_other_content() -> None:
    asked = [content(), content(port=2775), content(window=1), content(receiptIds="HEX"), content(password="other")]
    assert all(asked.count(each) == 1 for each in asked)


async def test_a_connector_whose_template_is_gone_is_replayed(gateway: Gateway) -> None:
    given = {"name": "Sim", "templateRef": "simulator:1", "arguments": {"latencyMs": 1}, "idempotencyKey": "k"}
    made = await make.mutate(gateway, "connectorCreate", **given)
    async with gateway.application.database.write() as session:
        await session.execute(update(Connector).values(template_ref="gone:1"))
    again = await make.mutate(gateway, "connectorCreate", **given, select="connector { id } isReplay")
    assert (again["isReplay"], again["connector"]["id"]) == (True, made["connector"]["id"])


async def test_a_message_is_replayed_that_is_over_the_limits_of_today(idle: Gateway) -> None:
    await plug(idle)
    made = await send(idle, body="Hello", idempotencyKey="k")
    await accepted_once(idle, Message, "k", Draft(to="ada", channel="SIMULATOR", body=TOO_LONG).content())
    again = await send(idle, body=TOO_LONG, idempotencyKey="k")
    assert (again["isReplay"], again["message"]["id"], again["userErrors"]) == (True, made["message"]["id"], [])
    for other in ({"body": TOO_LONG + "b"}, {"body": TOO_LONG, "metadata": ["no", "object"]}):
        assert errors(await send(idle, **other, idempotencyKey="k")) == [REUSED]
    for key in (None, "l"):
        assert errors(await send(idle, body=TOO_LONG, idempotencyKey=key)) == [("VALIDATION_ERROR", ["input", "body"])]
    path = ["input", "idempotencyKey"]
    assert errors(await send(idle, idempotencyKey="k" * 256)) == errors(await send(idle, idempotencyKey="a\0b"))
    assert errors(await send(idle, idempotencyKey="a\0b")) == [("VALIDATION_ERROR", path)]
    assert [await count(idle, table) for table in (Message, Job)] == [1, 1]


async def test_a_message_over_the_limits_is_replayed_only_to_who_may_send_it(idle: Gateway) -> None:
    await plug(idle)
    await send(idle, body="Hello", idempotencyKey="k")
    given = {"to": "ada", "channel": "SIMULATOR", "body": TOO_LONG, "idempotencyKey": "k"}
    answer = await idle.post(SEND, {"input": given}, idle.token("send:sms"))
    assert answer["errors"][0]["extensions"]["requiredScope"] == "send:simulator"


async def test_a_batch_is_replayed_that_is_over_the_limits_of_today(idle: Gateway) -> None:
    await plug(idle)
    made = await send_batch(idle, [{"body": "Hello"}], "monday")
    drafts = [Draft(to="ada", channel="SIMULATOR", body=TOO_LONG), Draft(to="ada", channel="SIMULATOR", body="Hello")]
    await accepted_once(idle, Batch, "monday", Order(drafts).content())
    again = await send_batch(idle, [{"body": TOO_LONG}, {"body": "Hello"}], "monday")
    assert (again["isReplay"], again["batch"], again["userErrors"]) == (True, made["batch"], [])
    for other in ([{"body": TOO_LONG}], [], [{"body": "Hello"}] * 1_001):
        assert errors(await send_batch(idle, other, "monday")) == [REUSED]
    path = ["input", "messages", "0", "body"]
    assert errors(await send_batch(idle, [{"body": TOO_LONG}], "tuesday")) == [("VALIDATION_ERROR", path)]
    assert errors(await send_batch(idle, [{"body": "Hello"}], "a\0b")) == [("VALIDATION_ERROR", ["input", "idempotencyKey"])]
    assert [await count(idle, table) for table in (Batch, Message, Job)] == [1, 1, 1]


async def test_only_the_messages_of_a_batch_that_are_new_have_to_keep_the_limits(idle: Gateway) -> None:
    await plug(idle)
    await send(idle, body="Hello", idempotencyKey="k")
    await accepted_once(idle, Message, "k", Draft(to="ada", channel="SIMULATOR", body=TOO_LONG).content())
    known = {"body": TOO_LONG, "idempotencyKey": "k"}
    refused = await send_batch(idle, [known, {"body": TOO_LONG}, {"body": "Hi", "idempotencyKey": "a\0b"}])
    assert errors(refused) == [
        ("VALIDATION_ERROR", ["input", "messages", "1", "body"]),
        ("VALIDATION_ERROR", ["input", "messages", "2", "idempotencyKey"]),
    ]
    taken = await send_batch(idle, [known, {"body": "Hi"}])
    assert (taken["batch"]["total"], taken["batch"]["alreadyAccepted"], taken["userErrors"]) == (1, 1, [])
    other = await send_batch(idle, [{"body": TOO_LONG + "b", "idempotencyKey": "k"}])
    assert errors(other) == [("IDEMPOTENCY_KEY_REUSED", ["input", "messages", "0", "idempotencyKey"])]
    assert await count(idle, Message) == 2
