"""Customers' webhooks from an event to a receiver, which does what receivers do."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from standardwebhooks import Webhook

from delivery.webhook_attempts import Policy
from models.base import now
from models.webhook_deliveries import WebhookDelivery
from models.webhooks import WebhookSubscription
from tests import hooks, make
from tests.harness import Gateway, Json, eventually, running, settings_for
from tests.provider_server import Garbage, ProviderServer, Recorded, Reply, Reset, Silence

ROAD = ["simulator.queued", "simulator.processing", "simulator.sent", "simulator.delivered"]


@pytest.fixture
async def quiet(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway without a worker: what is made waits until the test delivers it."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def queued(gateway: Gateway, count: int = 1) -> list[str]:
    """Messages that make one event each; nobody sends them."""
    ids = [(await make.message(gateway, connectorId=await _connector(gateway)))["id"] for _ in range(count)]
    return ids


async def _connector(gateway: Gateway) -> str:
    nodes = (await gateway.gql("{ connectors { nodes { id } } }"))["connectors"]["nodes"]
    return str(nodes[0]["id"]) if nodes else str((await make.connector(gateway))["id"])


async def test_every_event_of_a_message_arrives_signed_and_in_order(gateway: Gateway) -> None:
    await make.working(gateway)
    async with ProviderServer(default=Reply(204)) as receiver:
        made = await hooks.subscribe(gateway, f"{receiver.url}/hook?a=1")
        message = await make.message(gateway, clientReference="order-1", metadata={"order": 1})
        requests = await hooks.came(receiver, 4)
        found = await hooks.standing(gateway, made["id"], *["DELIVERED"] * 4)
    bodies = [Webhook(made["signingKey"]).verify(request.body, request.headers) for request in requests]
    assert [body["type"] for body in bodies] == ROAD
    assert [body["data"]["status"] for body in bodies] == ["QUEUED", "PROCESSING", "SENT", "DELIVERED"]
    for request, body, delivery in zip(requests, bodies, found, strict=True):
        assert (request.method, request.path, request.query) == ("POST", "/hook", {"a": "1"})
        assert request.headers["content-type"] == "application/json"
        assert request.headers["webhook-id"] == body["id"] == delivery["eventId"]
        assert (body["cursor"], body["type"]) == (delivery["cursor"], delivery["eventType"])
        assert body["workspaceId"] == gateway.demo.id
        told = body["data"]["message"]
        assert (told["id"], told["to"]) == (message["id"], "delivered")
        assert (told["clientReference"], told["metadata"]) == ("order-1", {"order": 1})
        assert "Hello" not in request.body.decode()
        (attempt,) = delivery["attempts"]
        assert (attempt["number"], attempt["statusCode"], attempt["error"]) == (1, 204, None)
        assert attempt["durationMs"] > 0 and delivery["nextAttemptAt"] is None and delivery["statusReason"] is None
    text = '{ events(first: 50, filter: {types: ["message.*"]}) { nodes { id cursor type } } }'
    seen = {event["id"]: event for event in (await gateway.gql(text))["events"]["nodes"]}
    assert [seen[body["id"]]["type"] for body in bodies] == ROAD


async def test_channels_are_told_of_under_either_name(gateway: Gateway) -> None:
    async with ProviderServer(default=Reply(200)) as receiver:
        await hooks.subscribe(gateway, receiver.url, "channel_*", "CHANNELS", naming="UNDERSCORE")
        connector = await make.working(gateway)
        created, updated = [request.json() for request in await hooks.came(receiver, 2)]
    assert (created["type"], updated["type"]) == ("channel_created", "channel_updated")
    ids = {"identifier": None, "connectorId": connector["id"], "channelId": connector["channel"]["id"]}
    assert created["data"] == ids
    assert updated["data"] == {
        **ids,
        "channelType": "SIMULATOR",
        "platform": "SIMULATOR",
        "ready": True,
        "reasons": [],
        "stage": "ACTIVE",
        "previousStage": "PROVISIONING",
        "status": "OK",
        "errorMessage": None,
        "cause": "provisioning",
    }


async def test_filters_are_all_to_be_met_and_one_key_may_have_several_values(gateway: Gateway) -> None:
    channel = (await make.working(gateway))["channel"]["id"]
    filters: dict[str, list[tuple[str, str]]] = {
        "ends": [("MESSAGE_STATUS", "sent"), ("MESSAGE_STATUS", "DELIVERED")],
        "channel": [("CHANNEL_ID", channel), ("STATUS", "SENT")],
        "elsewhere": [("CHANNEL_ID", "chn_" + "0" * 32), ("STATUS", "SENT")],
        "platform": [("PLATFORM_ID", "simulator"), ("INTERACTION_TYPE", "delivered")],
        "never": [("MESSAGE_STATUS", "SENT"), ("INTERACTION_TYPE", "delivered")],
        "always": [],
    }
    async with ProviderServer(default=Reply(200)) as receiver:
        for name, pairs in filters.items():
            given = [{"key": key, "value": value} for key, value in pairs]
            await hooks.subscribe(gateway, f"{receiver.url}/{name}", eventFilters=given)
        await make.message(gateway)
        requests = await hooks.came(receiver, 8)
    came: dict[str, list[str]] = {}
    for request in requests:
        came.setdefault(request.path[1:], []).append(request.json()["type"].partition(".")[2])
    assert came == {
        "ends": ["sent", "delivered"],
        "channel": ["sent"],
        "platform": ["delivered"],
        "always": ["queued", "processing", "sent", "delivered"],
    }


FAILURES: dict[str, tuple[Json, int | None, str]] = {
    "500": (Reply(500, body=b"oops"), 500, "The receiver answered 500."),
    "404": (Reply(404), 404, "The receiver answered 404."),
    "redirect": (
        Reply(302, headers={"Location": "http://127.0.0.1:1/"}),
        302,
        "The receiver answered 302: redirects are not followed.",
    ),
    "garbage": (Garbage(), None, "The receiver did not answer as HTTP does"),
    "reset": (Reset(), None, "The receiver did not answer as HTTP does"),
    "silence": (Silence(), None, "The receiver did not answer within 0.5 s."),
    "stall": (Reply(200, body=b"half", stall=True), None, "The receiver did not answer within 0.5 s."),
}


async def test_what_is_no_2xx_is_tried_again_and_written_down(quiet: Gateway) -> None:
    quiet.application.receivers._total_seconds = 0.5
    async with ProviderServer() as receiver:
        for name, (action, _status, _error) in FAILURES.items():
            receiver.on("POST", f"/{name}", action, Reply(200, body=b"thanks"))
            await hooks.subscribe(quiet, f"{receiver.url}/{name}")
        await queued(quiet)
        async with hooks.working(quiet):

            async def done() -> bool:
                return len(await hooks.deliveries(quiet, None, "DELIVERED")) == len(FAILURES)

            await eventually(done, 20)
        by_url = {s["id"]: s["url"].rpartition("/")[2] for s in await subscriptions(quiet)}
        for delivery in await hooks.deliveries(quiet):
            first, second = delivery["attempts"]
            _action, status, error = FAILURES[by_url[delivery["subscription"]["id"]]]
            assert (first["number"], first["statusCode"]) == (1, status)
            assert first["error"].startswith(error), first
            assert (second["number"], second["statusCode"], second["responseExcerpt"]) == (2, 200, "thanks")
    assert not any("127.0.0.1:1" in request.path for request in receiver.requests)


async def subscriptions(gateway: Gateway) -> list[Json]:
    found = (await gateway.gql("{ webhookSubscriptions(first: 100) { nodes { id url } } }"))["webhookSubscriptions"]
    return list(found["nodes"])


async def test_an_answer_is_kept_in_part_and_without_keys_and_recipients(quiet: Gateway) -> None:
    async with ProviderServer() as receiver:
        made = await hooks.subscribe(quiet, receiver.url)

        def echo(request: Recorded) -> Reply:
            said = f"bad signature, wanted {made['signingKey']} of {request.body.decode()}" + "x" * 100_000
            return Reply(400, body=said.encode() + b"\x00\xff")

        receiver.on("POST", "/", echo)
        await make.message(quiet, to="ada.lovelace@simulator", connectorId=await _connector(quiet))
        async with hooks.working(quiet):
            (delivery,) = await hooks.standing(quiet, made["id"], "DEAD")
    assert len(delivery["attempts"]) == 4 and delivery["statusReason"] == "The receiver answered 400."
    for attempt in delivery["attempts"]:
        assert len(attempt["responseExcerpt"]) == 500
        assert made["signingKey"][6:] not in attempt["responseExcerpt"]
        assert "ada.lovelace" not in attempt["responseExcerpt"]


async def test_retry_after_is_obeyed_and_the_receiver_left_alone_meanwhile(quiet: Gateway) -> None:
    async with ProviderServer(Reply(429, headers={"Retry-After": "1"}), default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet, 1)
        async with hooks.working(quiet):
            await hooks.came(receiver, 1)
            begun = asyncio.get_running_loop().time()
            await queued(quiet, 2)
            await hooks.standing(quiet, made["id"], *["DELIVERED"] * 3)
            assert asyncio.get_running_loop().time() - begun > 0.8
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=3600)
    date = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    async with ProviderServer(default=Reply(503, headers={"Retry-After": date})) as receiver:
        later = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet, 1)
        async with hooks.working(quiet):
            (delivery,) = await hooks.standing(quiet, later["id"], "RETRYING")
    assert abs((dt.datetime.fromisoformat(delivery["nextAttemptAt"]) - at).total_seconds()) < 5


async def test_410_switches_a_subscription_off(quiet: Gateway) -> None:
    async with ProviderServer(default=Reply(410)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet)
        async with hooks.working(quiet):
            await hooks.standing(quiet, made["id"], "DEAD")
            found = await hooks.subscription(quiet, made["id"])
            assert (found["status"], found["statusReason"]) == ("INACTIVE", "The receiver answered 410.")
            await queued(quiet)
            await asyncio.sleep(0.5)
    assert len(receiver.requests) == 1
    ((code, path, _text),) = await make.refused(quiet, "webhookReplay", deliveryId=(await hooks.deliveries(quiet))[0]["id"])
    assert (code, path) == ("INVALID_STATE", ["input", "deliveryId"])


async def test_a_receiver_that_keeps_failing_gets_one_delivery_at_a_time_until_one_arrives(quiet: Gateway) -> None:
    policy = Policy(waits=(0.05,) * 50, patience=3, rest=0.4, longest_rest=0.4, lease=dt.timedelta(seconds=0.3))
    async with ProviderServer(default=Reply(500)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet, 20)
        async with hooks.working(quiet, policy):

            async def resting() -> bool:
                return (await hooks.subscription(quiet, made["id"]))["failingSince"] is not None

            await eventually(resting)
            await asyncio.sleep(0.5)
            before = len(receiver.requests)
            await asyncio.sleep(1.5)
            assert 1 <= len(receiver.requests) - before <= 5
            receiver.default = Reply(200)
            await hooks.standing(quiet, made["id"], *["DELIVERED"] * 20)
    assert (await hooks.subscription(quiet, made["id"]))["failingSince"] is None


async def test_one_that_fails_for_long_is_switched_off_with_the_reason(quiet: Gateway) -> None:
    policy = Policy(waits=(0.05,) * 50, patience=100, disable_after=dt.timedelta(seconds=0.3))
    async with ProviderServer(default=Reply(500)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet)
        async with hooks.working(quiet, policy):

            async def off() -> bool:
                return bool((await hooks.subscription(quiet, made["id"]))["status"] == "INACTIVE")

            await eventually(off)
            await hooks.standing(quiet, made["id"], "RETRYING")
            found = await hooks.subscription(quiet, made["id"])
            assert found["statusReason"].startswith("Nothing could be delivered since ")
            assert found["statusReason"].endswith(" UTC. The receiver answered 500.")
            receiver.default = Reply(200)
            await hooks.payload(quiet, "webhookSubscriptionUpdate", id=made["id"], status="ACTIVE")
            await hooks.standing(quiet, made["id"], "DELIVERED")


async def test_order_is_kept_for_each_message_and_others_are_not_held_up(gateway: Gateway) -> None:
    await make.working(gateway)
    async with ProviderServer() as receiver:
        stuck: set[str] = set()
        came: list[tuple[str, str]] = []

        def answer(request: Recorded) -> Reply:
            body = request.json()
            subject, name = body["data"]["message"]["clientReference"], body["type"].partition(".")[2]
            if subject == "a" and name == "processing" and not stuck:
                stuck.add(subject)
                return Reply(503, headers={"Retry-After": "2"})
            came.append((subject, name))
            return Reply(200)

        receiver.on("POST", "/", answer)
        made = await hooks.subscribe(gateway, receiver.url)
        await make.message(gateway, clientReference="a")
        await eventually(lambda: _true(bool(stuck)))
        await make.message(gateway, clientReference="b")
        await hooks.standing(gateway, made["id"], *["DELIVERED"] * 8)
    verbs = ["queued", "processing", "sent", "delivered"]
    assert [name for subject, name in came if subject == "a"] == verbs
    assert [name for subject, name in came if subject == "b"] == verbs
    assert came.index(("b", "delivered")) < came.index(("a", "processing"))


async def _true(value: bool) -> bool:
    return value


async def test_a_stopped_worker_loses_nothing_and_an_event_comes_once(quiet: Gateway) -> None:
    """Two dispatchers follow the same log; one is stopped in the middle of requests and another begins."""
    async with ProviderServer(default=Reply(200, delay=0.05)) as receiver:
        made = [await hooks.subscribe(quiet, f"{receiver.url}/{n}") for n in range(3)]
        async with hooks.working(quiet):
            async with hooks.working(quiet, concurrency=5):
                await queued(quiet, 20)
                await eventually(lambda: _true(len(receiver.requests) > 10))
            await queued(quiet, 20)
        async with hooks.working(quiet):
            for each in made:
                await hooks.standing(quiet, each["id"], *["DELIVERED"] * 40)
    pairs = [(request.path, request.headers["webhook-id"]) for request in receiver.requests]
    assert len(pairs) == len(set(pairs)) == 120


async def test_what_a_dead_worker_held_is_delivered_when_its_lease_ends(quiet: Gateway) -> None:
    async with ProviderServer(Silence(), default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet)
        policy = Policy(lease=dt.timedelta(seconds=0.5))
        async with hooks.working(quiet, policy):
            await hooks.came(receiver, 1)
            async with hooks.working(quiet, policy):
                (delivery,) = await hooks.standing(quiet, made["id"], "DELIVERED")
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert [attempt["statusCode"] for attempt in delivery["attempts"]] == [200]


async def test_an_interrupted_attempt_counts_for_nothing(quiet: Gateway) -> None:
    async with ProviderServer(Silence(), default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await queued(quiet)
        async with hooks.working(quiet) as dispatcher:
            await hooks.came(receiver, 1)
            await dispatcher.stop(0.1)
            (delivery,) = await hooks.deliveries(quiet)
            assert (delivery["status"], delivery["attempts"]) == ("PENDING", [])
        async with hooks.working(quiet):
            (delivery,) = await hooks.standing(quiet, made["id"], "DELIVERED")
    assert [attempt["number"] for attempt in delivery["attempts"]] == [1]


async def test_what_waits_too_long_or_for_nobody_is_given_up_and_what_ended_is_forgotten(quiet: Gateway) -> None:
    made = [await hooks.subscribe(quiet, "http://127.0.0.1:9/") for _ in range(2)]
    await queued(quiet)
    async with hooks.working(quiet, Policy(waits=(3600,))):
        for each in made:
            await hooks.standing(quiet, each["id"], "RETRYING")
    await hooks.payload(quiet, "webhookSubscriptionDelete", id=made[0]["id"])
    async with quiet.application.database.write() as session:
        await session.execute(update(WebhookDelivery).values(queued_at=now() - dt.timedelta(days=5)))
    async with hooks.working(quiet):
        await eventually(lambda: _dead(quiet, 2))
    found = {d["statusReason"]: d["subscription"] for d in await hooks.deliveries(quiet)}
    assert found == {
        "The subscription was deleted.": None,
        "It could not be delivered in time.": {"id": made[1]["id"]},
    }
    async with quiet.application.database.write() as session:
        await session.execute(update(WebhookDelivery).values(finished_at=now() - dt.timedelta(days=31)))
    async with hooks.working(quiet, retention_days=30):

        async def none() -> bool:
            return await hooks.deliveries(quiet) == []

        await eventually(none)


async def _dead(gateway: Gateway, count: int) -> bool:
    return len(await hooks.deliveries(gateway, None, "DEAD")) == count


async def test_only_what_happens_afterwards_is_told(quiet: Gateway) -> None:
    await queued(quiet)
    async with ProviderServer(default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        (after,) = await queued(quiet)
        await hooks.payload(quiet, "webhookSubscriptionUpdate", id=made["id"], status="INACTIVE")
        await queued(quiet)
        async with hooks.working(quiet):
            await hooks.payload(quiet, "webhookSubscriptionUpdate", id=made["id"], status="ACTIVE")
            (last,) = await queued(quiet)
            requests = await hooks.came(receiver, 1)
    assert [request.json()["data"]["message"]["id"] for request in requests] == [last] != [after]
    async with quiet.read() as session:
        assert await session.scalar(select(func.count()).select_from(WebhookSubscription)) == 1


async def test_a_redacted_message_is_told_without_its_recipient(gateway: Gateway) -> None:
    await make.working(gateway)
    message = await make.message(gateway, "no-receipt")
    await make.arrived(gateway, message["id"], "SENT")
    async with ProviderServer(default=Reply(200)) as receiver:
        made = await hooks.subscribe(gateway, receiver.url, "simulator.redacted")
        text = "mutation($id: ID!) { messageDelete(input: {id: $id}) { message { id } userErrors { message } } }"
        await gateway.gql(text, id=message["id"])
        (request,) = await hooks.came(receiver, 1)
    assert made["event"] == "simulator.redacted"
    told = json.loads(request.body)["data"]["message"]
    assert (told["id"], told["to"], told["metadata"]) == (message["id"], "", None)
