"""Unplugging a connector."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from models import connectors as rows
from models.connectors import Connector
from tests import make
from tests.harness import Gateway

Json = Any
STATE = "query($id: ID!) { message(id: $id) { status connector { id } failure { code kind } } }"
LAST = "This is the last connector, and the workspace's will is active: it must keep one."


async def delete(gateway: Gateway, **input: Json) -> Json:
    return await make.mutate(gateway, "connectorDelete", **input)


async def refused(gateway: Gateway, **input: Json) -> list[tuple[str, list[str], str]]:
    return await make.refused(gateway, "connectorDelete", **input)


async def stored(gateway: Gateway, connector_id: str) -> Connector:
    async with gateway.read() as session:
        (found,) = await rows.by_ids(session, gateway.demo.id, [connector_id])
    return found


async def state(gateway: Gateway, message_id: str) -> Json:
    return (await gateway.gql(STATE, id=message_id))["message"]


async def will(gateway: Gateway, active: bool = True) -> None:
    payload = await make.mutate(gateway, "workspaceUpdate", willActive=active)
    assert payload["workspace"]["willActive"] is active and payload["userErrors"] == []


async def test_the_channel_goes_with_the_connector(gateway: Gateway) -> None:
    made = await make.working(gateway, "Mail", config=make.smtp(9, username="me", password="canary"), idempotencyKey="k")
    other = await make.working(gateway, "Sim")
    payload = await delete(gateway, id=made["id"])
    assert payload == {
        "deletedConnectorId": made["id"],
        "deletedChannelId": made["channel"]["id"],
        "reroutedMessages": 0,
        "failedMessages": 0,
        "connectors": [{"id": other["id"]}],
        "userErrors": [],
    }
    assert await make.read(gateway, made["id"]) is None
    text = "query($ids: [ID!]!, $n: String!) { nodes(ids: $ids) { id } connectorByName(name: $n) { id } }"
    found = await gateway.gql(text, ids=[made["id"], made["channel"]["id"]], n="Mail")
    assert found == {"nodes": [None, None], "connectorByName": None}
    gone = await stored(gateway, made["id"])
    assert (gone.secrets, gone.enabled, gone.is_verified, gone.check_due_at) == ({}, False, False, None)
    assert (gone.idempotency_key, gone.request_hash) == (None, None)
    assert (await make.events(gateway, made["id"]))[-2:] == [
        ("channel.updated", "INACTIVE", "DEPROVISIONING", "deleted"),
        ("channel.deleted", "DEPROVISIONING", "DEPROVISIONED", "deleted"),
    ]


async def test_a_connector_is_found_by_its_name_and_channel(gateway: Gateway) -> None:
    sim = await make.working(gateway, "Main / 🚀 100%")
    bot = await make.working(gateway, "Main / 🚀 100%", config=make.telegram())
    found = await refused(gateway, name=sim["name"])
    message = "Several connectors have this name; say which channel: SIMULATOR, TELEGRAM."
    assert found == [("AMBIGUOUS_NAME", ["input", "name"], message)]
    assert (await delete(gateway, name=f" {sim['name']} ", channel="TELEGRAM"))["deletedConnectorId"] == bot["id"]
    payload = await delete(gateway, name=sim["name"])
    assert payload["deletedConnectorId"] == sim["id"] and payload["connectors"] == []


async def test_what_names_no_connector_is_refused(gateway: Gateway) -> None:
    made = await make.working(gateway, "Main")
    name, id, channel = (["input", field] for field in ("name", "id", "channel"))
    neither = ("MISSING_CONNECTOR_NAME", name, "Give the connector's id or name.")
    unknown = "There is no such connector."
    table: list[tuple[Json, tuple[str, list[str], str]]] = [
        ({}, neither),
        ({"name": ""}, neither),
        ({"name": " \t\u3000"}, neither),
        ({"name": "\u200b"}, ("MISSING_CONNECTOR_NAME", name, "A connector needs a name.")),
        ({"channel": "SMS"}, neither),
        ({"name": "main"}, ("CONNECTOR_NOT_FOUND", name, unknown)),
        ({"name": "Main", "channel": "SMS"}, ("CONNECTOR_NOT_FOUND", name, unknown)),
        ({"id": "con_" + "0" * 32}, ("CONNECTOR_NOT_FOUND", id, unknown)),
        ({"id": ""}, ("CONNECTOR_NOT_FOUND", id, unknown)),
        ({"id": made["id"], "name": "Main"}, ("VALIDATION_ERROR", name, "Give id or name, not both.")),
        ({"id": made["id"], "channel": "SIMULATOR"}, ("VALIDATION_ERROR", channel, "Give id or channel, not both.")),
        ({"name": "__proto__"}, ("RESERVED_CONNECTOR_NAME", name, "This name is reserved.")),
    ]
    for input, expected in table:
        for dry in (False, True):
            assert await refused(gateway, **input, dryRun=dry) == [expected]
    assert await make.read(gateway, made["id"]) == made
    await delete(gateway, id=made["id"])
    assert await refused(gateway, id=made["id"]) == [("CONNECTOR_NOT_FOUND", id, unknown)]


async def test_waiting_messages_go_to_another_connector_unless_they_name_this_one(gateway: Gateway) -> None:
    spare = await make.working(gateway, "Spare", priority=5)
    made = await make.working(gateway, "Main")
    await make.change(gateway, spare["id"], enabled=False)
    await make.change(gateway, made["id"], throttlePerSecond=0.001)
    await make.message(gateway, "no-receipt", connectorId=made["id"])  # takes the only token
    free = await make.message(gateway, "no-receipt")
    pinned = await make.message(gateway, "no-receipt", connectorId=made["id"])
    await make.change(gateway, spare["id"], enabled=True)

    dry = await delete(gateway, id=made["id"], dryRun=True)
    assert (dry["reroutedMessages"], dry["failedMessages"]) == (1, 1)
    assert (dry["deletedConnectorId"], dry["deletedChannelId"], dry["userErrors"]) == (None, None, [])
    assert (await state(gateway, free["id"]))["connector"] == {"id": made["id"]}

    done = await delete(gateway, id=made["id"])
    assert (done["reroutedMessages"], done["failedMessages"]) == (1, 1)
    assert await state(gateway, pinned["id"]) == {
        "status": "FAILED",
        "connector": {"id": made["id"]},
        "failure": {"code": "CONNECTOR_DELETED", "kind": "NO_ROUTE"},
    }
    moved = await state(gateway, free["id"])
    assert moved["connector"] == {"id": spare["id"]} and moved["failure"] is None


async def test_without_another_connector_waiting_messages_fail(gateway: Gateway) -> None:
    made = await make.working(gateway, "Main", throttlePerSecond=0.001)
    await make.connector(gateway, "Unverified", config={"simulator": {"apiKey": "invalid"}})
    await make.message(gateway, "no-receipt")
    waiting = [await make.message(gateway, "no-receipt") for _ in range(3)]
    payload = await delete(gateway, id=made["id"])
    assert (payload["reroutedMessages"], payload["failedMessages"]) == (0, 3)
    for message in waiting:
        found = await state(gateway, message["id"])
        assert (found["status"], found["failure"]["code"]) == ("FAILED", "CONNECTOR_DELETED")


async def test_a_scheduled_message_that_names_the_connector_holds_it(gateway: Gateway) -> None:
    made = await make.working(gateway, "Main")
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    pinned = await make.message(gateway, "no-receipt", connectorId=made["id"], scheduledAt=later)
    free = await make.message(gateway, "no-receipt", scheduledAt=later)
    message = "1 scheduled message(s) name this connector; cancel them first."
    for input, path in (({"id": made["id"]}, "id"), ({"name": "Main"}, "name")):
        for dry in (False, True):
            found = await refused(gateway, **input, dryRun=dry)
            assert found == [("CONNECTOR_STILL_REFERENCED", ["input", path], message)]
    assert (await state(gateway, pinned["id"]))["status"] == (await state(gateway, free["id"]))["status"] == "SCHEDULED"
    assert await make.read(gateway, made["id"]) == made


async def test_a_rehearsal_changes_nothing(gateway: Gateway) -> None:
    made = await make.working(gateway, "Main")
    before = await make.counts(gateway)
    payload = await delete(gateway, name="Main", dryRun=True)
    assert payload["userErrors"] == [] and payload["connectors"] == [{"id": made["id"]}]
    assert await make.read(gateway, made["id"]) == made and await make.counts(gateway) == before


async def test_an_active_will_keeps_the_last_connector(gateway: Gateway) -> None:
    one, two = await make.working(gateway, "One"), await make.working(gateway, "Two")
    await will(gateway)
    assert (await delete(gateway, id=one["id"]))["userErrors"] == []
    for input, path in (({"id": two["id"]}, "id"), ({"name": "Two"}, "name")):
        for dry in (False, True):
            found = await refused(gateway, **input, dryRun=dry)
            assert found == [("LAST_CONNECTOR_WHILE_WILL_ACTIVE", ["input", path], LAST)]
    payload = await delete(gateway, id=two["id"])
    assert payload["userErrors"][0]["httpStatus"] == 409 and payload["connectors"] is None
    assert await make.read(gateway, two["id"]) == two
    await make.connector(gateway, "Elsewhere", token=gateway.token(workspace=await gateway.workspace("elsewhere")))
    assert (await delete(gateway, id=two["id"]))["deletedConnectorId"] is None
    await will(gateway, False)
    assert (await delete(gateway, id=two["id"]))["deletedConnectorId"] == two["id"]


async def test_two_racing_deletes_never_take_the_last_two(gateway: Gateway) -> None:
    await will(gateway)
    keeper = await make.connector(gateway, "0")
    for round in range(1, 21):
        other = await make.connector(gateway, str(round))
        payloads = await asyncio.gather(delete(gateway, id=keeper["id"]), delete(gateway, id=other["id"]))
        codes = sorted(error["code"] for payload in payloads for error in payload["userErrors"])
        assert codes == ["LAST_CONNECTOR_WHILE_WILL_ACTIVE"]
        keeper = keeper if payloads[0]["deletedConnectorId"] is None else other
        async with gateway.read() as session:
            assert [row.id for row in await rows.all_of(session, gateway.demo.id)] == [keeper["id"]]


async def test_two_deletes_of_one_connector_delete_it_once(gateway: Gateway) -> None:
    made = await make.working(gateway, "Main")
    payloads = await asyncio.gather(*(delete(gateway, id=made["id"]) for _ in range(5)))
    assert [payload["deletedConnectorId"] for payload in payloads].count(made["id"]) == 1
    codes = [error["code"] for payload in payloads for error in payload["userErrors"]]
    assert codes == ["CONNECTOR_NOT_FOUND"] * 4
    assert [kind for kind, *_ in await make.events(gateway, made["id"])].count("channel.deleted") == 1
