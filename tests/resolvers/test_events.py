"""The event log as a list."""

from __future__ import annotations

from typing import Any

from tests.harness import Gateway
from tests.sending import log_of, plug, send, settled

Json = Any

PAGE = """query($first: Int, $after: String, $filter: EventFilter) { events(first: $first, after: $after, filter: $filter) {
  nodes { __typename id cursor type occurredAt ... on DeliveryUpdated { status previousStatus source message { id } }
    ... on ChannelStatusChanged { cause connector { id } state: status { ready } } }
  edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
ROAD = ["simulator.queued", "simulator.processing", "simulator.sent", "simulator.delivered"]


async def page(gateway: Gateway, token: str | None = None, **given: Json) -> Json:
    return (await gateway.gql(PAGE, token, **given))["events"]


async def types(gateway: Gateway, token: str | None = None, **given: Json) -> list[str]:
    return [node["type"] for node in (await page(gateway, token, **given))["nodes"]]


async def refusal(gateway: Gateway, token: str | None = None, **given: Json) -> str:
    answer = await gateway.post(PAGE, given, token)
    assert answer["data"] == {"events": None}
    return str(answer["errors"][0]["extensions"]["code"])


async def test_the_log_from_its_beginning(gateway: Gateway) -> None:
    made = await plug(gateway)
    message_id = await send(gateway)
    await settled(gateway, message_id, "DELIVERED")
    found = await page(gateway, first=100)
    assert [node["type"] for node in found["nodes"]] == ["channel.created", "channel.updated", *ROAD]
    assert [node["id"] for node in found["nodes"]] == [event.id for event in await log_of(gateway)]
    assert {node["connector"]["id"] for node in found["nodes"][:2]} == {made["id"]}
    assert {node["message"]["id"] for node in found["nodes"][2:]} == {message_id}
    assert [node["__typename"] for node in found["nodes"]] == ["ChannelStatusChanged"] * 2 + ["DeliveryUpdated"] * 4
    assert [node["state"]["ready"] for node in found["nodes"][:2]] == [False, True]
    assert [edge["cursor"] for edge in found["edges"]] == [node["cursor"] for node in found["nodes"]]


async def test_page_by_page(gateway: Gateway) -> None:
    await plug(gateway)
    await settled(gateway, await send(gateway), "DELIVERED")
    seen: list[str] = []
    after = None
    while True:
        found = await page(gateway, first=4, after=after)
        seen += [node["type"] for node in found["nodes"]]
        assert found["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert seen == ["channel.created", "channel.updated", *ROAD]
    assert await types(gateway, after=after) == []
    for first in (-1, 101):
        assert await refusal(gateway, first=first) == "BAD_USER_INPUT"
    for cursor in ("", "x", after[:-1]):
        assert await refusal(gateway, after=cursor) == "INVALID_CURSOR"
    other = gateway.token(workspace=await gateway.workspace("other"))
    assert await types(gateway, other) == []
    assert await refusal(gateway, other, after=after) == "INVALID_CURSOR"


async def test_filters_and_scopes(gateway: Gateway) -> None:
    made = await plug(gateway)
    one, two = await send(gateway), await send(gateway)
    for message_id in (one, two):
        await settled(gateway, message_id, "DELIVERED")
    for filter, expected in (
        ({"types": ["message.sent"]}, ["simulator.sent"] * 2),
        ({"types": ["simulator_sent", "channel.created"]}, ["channel.created", *["simulator.sent"] * 2]),
        ({"types": []}, []),
        ({"subjectIds": [one]}, ROAD),
        ({"subjectIds": [one, made["id"]], "types": ["*.updated", "channel.*"]}, ["channel.created", "channel.updated"]),
        ({"subjectIds": ["msg_none"]}, []),
    ):
        assert await types(gateway, filter=filter, first=100) == expected, filter
    assert await refusal(gateway, filter={"types": ["x"] * 51}) == "BAD_USER_INPUT"
    assert await refusal(gateway, filter={"subjectIds": ["x"] * 101}) == "BAD_USER_INPUT"

    assert await types(gateway, gateway.token("connectors:read"), first=100) == ["channel.created", "channel.updated"]
    assert len(await types(gateway, gateway.token("read:simulator"), first=100)) == 8
    assert await types(gateway, gateway.token("read:sms"), first=100) == []
    assert await refusal(gateway, gateway.token("send:*")) == "FORBIDDEN"
