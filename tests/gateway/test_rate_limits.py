"""What is limited, for whom, how it shows, and that nothing gets around it."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

from gateway.settings import Settings
from resolvers.windows import Rate
from tests import hooks, lab, make
from tests.harness import Gateway, process, running, settings_for
from tests.provider_server import ProviderServer

Json = Any
CREATE = """mutation($name: String!) { connectorCreate(input: {name: $name, config: {simulator: {}}}) {
  connector { id } userErrors { code } } }"""
LIMITS = "{ rateLimits { name limit windowSeconds remaining resetAt } }"


def test_the_limits_nobody_has_changed() -> None:
    assert {name: str(rate) for name, rate in Settings(jwt_secret="x" * 32).rates.items()} == {
        "requests": "12000/60",
        "connectors": "100/60",
        "connectorCreate": "10/3600",
        "connectorTest": "10/3600",
        "connectorUpdate": "300/3600",
        "connectorVerify": "60/3600",
        "connectorDelete": "300/3600",
        "apiKeyCreate": "30/3600",
        "senderIdTest": "10/3600",
        "webhookSubscriptionTest": "60/3600",
    }


async def posted(gateway: Gateway, query: str, token: str, **variables: Json) -> tuple[int, Json, str | None]:
    """Status, body and Retry-After of an answer."""
    headers = {"authorization": f"Bearer {token}"}
    body = {"query": query, "variables": variables}
    async with gateway.http.post(f"{gateway.url}/graphql", json=body, headers=headers) as response:
        return response.status, await response.json(), response.headers.get("retry-after")


async def test_the_eleventh_connector_within_the_hour_is_refused_by_every_process(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, rate_limit_connector_create="10/3600")
    async with running(settings) as here, process(settings, worker=False) as there:
        token = here.token()
        asked = [(here, there)[i % 2].post(CREATE, {"name": f"c{i}"}, token) for i in range(16)]
        answers = await asyncio.gather(*asked)
        refused = [answer for answer in answers if "errors" in answer]
        assert len(refused) == 6 and (await make.counts(here))["connector"] == 10
        for gateway in (here, there):
            status, answer, retry_after = await posted(gateway, CREATE, token, name="late")
            (error,) = answer["errors"]
            told = error["extensions"]
            resets_at = dt.datetime.fromisoformat(told["resetAt"])
            assert (status, answer["data"], error["path"]) == (200, {"connectorCreate": None}, ["connectorCreate"])
            assert (told["code"], told["httpStatus"], told["name"]) == ("RATE_LIMITED", 429, "connectorCreate")
            assert (told["limit"], told["window"], told["remaining"]) == (10, 3600, 0)
            left = (resets_at - dt.datetime.now(dt.UTC)).total_seconds()
            assert 3500 < left <= 3600 and abs(told["retryAfter"] - left) < 10 and retry_after == str(told["retryAfter"])
            assert (await make.counts(gateway))["connector"] == 10
        assert (await here.post(CREATE, {"name": "other"}, here.token(workspace=await here.workspace("elsewhere"))))["data"]


async def test_aliases_do_not_get_around_it(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_connector_create="3/60")) as gateway:
        one = 'connectorCreate(input: {name: "n%d", config: {simulator: {}}}) { connector { id } }'
        aliases = " ".join(f"a{i}: {one % i}" for i in range(5))
        answer = await gateway.post(f"mutation {{ {aliases} }}")
        assert [name for name, made in answer["data"].items() if made is None] == ["a3", "a4"]
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"RATE_LIMITED"}
        assert (await make.counts(gateway))["connector"] == 3


async def test_an_upsert_that_makes_one_counts_and_one_that_changes_one_does_not(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_connector_create="1/3600")) as gateway:
        for _ in range(3):
            payload = await make.mutate(gateway, "connectorUpsert", name="Sim", config={"simulator": {}})
            assert payload["userErrors"] == []
        text = 'mutation { connectorUpsert(input: {name: "Other", config: {simulator: {}}}) { created } }'
        (error,) = (await gateway.post(text))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["name"]) == ("RATE_LIMITED", "connectorCreate")
        assert (await make.counts(gateway))["connector"] == 1


async def test_a_refused_test_sends_nothing(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_connector_test="2/3600")) as gateway, ProviderServer() as provider:
        made = await make.connector(gateway, config=make.telegram(provider.url))
        await make.settled(gateway, made["id"])
        text = 'mutation($id: ID!) { connectorTest(input: {id: $id, testDestination: "1"}) { success } }'
        for _ in range(2):
            assert "errors" not in await gateway.post(text, {"id": made["id"]})
        sent = len(provider.requests)
        (error,) = (await gateway.post(text, {"id": made["id"]}))["errors"]
        assert (error["extensions"]["name"], len(provider.requests)) == ("connectorTest", sent)


async def test_a_refused_test_of_a_sender_id_sends_nothing(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_sender_id_test="1/3600")) as gateway, lab.Twilio() as twilio:
        await lab.verified(gateway, "Twilio", twilio.config)
        text = """mutation($id: ID!) {
          senderIdTest(input: {id: $id, testDestination: "+15005550006"}) { success userErrors { message } } }"""
        tried = (await gateway.gql(text, id=lab.SENDER))["senderIdTest"]
        assert tried == {"success": True, "userErrors": []}
        (error,) = (await gateway.post(text, {"id": lab.SENDER}))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["name"]) == ("RATE_LIMITED", "senderIdTest")
        assert len(twilio.arrivals) == 1


async def test_a_refused_test_of_a_webhook_calls_nobody(tmp_path: Path) -> None:
    given = {"rate_limit_webhook_subscription_test": "1/3600"}
    async with running(settings_for(tmp_path, **given)) as gateway, ProviderServer() as receiver:
        made = await hooks.subscribe(gateway, f"{receiver.url}/hook")
        await hooks.payload(gateway, "webhookSubscriptionTest", id=made["id"])
        text = "mutation($id: ID!) { webhookSubscriptionTest(input: {id: $id}) { delivery { id } } }"
        (error,) = (await gateway.post(text, {"id": made["id"]}))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["name"]) == ("RATE_LIMITED", "webhookSubscriptionTest")
        assert len(receiver.requests) == 1 and len(await hooks.deliveries(gateway, made["id"])) == 1


async def test_the_list_of_connectors_is_limited_by_the_minute(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_connectors="2/60")) as gateway:
        answer = await gateway.post(
            "{ a: connectors { totalCount } b: connectors { totalCount } c: connectors { totalCount } }"
        )
        assert sorted(str(value) for value in answer["data"].values()) == ["None", "{'totalCount': 0}", "{'totalCount': 0}"]
        (error,) = answer["errors"]
        assert (error["extensions"]["limit"], error["extensions"]["window"]) == (2, 60)
        other = gateway.token(workspace=await gateway.workspace("elsewhere"))
        assert "errors" not in await gateway.post("{ connectors { totalCount } }", token=other)


async def test_all_requests_together_are_limited_before_they_are_run(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_requests="5/60")) as gateway:
        token = gateway.token()
        three = "{ a: viewer { subject } b: viewer { subject } ... on Query { c: viewer { subject } } }"
        assert (await posted(gateway, three, token))[0] == 200
        status, answer, retry_after = await posted(gateway, three, token)
        (error,) = answer["errors"]
        assert (status, "data" in answer, error["extensions"]["code"]) == (429, False, "RATE_LIMITED")
        assert (error["extensions"]["remaining"], retry_after) == (2, str(error["extensions"]["retryAfter"]))
        async with gateway.socket(token) as socket:
            frame = await (await socket.subscribe(three)).frame()
            assert (frame["type"], frame["payload"][0]["extensions"]["name"]) == ("error", "requests")
            frame = await (await socket.subscribe("{ a: viewer { subject } b: viewer { subject } }")).frame()
            assert frame["type"] == "next"


async def test_a_viewer_is_told_how_they_stand(tmp_path: Path) -> None:
    given = {"rate_limit_connector_create": "3/3600", "rate_limit_connectors": "7/60", "rate_limit_requests": "100/60"}
    async with running(settings_for(tmp_path, **given)) as gateway:
        await make.connector(gateway)
        await gateway.gql("{ connectors { totalCount } }")
        asked = dt.datetime.now(dt.UTC)
        limits = {limit["name"]: limit for limit in (await gateway.gql(LIMITS))["rateLimits"]}
        assert list(limits) == list(gateway.application.settings.rates)
        stands = {name: (limit["limit"], limit["windowSeconds"], limit["remaining"]) for name, limit in limits.items()}
        assert stands["connectorCreate"] == (3, 3600, 2) and stands["connectors"] == (7, 60, 6)
        assert stands["requests"] == (100, 60, 97) and stands["apiKeyCreate"] == (1_000_000, 1, 1_000_000)
        assert asked < dt.datetime.fromisoformat(limits["connectorCreate"]["resetAt"]) <= asked + dt.timedelta(seconds=3600)
        _, key = await make.api_key(gateway)
        theirs = {limit["name"]: limit["remaining"] for limit in (await gateway.gql(LIMITS, key))["rateLimits"]}
        assert (theirs["connectorCreate"], theirs["requests"]) == (3, 99)


async def test_a_window_that_is_over_begins_anew(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, rate_limit_connector_create="1/1")) as gateway:
        await make.connector(gateway, "First")
        await asyncio.sleep(1.1)
        await make.connector(gateway, "Second")


def test_a_rate_is_a_rate() -> None:
    assert Settings(jwt_secret="x" * 32, rate_limit_connectors="5/10").rates["connectors"] == Rate(5, 10)
