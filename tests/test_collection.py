"""The importable collection is what the examples are, and its requests work as they are imported."""

from __future__ import annotations

import json

from tests.collection import COLLECTION, EXAMPLES, collection, render
from tests.harness import Gateway


def test_it_is_current() -> None:
    assert COLLECTION.read_text() == render(), "run make collection"


def test_it_has_every_example_with_its_variables() -> None:
    items = collection()["item"]
    assert [item["name"] for item in items] == [path.stem for path in sorted(EXAMPLES.glob("*.graphql"))]
    for item in items:
        assert item["request"]["description"], item["name"]
        assert isinstance(json.loads(item["request"]["body"]["graphql"]["variables"]), dict)


async def test_a_request_works_as_a_client_sends_it(gateway: Gateway) -> None:
    items = {item["name"]: item["request"] for item in collection()["item"]}
    for name in ("01-who-am-i", "webhook-event-types"):
        body = items[name]["body"]["graphql"]
        given = {"query": body["query"], "variables": json.loads(body["variables"])}
        url = items[name]["url"]["raw"].replace("{{url}}", gateway.url)
        headers = {"authorization": f"Bearer {gateway.token()}"}
        async with gateway.http.request(items[name]["method"], url, json=given, headers=headers) as response:
            answer = await response.json()
        assert "errors" not in answer and answer["data"]
