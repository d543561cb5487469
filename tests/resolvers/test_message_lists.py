"""Lists of messages: every filter, both ways to page, and whose messages one sees."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from models import ids
from models.base import now
from models.messages import Message
from models.workspaces import Workspace
from tests.harness import Gateway, running, settings_for

Json = Any

LIST = """query($first: Int, $after: String, $last: Int, $before: String, $page: Int, $pageSize: Int, $filter: MessageFilter) {
  messages(first: $first, after: $after, last: $last, before: $before, page: $page, pageSize: $pageSize, filter: $filter) {
    nodes { to } edges { cursor node { to } } totalCount page pageCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
CREATE = "mutation($name: String!) { connectorCreate(input: {name: $name, config: {simulator: {}}}) { connector { id } } }"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that sends nothing: what is stored stays as it is."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def store(gateway: Gateway, *given: Json, workspace: Workspace | None = None) -> list[str]:
    """Messages as they might have been left by traffic, oldest first."""
    made = [ids.new_id(ids.MESSAGE) for _ in given]
    async with gateway.application.database.write() as session:
        for message_id, values in zip(made, given, strict=True):
            session.add(row(message_id, (workspace or gateway.demo).id, values))
    return made


def row(message_id: str, workspace_id: str, values: Json) -> Message:
    defaults = {
        "channel_type": "SMS",
        "flow": "STANDARD",
        "priority": "NORMAL",
        "status": "QUEUED",
        "to": "+1",
        "media": [],
        "is_pinned": False,
        "route": [],
        "fallbacks": [],
        "created_at": now(),
        "updated_at": now(),
    }
    return Message(id=message_id, workspace_id=workspace_id, **{**defaults, **values})


async def found(gateway: Gateway, token: str | None = None, **given: Json) -> list[str]:
    """Who the messages of one page are to."""
    return [node["to"] for node in (await gateway.gql(LIST, token, **given))["messages"]["nodes"]]


async def matching(gateway: Gateway, **filter: Json) -> list[str]:
    return sorted(await found(gateway, filter=filter, first=100))


async def refusal(gateway: Gateway, token: str | None = None, **given: Json) -> str:
    answer = await gateway.post(LIST, given, token)
    assert answer["data"] == {"messages": None}
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


async def test_every_filter(gateway: Gateway) -> None:
    connector = (await gateway.gql(CREATE, name="a"))["connectorCreate"]["connector"]["id"]
    old, new = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
    await store(
        gateway,
        {"to": "a", "channel_type": "SMS", "flow": "OTP", "status": "SENT", "created_at": old, "client_reference": "r1"},
        {"to": "b", "channel_type": "EMAIL", "status": "FAILED", "connector_id": connector, "sender_id": "sid_1"},
        {"to": "c", "channel_type": "SMS", "status": "SENT", "batch_id": "bat_1", "created_at": new, "client_reference": "R1"},
    )
    for filter, expected in [
        ({}, "abc"),
        ({"channels": ["SMS"]}, "ac"),
        ({"channels": ["SMS", "EMAIL"]}, "abc"),
        ({"channels": []}, ""),
        ({"flow": "OTP"}, "a"),
        ({"flow": "STANDARD"}, "bc"),
        ({"statuses": ["SENT"]}, "ac"),
        ({"statuses": ["SENT", "FAILED"]}, "abc"),
        ({"statuses": []}, ""),
        ({"connectorIds": [connector]}, "b"),
        ({"connectorIds": ["con_other"]}, ""),
        ({"senderIds": ["sid_1"]}, "b"),
        ({"batchId": "bat_1"}, "c"),
        ({"clientReference": "r1"}, "a"),
        ({"createdAfter": "2026-01-01T00:00:00Z", "createdBefore": "2026-06-02T00:00:00+02:00"}, "c"),
        ({"createdBefore": "2026-01-01T00:00:01Z"}, "a"),
        ({"createdBefore": "2026-01-01T00:00:00Z"}, ""),
        ({"channels": ["SMS"], "statuses": ["SENT"], "flow": "STANDARD"}, "c"),
        ({"query": None, "flow": None}, "abc"),
    ]:
        assert await matching(gateway, **filter) == list(expected), filter


async def test_free_text(gateway: Gateway) -> None:
    await store(
        gateway,
        {"to": "+2348067123456", "body": "Your CODE is 100% safe", "external_id": "SM_abc"},
        {"to": "Jürgen@Example.org", "body": "ÄRGER mit Strasse", "external_id": "SMxABC"},
        {"to": "nobody", "body": None, "external_id": None, "client_reference": "code"},
        {"to": "back", "body": r"a\b and /slash/ and 'quote'"},
    )
    first, second, third, fourth = "+2348067123456", "Jürgen@Example.org", "nobody", "back"
    for query, expected in [
        ("2348067", [first]),
        ("code", [first]),
        ("CODE IS", [first]),
        ("example.ORG", [second]),
        ("ärger", [second]),
        ("JÜRGEN", [second]),
        ("100%", [first]),
        ("%", [first]),
        ("_", [first]),
        ("sm_ABC", [first]),
        ("smxabc", [second]),
        ("sm", [first, second]),
        ("a\\b", [fourth]),
        ("/slash/", [fourth]),
        ("'quote'", [fourth]),
        ("' OR 1=1 --", []),
        ("", [first, second, fourth, third]),
        ("z" * 5_000, []),
    ]:
        assert await matching(gateway, query=query) == sorted(expected), query


async def test_the_examples_of_the_sms_page(gateway: Gateway) -> None:
    await store(gateway, *({"to": f"o{i}", "flow": "OTP"} for i in range(12)))
    await store(gateway, *({"to": f"d{i}", "status": "DELIVERED"} for i in range(60)), {"to": "+2348067000000"})

    async def answer(page_size: int, **filter: Json) -> Json:
        return (await gateway.gql(LIST, page=1, pageSize=page_size, filter=filter))["messages"]

    otp = await answer(10, flow="OTP")
    assert [node["to"] for node in otp["nodes"]] == [f"o{i}" for i in range(11, 1, -1)]
    assert (otp["totalCount"], otp["page"], otp["pageCount"]) == (12, 1, 2)
    delivered = await answer(50, flow="STANDARD", statuses=["DELIVERED"])
    assert len(delivered["nodes"]) == 50 and delivered["pageCount"] == 2 and delivered["pageInfo"]["hasNextPage"] is True
    assert [node["to"] for node in (await answer(10, query="2348067"))["nodes"]] == ["+2348067000000"]


async def test_pages_by_number(gateway: Gateway) -> None:
    await store(gateway, *({"to": f"{i}"} for i in range(7)))
    pages = [(await gateway.gql(LIST, page=page, pageSize=3))["messages"] for page in (1, 2, 3, 4)]
    assert [[node["to"] for node in page["nodes"]] for page in pages] == [["6", "5", "4"], ["3", "2", "1"], ["0"], []]
    assert [(page["page"], page["pageCount"], page["totalCount"]) for page in pages] == [(n, 3, 7) for n in (1, 2, 3, 4)]
    assert [page["pageInfo"]["hasNextPage"] for page in pages] == [True, True, False, False]
    assert [page["pageInfo"]["hasPreviousPage"] for page in pages] == [False, True, True, True]
    assert (await gateway.gql(LIST, page=2))["messages"]["nodes"] == []
    by_cursor = (await gateway.gql(LIST, first=2))["messages"]
    assert by_cursor["page"] is None and by_cursor["pageCount"] is None


async def test_page_sizes_are_refused_not_clamped(gateway: Gateway) -> None:
    for given in (
        {"pageSize": 101},
        {"pageSize": 0},
        {"page": 0},
        {"page": -1},
        {"first": 101},
        {"first": -1},
        {"last": 101},
        {"first": 1, "last": 1},
        {"first": 1, "page": 1},
        {"after": "x", "pageSize": 5},
    ):
        assert await refusal(gateway, **given) == "BAD_USER_INPUT", given
    for given in ({"pageSize": 100}, {"page": 1}, {"first": 100}, {"first": 0}, {"last": 100}):
        assert await found(gateway, **given) == [], given


async def test_cursors_walk_the_list_both_ways_while_it_grows(gateway: Gateway) -> None:
    await store(gateway, *({"to": f"{i}"} for i in range(10)))
    seen: list[str] = []
    after = None
    while True:
        page = (await gateway.gql(LIST, first=3, after=after))["messages"]
        seen += [node["to"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        await store(gateway, {"to": "new"})  # newer ones come before the cursor and move nothing
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [f"{i}" for i in range(9, -1, -1)]

    back: list[str] = []
    before = after
    while True:
        page = (await gateway.gql(LIST, last=4, before=before))["messages"]
        back = [node["to"] for node in page["nodes"]] + back
        before = page["pageInfo"]["startCursor"]
        if not page["pageInfo"]["hasPreviousPage"]:
            break
    assert [to for to in back if to != "new"] == [f"{i}" for i in range(9, 0, -1)]
    assert (await gateway.gql(LIST, first=1))["messages"]["totalCount"] == 14


async def test_cursors_of_another_list_are_refused(gateway: Gateway) -> None:
    await store(gateway, {"to": "a"}, {"to": "b"})
    cursor = (await gateway.gql(LIST, first=1))["messages"]["pageInfo"]["endCursor"]
    assert await found(gateway, first=1, after=cursor) == ["a"]
    other = await gateway.workspace("other")
    stranger = gateway.token(workspace=other)
    assert await refusal(gateway, stranger, after=cursor) == "INVALID_CURSOR"
    assert await refusal(gateway, after=cursor, filter={"flow": "OTP"}) == "INVALID_CURSOR"
    for forged in ("", "x", "é", cursor[:-2], cursor[::-1], "A" * 30, "A" * 8_001):
        assert await refusal(gateway, after=forged) == "INVALID_CURSOR", forged


async def test_one_sees_the_channels_one_may_read(gateway: Gateway) -> None:
    (sms, email) = await store(gateway, {"to": "s", "channel_type": "SMS"}, {"to": "e", "channel_type": "EMAIL"})
    token = gateway.token("read:sms")
    listed = (await gateway.gql(LIST, token))["messages"]
    assert ([node["to"] for node in listed["nodes"]], listed["totalCount"]) == (["s"], 1)
    assert await found(gateway, token, filter={"channels": ["SMS"]}) == ["s"]
    for channels in (["EMAIL"], ["SMS", "EMAIL"]):
        assert await refusal(gateway, token, filter={"channels": channels}) == "FORBIDDEN"
    query = "query($id: ID!) { message(id: $id) { to } node(id: $id) { id } }"
    assert await gateway.gql(query, token, id=sms) == {"message": {"to": "s"}, "node": {"id": sms}}
    assert await gateway.gql(query, token, id=email) == {"message": None, "node": None}
    for scopes in (["send:*"], ["connectors:*"]):
        assert await refusal(gateway, gateway.token(*scopes)) == "FORBIDDEN"
    assert sorted(await found(gateway, gateway.token("read:*"))) == ["e", "s"]


async def test_one_sees_ones_workspace(gateway: Gateway) -> None:
    other = await gateway.workspace("other")
    (mine,) = await store(gateway, {"to": "mine", "external_id": "x1", "client_reference": "r", "batch_id": "b"})
    await store(gateway, {"to": "theirs", "external_id": "x1", "client_reference": "r", "batch_id": "b"}, workspace=other)
    stranger = gateway.token(workspace=other)
    assert await found(gateway) == ["mine"]
    assert await found(gateway, stranger) == ["theirs"]
    for filter in ({"query": "mine"}, {"query": "x1"}, {"clientReference": "r"}, {"batchId": "b"}):
        assert "mine" not in await found(gateway, stranger, filter=filter)
    assert await gateway.gql("query($id: ID!) { message(id: $id) { id } node(id: $id) { id } }", stranger, id=mine) == {
        "message": None,
        "node": None,
    }
    by_external = 'query { messageByExternalId(externalId: "x1") { to } }'
    assert (await gateway.gql(by_external))["messageByExternalId"] == {"to": "mine"}
    assert (await gateway.gql(by_external, stranger))["messageByExternalId"] == {"to": "theirs"}
