"""What an operation costs, told to whom asks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schema.complexity import Limits
from tests.harness import Gateway

Json = Any
TEXT = "query($n: Int) { connectors(first: $n) { nodes { id number: name } } viewer { subject } }"


async def asked(gateway: Gateway, extensions: Json, query: str = TEXT, **variables: Json) -> Json:
    headers = {"authorization": f"Bearer {gateway.token()}"}
    request = {"query": query, "variables": variables, "extensions": extensions}
    async with gateway.http.post(f"{gateway.url}/graphql", json=request, headers=headers) as response:
        return await response.json()


async def test_cost_limits_and_what_is_left(gateway: Gateway) -> None:
    told = (await asked(gateway, {"cost": True}, n=50))["extensions"]
    used = {"depth": 3, "introspectionDepth": 0, "rootFields": 2, "fields": 6, "aliases": 1, "directives": 0, "cost": 153}
    assert told["cost"]["used"] == used
    limits, known = told["cost"]["limits"], Limits()
    assert (limits["cost"], limits["depth"], limits["rootFields"]) == (known.cost, known.depth, known.root_fields)
    assert set(limits) == set(used)
    again = (await asked(gateway, {"cost": True}, n=1))["extensions"]
    assert again["cost"]["used"]["cost"] < used["cost"]
    (before,), (after,) = ([rate for rate in each["rateLimits"] if rate["name"] == "requests"] for each in (told, again))
    assert before["remaining"] - after["remaining"] == 2
    assert set(after) == {"name", "limit", "window", "remaining", "resetAt"}
    assert after["resetAt"].endswith("Z")
    listed = (await gateway.gql("{ rateLimits { name limit windowSeconds } }"))["rateLimits"]
    assert [(rate["name"], rate["limit"], rate["window"]) for rate in told["rateLimits"]] == [
        tuple(rate.values()) for rate in listed
    ]


@pytest.mark.parametrize("extensions", [None, {}, {"cost": False}, {"cost": "true"}, {"other": True}])
async def test_nothing_is_told_unasked(gateway: Gateway, extensions: Json) -> None:
    assert set(await asked(gateway, extensions)) == {"data"}


async def test_an_operation_that_fails_has_its_cost(gateway: Gateway) -> None:
    answer = await asked(gateway, {"cost": True}, '{ connectors(after: "forged") { nodes { id } } }')
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_CURSOR"
    assert answer["extensions"]["cost"]["used"]["cost"] == 21
    answer = await asked(gateway, {"cost": True}, n="many")
    assert "data" not in answer
    assert answer["extensions"]["cost"]["used"]["rootFields"] == 2


async def test_over_a_socket(gateway: Gateway) -> None:
    async with gateway.socket() as socket:
        payload = {"query": 'mutation { connectorVerify(input: {id: "con_x"}) { userErrors { code } } }'}
        stream = await socket.subscribe(TEXT)
        assert "extensions" not in (await stream.frame())["payload"]
        asking = json.dumps({"id": "s0", "type": "subscribe", "payload": {**payload, "extensions": {"cost": True}}})
        assert (await stream.frame())["type"] == "complete"
        await socket.connection.send(asking)
        told = (await stream.frame())["payload"]["extensions"]
        assert (told["cost"]["used"]["depth"], bool(told["rateLimits"])) == (3, True)
