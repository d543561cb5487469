"""Looking for connectors."""

from __future__ import annotations

from typing import Any

from tests import make
from tests.harness import Gateway

Json = Any
LIST = """query($first: Int, $after: String, $last: Int, $before: String, $filter: ConnectorFilter, $orderBy: ConnectorOrder) {
  connectors(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    nodes { name } edges { cursor node { name } } totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
NAMES = "query($f: ConnectorFilter, $o: ConnectorOrder) { connectors(filter: $f, orderBy: $o) { nodes { name } totalCount } }"


async def page(gateway: Gateway, token: str | None = None, **arguments: Json) -> Json:
    return (await gateway.gql(LIST, token, **arguments))["connectors"]


async def names(gateway: Gateway, **filter: Json) -> list[str]:
    found = (await gateway.gql(NAMES, f=filter))["connectors"]
    assert found["totalCount"] == len(found["nodes"])
    return [node["name"] for node in found["nodes"]]


async def refusal(gateway: Gateway, token: str | None = None, **arguments: Json) -> Json:
    answer = await gateway.post(LIST, arguments, token)
    assert answer["data"] == {"connectors": None}
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["message"]


async def test_an_empty_workspace_has_an_empty_list(gateway: Gateway) -> None:
    ends = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert await page(gateway) == {"nodes": [], "edges": [], "totalCount": 0, "pageInfo": ends}


async def test_filters_work_one_by_one_and_together(gateway: Gateway) -> None:
    await make.working(gateway, "Alpha", description="first 100% real", priority=0)
    await make.working(gateway, "beta_1", priority=1)
    broken = await make.connector(gateway, "Gamma", config={"simulator": {"apiKey": "invalid"}}, priority=2)
    await make.connector(gateway, "beta21", config=make.telegram(), priority=3, enabled=False)
    await make.connector(gateway, "Mail", config=make.smtp(9), priority=4, description="Alphabet")
    await make.settled(gateway, broken["id"])
    table: list[tuple[Json, list[str]]] = [
        ({}, ["Alpha", "beta_1", "Gamma", "beta21", "Mail"]),
        ({"channels": ["TELEGRAM", "EMAIL"]}, ["beta21", "Mail"]),
        ({"channels": []}, []),
        ({"channels": ["SMS"]}, []),
        ({"providers": ["SMTP", "TELEGRAM_BOT"]}, ["beta21", "Mail"]),
        ({"providers": ["smtp"]}, []),
        ({"templateRef": "simulator:1"}, ["Alpha", "beta_1", "Gamma"]),
        ({"templateRef": "simulator"}, []),
        ({"isVerified": True}, ["Alpha", "beta_1"]),
        ({"isVerified": False}, ["Gamma", "beta21", "Mail"]),
        ({"enabled": False}, ["beta21"]),
        ({"enabled": None, "query": None}, ["Alpha", "beta_1", "Gamma", "beta21", "Mail"]),
        ({"query": "ALPHA"}, ["Alpha", "Mail"]),
        ({"query": "a_1"}, ["beta_1"]),
        ({"query": "%"}, ["Alpha"]),
        ({"query": "_"}, ["beta_1"]),
        ({"query": "\\"}, []),
        ({"query": "' OR 1=1 --"}, []),
        ({"query": "beta", "enabled": True}, ["beta_1"]),
        ({"query": "beta", "channels": ["SIMULATOR"], "isVerified": True, "templateRef": "simulator:1"}, ["beta_1"]),
        ({"query": "alpha", "channels": ["EMAIL"]}, ["Mail"]),
    ]
    for filter, expected in table:
        assert await names(gateway, **filter) == expected, filter


async def test_a_search_finds_a_name_in_either_unicode_form(gateway: Gateway) -> None:
    await make.connector(gateway, "Cafe\u0301")
    assert await names(gateway, query="f\u00e9") == await names(gateway, query="fe\u0301") == ["Caf\u00e9"]


async def test_the_order_is_priority_then_age_and_can_be_chosen(gateway: Gateway) -> None:
    for name, priority in (("c", 1), ("a", 0), ("b", 1), ("d", 0)):
        await make.connector(gateway, name, priority=priority)
    for field, direction, expected in (
        (None, None, "adcb"),
        ("PRIORITY", "ASC", "adcb"),
        ("PRIORITY", "DESC", "bcda"),
        ("CREATED_AT", "ASC", "cabd"),
        ("CREATED_AT", "DESC", "dbac"),
        ("NAME", "ASC", "abcd"),
        ("NAME", "DESC", "dcba"),
    ):
        order = {"field": field, "direction": direction} if field else None
        found = (await gateway.gql(NAMES, o=order))["connectors"]["nodes"]
        assert "".join(node["name"] for node in found) == expected
        walked, after = "", None
        while True:
            found = await page(gateway, first=1, after=after, orderBy=order)
            walked += "".join(node["name"] for node in found["nodes"])
            after = found["pageInfo"]["endCursor"]
            if not found["pageInfo"]["hasNextPage"]:
                break
        assert walked == expected


async def test_pages_from_both_ends(gateway: Gateway) -> None:
    for name in "abcde":
        await make.connector(gateway, name)

    async def seen(**arguments: Json) -> tuple[str, bool, bool, int]:
        found = await page(gateway, **arguments)
        assert [edge["node"] for edge in found["edges"]] == found["nodes"]
        info = found["pageInfo"]
        if found["edges"]:
            assert (info["startCursor"], info["endCursor"]) == (found["edges"][0]["cursor"], found["edges"][-1]["cursor"])
        text = "".join(node["name"] for node in found["nodes"])
        return text, info["hasPreviousPage"], info["hasNextPage"], found["totalCount"]

    cursors = {edge["node"]["name"]: edge["cursor"] for edge in (await page(gateway))["edges"]}
    assert await seen() == ("abcde", False, False, 5)
    assert await seen(first=0) == ("", False, True, 5)
    assert await seen(first=2) == ("ab", False, True, 5)
    assert await seen(first=100) == ("abcde", False, False, 5)
    assert await seen(first=2, after=cursors["b"]) == ("cd", True, True, 5)
    assert await seen(first=2, after=cursors["d"]) == ("e", True, False, 5)
    assert await seen(first=2, after=cursors["e"]) == ("", True, False, 5)
    assert await seen(last=2) == ("de", True, False, 5)
    assert await seen(last=2, before=cursors["d"]) == ("bc", True, True, 5)
    assert await seen(last=5, before=cursors["b"]) == ("a", False, True, 5)
    assert await seen(last=0) == ("", True, False, 5)
    assert await seen(after=cursors["a"], before=cursors["e"]) == ("bcd", True, False, 5)
    assert await seen(last=1, after=cursors["a"], before=cursors["e"]) == ("d", True, True, 5)
    assert await seen(first=1, filter={"query": "c"}) == ("c", False, False, 1)


async def test_a_walk_neither_skips_nor_repeats_while_others_write(gateway: Gateway) -> None:
    made = {name: await make.connector(gateway, name, priority=5) for name in "bdfh"}
    first = await page(gateway, first=2)
    await make.connector(gateway, "a", priority=1)
    await make.connector(gateway, "z", priority=9)
    await make.mutate(gateway, "connectorDelete", id=made["d"]["id"])
    second = await page(gateway, first=10, after=first["pageInfo"]["endCursor"])
    assert [node["name"] for node in [*first["nodes"], *second["nodes"]]] == ["b", "d", "f", "h", "z"]


async def test_sizes_out_of_range_are_refused(gateway: Gateway) -> None:
    for arguments, message in (
        ({"first": 101}, "first must be from 0 to 100."),
        ({"first": -1}, "first must be from 0 to 100."),
        ({"last": 101}, "last must be from 0 to 100."),
        ({"first": 1, "last": 1}, "Give first or last, not both."),
    ):
        assert await refusal(gateway, **arguments) == ("BAD_USER_INPUT", message)


async def test_a_cursor_opens_only_the_list_it_was_made_for(gateway: Gateway) -> None:
    for name in "abc":
        await make.connector(gateway, name)
    cursor = (await page(gateway, first=1))["pageInfo"]["endCursor"]
    elsewhere = gateway.token(workspace=await gateway.workspace("elsewhere"))
    await make.connector(gateway, "a", token=elsewhere)
    foreign = (await page(gateway, elsewhere, first=1))["pageInfo"]["endCursor"]
    events = (await gateway.gql("{ events(first: 1) { edges { cursor } } }"))["events"]["edges"][0]["cursor"]
    name: Json = {"field": "NAME", "direction": "ASC"}
    expected = ("INVALID_CURSOR", "The cursor is not one of this list.")
    flipped = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    forged: list[Json] = [foreign, events, flipped, cursor[:10], "x", "", "é", "💥", "a" * 8000, "a" * 8001]
    for wrong in forged:
        for side in ("after", "before"):
            assert await refusal(gateway, **{side: wrong}) == expected
    for other in ({"orderBy": name}, {"filter": {"query": "a"}}, {"filter": {"enabled": True}}):
        assert await refusal(gateway, after=cursor, **other) == expected
    descending = {"field": "PRIORITY", "direction": "DESC"}
    assert await refusal(gateway, after=cursor, orderBy=descending) == expected
    assert await refusal(gateway, elsewhere, after=cursor) == expected
    assert len((await page(gateway, after=cursor))["nodes"]) == 2


async def test_a_name_is_looked_up_exactly(gateway: Gateway) -> None:
    sim = await make.connector(gateway, "Main")
    bot = await make.connector(gateway, "Main", config=make.telegram())
    text = "query($n: String!, $c: ChannelType) { connectorByName(name: $n, channel: $c) { id } }"
    assert (await gateway.gql(text, n="Main", c="TELEGRAM"))["connectorByName"] == {"id": bot["id"]}
    assert (await gateway.gql(text, n=" Main ", c="SIMULATOR"))["connectorByName"] == {"id": sim["id"]}
    for name, channel in (("main", None), ("Mai%", None), ("Main", "SMS")):
        assert (await gateway.gql(text, n=name, c=channel))["connectorByName"] is None
    for name, code, message in (
        ("Main", "AMBIGUOUS_NAME", "Several connectors have this name; say which channel: SIMULATOR, TELEGRAM."),
        (" ", "MISSING_CONNECTOR_NAME", "A connector needs a name."),
    ):
        answer = await gateway.post(text, {"n": name})
        assert answer["data"] == {"connectorByName": None}
        (error,) = answer["errors"]
        assert (error["message"], error["extensions"]["code"]) == (message, code)


async def test_anything_with_an_id_is_found_by_it(gateway: Gateway) -> None:
    made = await make.connector(gateway, "Bot", config=make.telegram())
    ids = [made["channel"]["id"], made["id"], gateway.demo.id, "con_" + "0" * 32, "", "💥", made["id"]]
    text = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Connector { name }
      ... on Channel { platform identifier } ... on Workspace { willActive } } }"""
    connector = {"__typename": "Connector", "id": made["id"], "name": "Bot"}
    channel = {"__typename": "Channel", "id": ids[0], "platform": "TELEGRAM_BOT", "identifier": "1234567890"}
    workspace = {"__typename": "Workspace", "id": gateway.demo.id, "willActive": False}
    assert (await gateway.gql(text, ids=ids))["nodes"] == [channel, connector, workspace, None, None, None, connector]
    for one in ids:
        node = (await gateway.gql("query($id: ID!) { node(id: $id) { __typename id } }", id=one))["node"]
        assert (node and node["id"]) in (one, None)
    blind = gateway.token("members:read")
    assert (await gateway.gql(text, blind, ids=ids[:3]))["nodes"] == [None, None, workspace]
    answer = await gateway.post(text, {"ids": ["x"] * 101})
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert answer["errors"][0]["message"] == "ids takes at most 100 ids."
