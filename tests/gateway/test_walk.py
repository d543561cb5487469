"""A walk over every root field: none answers a stranger, keys stay out of what is for people, and another workspace's ids are
answered everywhere like ids that do not exist. New fields are walked without being named here."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from graphql import GraphQLInterfaceType

from channels.base import Inbound
from delivery import inbound
from models import connectors
from models.base import now
from tests import hooks, make
from tests.harness import Gateway
from tests.walk import ROOTS, SCHEMA, document, fields_of, id_places, operation, outline, with_id

Json = Any
SESSION_ONLY = {
    "apiKeys",
    "apiKeyCreate",
    "apiKeyRevoke",
    "senderIdReview",
    "workspaces",
    "workspaceCreate",
    "whatsappCloudLineUpdate",
}
"""Root fields that refuse every API key."""


async def test_nobody_is_answered_without_credentials(gateway: Gateway) -> None:
    for kind in ROOTS:
        for name in fields_of(kind):
            text, variables = operation(kind, name)
            for headers in ({}, {"authorization": "Bearer a.b.c"}, {"x-api-key": "pb_"}):
                body = {"query": text, "variables": variables}
                accepted = {**headers, "accept": "application/json, text/event-stream"}
                async with gateway.http.post(f"{gateway.url}/graphql", json=body, headers=accepted) as response:
                    (error,) = (await response.json())["errors"]
                    assert (response.status, error["extensions"]["code"]) == (401, "UNAUTHENTICATED"), (name, headers)


async def test_what_is_for_people_refuses_the_widest_key_and_says_so(gateway: Gateway) -> None:
    _, key = await make.api_key(gateway, "*")
    refusing = set()
    for kind in ("query", "mutation"):
        for name, field in fields_of(kind).items():
            text, variables = operation(kind, name)
            answer = await gateway.post(text, variables, key)
            codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
            assert codes <= {"SESSION_REQUIRED", "BAD_USER_INPUT"}, (name, answer)
            if "SESSION_REQUIRED" in codes:
                refusing.add(name)
                said = field.description or ""
                assert "session" in said or "administrators" in said, name
    assert refusing == SESSION_ONLY


async def belongings(gateway: Gateway) -> dict[str, str]:
    """An id of everything a workspace can hold, by its type."""
    connector = await make.working(gateway, "Ours")
    message = await make.message(gateway, "no-receipt")
    batch = await gateway.gql(
        """mutation { messageSendBatch(input: {messages: [{to: "no-receipt", channel: SIMULATOR, body: "x"}]}) {
        batch { id } } }"""
    )
    sender = await gateway.gql('mutation { senderIdCreate(input: {value: "Ours"}) { senderId { id } userErrors { message } } }')
    gone = await gateway.gql(
        'mutation { optOutAdd(input: {recipient: "eve", channel: SIMULATOR}) { optOut { id } userErrors { message } } }'
    )
    hook = await hooks.subscribe(gateway, "http://127.0.0.1:9/hook")
    tried = await hooks.payload(gateway, "webhookSubscriptionTest", id=hook["id"])
    key_id, _ = await make.api_key(gateway)
    happened = await gateway.gql("{ events(first: 1) { nodes { id } } auditLog(first: 1) { nodes { id } } }")
    return {
        "Connector": connector["id"],
        "Channel": connector["channel"]["id"],
        "Message": message["id"],
        "MessageBatch": batch["messageSendBatch"]["batch"]["id"],
        "InboundMessage": await written_to_us(gateway, connector["id"]),
        "OptOut": gone["optOutAdd"]["optOut"]["id"],
        "SenderId": sender["senderIdCreate"]["senderId"]["id"],
        "WebhookSubscription": hook["id"],
        "WebhookDelivery": tried["delivery"]["id"],
        "ApiKey": key_id,
        "Workspace": gateway.demo.id,
        "Event": happened["events"]["nodes"][0]["id"],
        "AuditEntry": happened["auditLog"]["nodes"][0]["id"],
        "Organization": gateway.demo.organization_id,
    }


def fitting(theirs: dict[str, str], words: tuple[str, ...]) -> list[str]:
    """The ids of what a place may mean, to judge by its words, and one of another kind; all of them where nothing is said."""
    said = "".join(words).lower()
    meant = [id for kind, id in theirs.items() if any(part.lower() in said for part in re.findall("[A-Z][a-z]+", kind))]
    return [*meant, theirs["Channel"]] if meant else list(theirs.values())


async def written_to_us(gateway: Gateway, connector_id: str) -> str:
    async with gateway.application.database.write() as session:
        connector = await connectors.get(session, gateway.demo.id, connector_id)
        assert connector is not None
        (message,) = await inbound.take(
            session,
            connector,
            [Inbound(event_id="1", sender="ada", occurred_at=now(), text="Hello")],
            gateway.application.means.vault,
        )
    return message.id


def missing(id: str) -> str:
    """An id of the same kind that nothing has."""
    return id.partition("_")[0] + "_" + "0" * 32


async def test_everything_with_an_id_is_among_what_is_tried(gateway: Gateway) -> None:
    interface = SCHEMA.type_map["Node"]
    assert isinstance(interface, GraphQLInterfaceType)
    nodes = {kind.name for kind in SCHEMA.get_possible_types(interface)}
    theirs = await belongings(gateway)
    assert nodes <= set(theirs), "make one in belongings()"
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }"
    found = (await gateway.gql(text, ids=[theirs[kind] for kind in sorted(nodes)]))["nodes"]
    assert [node["__typename"] for node in found] == sorted(nodes)


async def test_no_field_tells_another_workspaces_id_from_a_missing_one(gateway: Gateway) -> None:
    theirs = await belongings(gateway)
    elsewhere = await gateway.workspace("elsewhere")
    token = gateway.token(workspace=elsewhere)
    await make.working(gateway, "Theirs", token)
    before = await everything(gateway)
    tried = 0
    for kind in ("query", "mutation"):
        for name, field in fields_of(kind).items():
            text = document(kind, name, outline(kind, name))
            for path in id_places(name, field):
                for id in fitting(theirs, (name, *path)):
                    answers = []
                    for value in (id, missing(id)):
                        answer = json.dumps(await gateway.post(text, with_id(name, field, path, value), token))
                        answers.append(answer.replace(value, "?"))
                    assert answers[0] == answers[1], (name, path)
                    assert "INTERNAL" not in answers[0], (name, path, answers[0])
                    assert "FORBIDDEN" not in answers[0] or "admin:platform" in answers[0], (name, path, answers[0])
                    tried += 1
    assert tried > 100
    assert await everything(gateway) == before


async def everything(gateway: Gateway) -> Json:
    """What the first workspace's people see of their things."""
    text = """{ connectors { nodes { id name revision enabled isVerified } } messages { nodes { id status to } }
      senderIds { nodes { id status } } webhookSubscriptions { nodes { id status url } }
      apiKeys { nodes { id revokedAt } } workspace { name willActive } auditLog { totalCount } }"""
    return await gateway.gql(text)


async def test_no_subscription_hears_of_another_workspaces_id(gateway: Gateway) -> None:
    theirs = await belongings(gateway)
    token = gateway.token(workspace=await gateway.workspace("elsewhere"))
    kinds = {"connector": "Connector", "message": "Message", "batch": "MessageBatch", "subscription": "WebhookSubscription"}
    async with gateway.socket(token) as socket, gateway.socket() as own:
        streams = []
        for name, field in fields_of("subscription").items():
            for path in id_places(name, field):
                kind = next((kind for word, kind in kinds.items() if path[-1].lower().startswith(word)), "Connector")
                pair = [
                    await socket.subscribe(document("subscription", name), **with_id(name, field, path, id))
                    for id in (theirs[kind], missing(theirs[kind]))
                ]
                streams.append((name, path, theirs[kind], pair))
        assert len(streams) >= 7
        heard = await own.subscribe("subscription { events { type } }")
        await make.change(gateway, theirs["Connector"], priority=3)
        await make.message(gateway, "delivered")
        for _ in range(3):
            await heard.next()
        await asyncio.sleep(0.3)
        for name, path, id, pair in streams:
            frames = []
            for stream, value in zip(pair, (id, missing(id)), strict=True):
                got = [] if await stream.silent(0) else [await stream.frame()]
                frames.append([(frame["type"], json.dumps(frame.get("payload")).replace(value, "?")) for frame in got])
            assert frames[0] == frames[1], (name, path)
            assert all(kind in ("error", "complete") for kind, _ in frames[0]) or name == "connectorMetrics", (name, frames[0])
