"""Another workspace's things do not exist, and no root field answers without its scope."""

from __future__ import annotations

import json
from typing import Any

from tests import make
from tests.harness import Gateway
from tests.walk import fields_of, operation

Json = Any
OPEN = {
    "viewer": "tells callers who they are",
    "rateLimits": "tells callers how they stand",
    "workspace": "the caller's own; another one only for administrators",
    "node": "null for what the caller may not see",
    "nodes": "null for what the caller may not see",
    "connectorTemplates": "the same for everybody",
    "connectorTemplate": "the same for everybody",
    "webhookEventTypes": "the same for everybody",
    "messageEstimate": "reckons with its arguments alone",
}
"""Root fields that need no scope, and why."""

MISSING = {
    "connector": "con_" + "0" * 32,
    "channel": "chn_" + "0" * 32,
    "message": "msg_" + "0" * 32,
    "workspace": "wsp_" + "0" * 32,
}


async def test_every_root_field_asks_for_its_scope(gateway: Gateway) -> None:
    token = gateway.token("members:read")
    await make.working(gateway)
    message = await make.message(gateway, "no-receipt")
    await make.arrived(gateway, message["id"], "SENT")
    before = await make.counts(gateway)
    answered = set()
    for kind in ("query", "mutation"):
        for name in fields_of(kind):
            text, variables = operation(kind, name)
            if name.startswith("message") and "id" in variables.get("input", {}):
                variables["input"]["id"] = message["id"]  # its channel says which scope it takes
            answer = await gateway.post(text, variables, token)
            if "errors" not in answer:
                answered.add(name)
                continue
            (error,) = answer["errors"]
            assert error["extensions"]["code"] == "FORBIDDEN", (name, error)
            assert error["extensions"]["httpStatus"] == 403 and answer["data"] == {name: None}
            assert error["message"] and ":" in error["extensions"]["requiredScope"], name
    assert answered == set(OPEN)
    assert await make.counts(gateway) == before


async def test_every_subscription_asks_for_its_scope(gateway: Gateway) -> None:
    async with gateway.socket(gateway.token("members:read")) as socket:
        for name in fields_of("subscription"):
            text, variables = operation("subscription", name)
            frame = await (await socket.subscribe(text, **variables)).frame()
            (error,) = frame["payload"] if frame["type"] == "error" else frame["payload"]["errors"]
            assert (error["extensions"]["code"], ":" in error["extensions"]["requiredScope"]) == ("FORBIDDEN", True), name


async def test_one_scope_opens_one_thing(gateway: Gateway) -> None:
    made = await make.working(gateway)
    reader, writer = gateway.token("connectors:read"), gateway.token("connectors:write")
    read: Json = ("query($id: ID!) { connector(id: $id) { id } }", {"id": made["id"]})
    write: Json = ("mutation($id: ID!) { connectorVerify(input: {id: $id}) { connector { id } } }", {"id": made["id"]})
    assert (await gateway.post(*read, reader))["data"]["connector"] == {"id": made["id"]}
    assert (await gateway.post(*write, writer))["data"]["connectorVerify"]["connector"] == {"id": made["id"]}
    for (text, variables), token, scope in ((read, writer, "connectors:read"), (write, reader, "connectors:write")):
        (error,) = (await gateway.post(text, variables, token))["errors"]
        assert (error["extensions"]["requiredScope"], error["message"]) == (scope, f"This needs the scope {scope}.")


QUERIES = {
    "connector": "query($id: ID!) { connector(id: $id) { id } }",
    "message": "query($id: ID!) { message(id: $id) { id } }",
    "node": "query($id: ID!) { node(id: $id) { id } }",
    "nodes": "query($id: ID!) { nodes(ids: [$id]) { id } }",
    "messages by connector": "query($id: ID!) { messages(filter: {connectorIds: [$id]}) { nodes { id } totalCount } }",
    "messages by sender": "query($id: ID!) { messages(filter: {senderIds: [$id]}) { nodes { id } totalCount } }",
    "messages by batch": "query($id: ID!) { messages(filter: {batchId: $id}) { nodes { id } totalCount } }",
    "events": "query($id: ID!) { events(filter: {subjectIds: [$id]}) { nodes { id } } }",
}


def changing(name: str, input: str, result: str, kind: str = "ID") -> str:
    errors = "userErrors { code message field httpStatus }"
    return f"mutation($id: {kind}!) {{ {name}(input: {{{input}}}) {{ {result} {errors} }} }}"


MUTATIONS = {
    "connectorUpdate": changing("connectorUpdate", "id: $id, priority: 1", "connector { id }"),
    "connectorTest": changing("connectorTest", 'id: $id, testDestination: "delivered"', "success connector { id }"),
    "connectorVerify": changing("connectorVerify", "id: $id", "connector { id }"),
    "connectorDelete": changing("connectorDelete", "id: $id", "deletedConnectorId"),
    "messageSend": changing("messageSend", 'to: "delivered", body: "x", connectorId: $id', "message { id }"),
}


async def test_another_workspaces_id_is_a_missing_one_everywhere(gateway: Gateway) -> None:
    made = await make.working(gateway, "Ours")
    message = await make.message(gateway, "no-receipt")
    key = made["routingKey"]
    theirs = {"connector": made["id"], "channel": made["channel"]["id"], "message": message["id"], "workspace": gateway.demo.id}
    elsewhere = await gateway.workspace("elsewhere")
    token = gateway.token(workspace=elsewhere)

    async def answer(text: str, id: str) -> str:
        return json.dumps(await gateway.post(text, {"id": id}, token)).replace(id, "?")

    before, ours = await make.counts(gateway), await make.read(gateway, made["id"])
    for name, text in (QUERIES | MUTATIONS).items():
        for kind, id in theirs.items():
            there = await answer(text, id)
            assert there == await answer(text, MISSING[kind]), (name, kind)
            assert "FORBIDDEN" not in there and "INTERNAL" not in there
    for value, missing in ((key, "rk_" + "0" * 32), (made["name"], "Nobody's")):
        for text in (
            "query($id: String!) { connectorByName(name: $id) { id } }",
            changing("connectorDelete", "name: $id", "deletedConnectorId", "String"),
            changing("messageSend", 'to: "x", body: "x", routingKey: $id', "message { id }", "String"),
        ):
            assert await answer(text, value) == await answer(text, missing)
    after = await make.counts(gateway)
    assert {name: n for name, n in after.items() if n != before[name]}.keys() <= {"event", "attempt", "job"}
    assert await make.read(gateway, made["id"]) == ours


async def test_lists_hold_only_what_is_ones_own(gateway: Gateway) -> None:
    await make.working(gateway, "Ours")
    await make.message(gateway, "no-receipt")
    token = gateway.token(workspace=await gateway.workspace("elsewhere"))
    text = """{ connectors { nodes { id } totalCount } messages { nodes { id } totalCount } events { nodes { id } }
      connectorByName(name: "Ours") { id } viewer { workspace { name } } }"""
    assert await gateway.gql(text, token) == {
        "connectors": {"nodes": [], "totalCount": 0},
        "messages": {"nodes": [], "totalCount": 0},
        "events": {"nodes": []},
        "connectorByName": None,
        "viewer": {"workspace": {"name": "elsewhere"}},
    }


async def test_a_subscription_hears_nothing_of_another_workspace(gateway: Gateway) -> None:
    elsewhere = gateway.token(workspace=await gateway.workspace("elsewhere"))
    made = await make.working(gateway, "Ours")
    text = "subscription($ids: [ID!]) { channelStatusChanged(connectorIds: $ids) { connector { id } } }"
    async with gateway.socket(elsewhere) as socket:
        everything, named = await socket.subscribe(text), await socket.subscribe(text, ids=[made["id"]])
        all_events = await socket.subscribe("subscription { events { id } }")
        await make.change(gateway, made["id"], priority=3)
        own = await make.connector(gateway, "Theirs", token=elsewhere)
        assert (await everything.next())["connector"] == {"id": own["id"]}
        await all_events.next()
        assert await named.silent()
