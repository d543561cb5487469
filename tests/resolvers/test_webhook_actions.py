"""Try a webhook out, change its key, replay, and watch deliveries."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from standardwebhooks import Webhook, WebhookVerificationError

from models.base import now
from models.events import Event, Floor
from models.webhook_deliveries import WebhookDelivery
from models.webhooks import WebhookSubscription
from tests import hooks, make
from tests.harness import Gateway, Json, running, settings_for
from tests.provider_server import ProviderServer, Reply


@pytest.fixture
async def quiet(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway without a worker."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


async def happen(gateway: Gateway, count: int) -> list[str]:
    """Events, one for each message nobody sends; their ids."""
    connector = await make.connector(gateway, f"C{now().timestamp()}")
    ids = [(await make.message(gateway, connectorId=connector["id"]))["id"] for _ in range(count)]
    text = "query($ids: [ID!]) { events(first: 100, filter: {subjectIds: $ids}) { nodes { id } } }"
    return [event["id"] for event in (await gateway.gql(text, ids=ids))["events"]["nodes"]]


async def test_a_test_is_answered_with_what_the_receiver_said(quiet: Gateway) -> None:
    async with ProviderServer(Reply(200, body=b"fine"), Reply(503, body=b"not now")) as receiver:
        made = await hooks.subscribe(quiet, receiver.url, naming="UNDERSCORE")
        good, bad = [(await hooks.payload(quiet, "webhookSubscriptionTest", id=made["id"]))["delivery"] for _ in range(2)]
    request = receiver.requests[0]
    body = Webhook(made["signingKey"]).verify(request.body, request.headers)
    assert body == {
        "id": good["eventId"],
        "cursor": good["cursor"],
        "type": "webhook_test",
        "occurredAt": good["createdAt"],
        "workspaceId": quiet.demo.id,
        "data": {"subscriptionId": made["id"], "service": "MESSAGES", "event": "*"},
    }
    assert (good["status"], good["eventType"], good["attempts"][0]["responseExcerpt"]) == ("DELIVERED", "webhook.test", "fine")
    assert (bad["status"], bad["statusReason"]) == ("DEAD", "The receiver answered 503.")
    assert [len(each["attempts"]) for each in (good, bad)] == [1, 1]
    found = await hooks.subscription(quiet, made["id"])
    assert (found["failingSince"], found["status"]) == (None, "ACTIVE")
    text = "query($c: String) { events(first: 1, after: $c) { nodes { type } } }"
    assert "errors" not in await quiet.post(text, {"c": good["cursor"]})


async def test_old_keys_sign_until_they_end(quiet: Gateway) -> None:
    async with ProviderServer(default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        first = made["signingKey"]
        rotated = await hooks.payload(quiet, "webhookSigningKeyRotate", id=made["id"], overlapHours=2)
        until = dt.datetime.fromisoformat(rotated["validUntilOfOldKey"])
        assert abs((until - now()).total_seconds() - 7200) < 30
        await hooks.payload(quiet, "webhookSubscriptionTest", id=made["id"])
        second = rotated["signingKey"]
        third = (await hooks.payload(quiet, "webhookSigningKeyRotate", id=made["id"], overlapHours=0))["signingKey"]
        await hooks.payload(quiet, "webhookSubscriptionTest", id=made["id"])
    both, alone = receiver.requests
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    for key in (first, second):
        Webhook(key).verify(both.body, both.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(alone.body, alone.headers)
    Webhook(third).verify(alone.body, alone.headers)
    async with quiet.application.database.write() as session:
        stored = await session.get_one(WebhookSubscription, made["id"])
        assert len(stored.signing_keys) == 1
        moved = {**stored.signing_keys[0], "id": "another"}
        await session.execute(update(WebhookSubscription).values(signing_keys=[moved]))
    (failed,) = [(await hooks.payload(quiet, "webhookSubscriptionTest", id=made["id"]))["delivery"]]
    assert failed["statusReason"] == "The signing key does not open any more; rotate it."
    assert len(receiver.requests) == 2


async def test_one_delivery_is_replayed_under_the_same_id(quiet: Gateway) -> None:
    async with ProviderServer(*[Reply(500)] * 4, default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await happen(quiet, 1)
        async with hooks.working(quiet):
            (dead,) = await hooks.standing(quiet, made["id"], "DEAD")
            assert dead["nextAttemptAt"] is None
            replayed = await hooks.payload(quiet, "webhookReplay", deliveryId=dead["id"])
            assert (replayed["replayed"], replayed["isComplete"], replayed["endCursor"]) == (1, True, None)
            (again,) = await hooks.standing(quiet, made["id"], "DELIVERED")
            await hooks.payload(quiet, "webhookReplay", deliveryId=dead["id"])
            await hooks.came(receiver, 6)
    assert [attempt["number"] for attempt in again["attempts"]] == [1, 2, 3, 4, 5]
    assert {request.headers["webhook-id"] for request in receiver.requests} == {dead["eventId"]}


async def test_a_range_is_replayed_and_filters_hold(quiet: Gateway) -> None:
    early = await happen(quiet, 2)
    text = "{ events(first: 100) { nodes { id } pageInfo { endCursor } } }"
    cursor = (await quiet.gql(text))["events"]["pageInfo"]["endCursor"]
    middle = now()
    late = await happen(quiet, 3)
    end = now()
    async with ProviderServer(default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url, "message.queued")
        async with hooks.working(quiet):

            async def replayed(**range: Json) -> list[str]:
                done = await hooks.payload(quiet, "webhookReplay", subscriptionId=made["id"], **range)
                assert done["isComplete"] and done["endCursor"]
                requests = await hooks.came(receiver, done["replayed"])
                ids = [request.headers["webhook-id"] for request in requests]
                receiver.requests.clear()
                return sorted(ids)

            assert await replayed(afterCursor=cursor) == sorted(late)
            assert await replayed(since=middle.isoformat()) == sorted(late)
            assert await replayed(since="2020-01-01T00:00:00Z", until=middle.isoformat()) == sorted(early)
            assert await replayed(since="2020-01-01T00:00:00Z") == sorted(early + late)
            assert await replayed(since=end.isoformat()) == []
    assert len(await hooks.deliveries(quiet, made["id"])) == 5


BAD: list[tuple[Json, str]] = [
    ({}, "subscriptionId"),
    ({"deliveryId": "whd_1", "subscriptionId": "whs_1"}, "subscriptionId"),
    ({"deliveryId": "whd_1", "since": "2026-01-01T00:00:00Z"}, "since"),
    ({"subscriptionId": "whs_1"}, "since"),
    ({"subscriptionId": "whs_1", "afterCursor": "x", "since": "2026-01-01T00:00:00Z"}, "since"),
    ({"subscriptionId": "whs_1", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
]


async def test_a_replay_says_what_it_is_of(quiet: Gateway) -> None:
    for input, field in BAD:
        ((code, path, _text),) = await make.refused(quiet, "webhookReplay", **input)
        assert (code, path) == ("VALIDATION_ERROR", ["input", field])
    made = await hooks.subscribe(quiet, "http://127.0.0.1:9/")
    text = "mutation($input: WebhookReplayInput!) { webhookReplay(input: $input) { replayed } }"

    async def code(**input: Json) -> str:
        answer = await quiet.post(text, {"input": {"subscriptionId": made["id"], **input}})
        return str(answer["errors"][0]["extensions"]["code"])

    assert await code(afterCursor="forged") == "INVALID_CURSOR"
    cursor = (await quiet.gql("{ events(first: 1) { pageInfo { endCursor } } }"))["events"]["pageInfo"]["endCursor"]
    await happen(quiet, 3)
    cursor = (await quiet.gql("{ events(first: 1) { pageInfo { endCursor } } }"))["events"]["pageInfo"]["endCursor"]
    async with quiet.application.database.write() as session:
        await session.execute(delete(Event).where(Event.seq <= 2))
        session.add(Floor(workspace_id=quiet.demo.id, oldest=3))
    assert await code(afterCursor=cursor) == "RESYNC_REQUIRED"
    assert await code(since="2020-01-01T00:00:00Z") == "RESYNC_REQUIRED"
    assert await hooks.deliveries(quiet) == []


async def test_what_is_not_kept_any_more_is_given_up_without_blame(quiet: Gateway) -> None:
    async with ProviderServer(default=Reply(200)) as receiver:
        made = await hooks.subscribe(quiet, receiver.url)
        await happen(quiet, 1)
        async with hooks.working(quiet):
            await hooks.standing(quiet, made["id"], "DELIVERED")
        async with quiet.application.database.write() as session:
            await session.execute(delete(Event))
            await session.execute(update(WebhookDelivery).values(finished_at=None, status="PENDING"))
        async with hooks.working(quiet):
            (delivery,) = await hooks.standing(quiet, made["id"], "DEAD")
    assert delivery["statusReason"] == "What happened is not kept any more."
    assert len(receiver.requests) == 1
    assert (await hooks.subscription(quiet, made["id"]))["failingSince"] is None


LIVE = """subscription($id: ID, $after: String) { webhookDeliveryUpdated(subscriptionId: $id, after: $after) {
  id cursor type delivery { id status eventType attempts { statusCode } subscription { id } } } }"""


async def test_deliveries_are_watched_live_and_from_a_cursor(quiet: Gateway) -> None:
    async with ProviderServer(Reply(500), default=Reply(200)) as receiver, quiet.socket() as socket:
        made = await hooks.subscribe(quiet, receiver.url)
        other = await hooks.subscribe(quiet, f"{receiver.url}/other", "sms.sent")
        live, silent = await socket.subscribe(LIVE, id=made["id"]), await socket.subscribe(LIVE, id=other["id"])
        everything = await socket.subscribe('subscription { events(filter: {types: ["webhook.*"]}) { type } }')
        await happen(quiet, 1)
        async with hooks.working(quiet):
            frames = [await live.next(), await live.next()]
            (delivery,) = await hooks.standing(quiet, made["id"], "DELIVERED")
        assert [(frame["type"], frame["delivery"]["id"]) for frame in frames] == [
            ("webhook.retrying", delivery["id"]),
            ("webhook.delivered", delivery["id"]),
        ]
        assert frames[1]["delivery"] == {
            "id": delivery["id"],
            "status": "DELIVERED",
            "eventType": "simulator.queued",
            "attempts": [{"statusCode": 500}, {"statusCode": 200}],
            "subscription": {"id": made["id"]},
        }
        resumed = await socket.subscribe(LIVE, after=frames[0]["cursor"])
        assert (await resumed.next())["id"] == frames[1]["id"]
        assert [(await everything.next())["type"] for _ in range(2)] == ["webhook.retrying", "webhook.delivered"]
        assert await silent.silent(0.1)
        async with quiet.application.database.write() as session:
            await session.execute(delete(WebhookDelivery))
        remembered = await socket.subscribe(LIVE.replace("type d", "d"), after=frames[0]["cursor"])
        frame = await remembered.next()
        assert (frame["delivery"]["status"], frame["delivery"]["attempts"]) == ("DELIVERED", [])
