"""Webhook subscriptions: what may be asked for, by whom, and that nothing is stored when it may not."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from delivery.webhook_events import EVENT_TYPES, FilterKey, Service
from tests import hooks, make
from tests.harness import Gateway, Json, running, settings_for

URL = "https://shop.example.com/hooks"
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
MISSING = "whs_" + "0" * 32


def written(data_dir: Path) -> bytes:
    """All that the database file holds."""
    return b"".join(path.read_bytes() for path in data_dir.glob("patchbay.db*"))


async def refused(gateway: Gateway, **input: Json) -> list[tuple[str, str, int]]:
    """Code, path and status of every error of a subscription that must not be stored."""
    before = await make.counts(gateway)
    given = {"service": "MESSAGES", "event": "*", "url": URL, **input}
    answered = await make.mutate(gateway, "webhookSubscriptionCreate", **given)
    assert (answered["webhookSubscription"], answered["signingKey"]) == (None, None)
    assert await make.counts(gateway) == before
    return [(error["code"], ".".join(error["field"]), error["httpStatus"]) for error in answered["userErrors"]]


async def test_a_subscription_is_stored_as_it_was_asked_for(gateway: Gateway) -> None:
    filters = [{"key": "MESSAGE_STATUS", "value": "sent"}, {"key": "PLATFORM_ID", "value": "twilio"}]
    made = await hooks.subscribe(gateway, URL, "Sms_Sent", eventFilters=filters, signingKey=KEY, naming="UNDERSCORE")
    assert made.pop("signingKey") == KEY
    assert await hooks.subscription(gateway, made["id"]) == made
    assert {name: made[name] for name in ("service", "event", "eventFilters", "url", "naming", "status", "statusReason")} == {
        "service": "MESSAGES",
        "event": "sms.sent",
        "eventFilters": filters,
        "url": URL,
        "naming": "UNDERSCORE",
        "status": "ACTIVE",
        "statusReason": None,
    }
    assert (made["workspaceId"], made["organizationId"]) == (gateway.demo.id, gateway.demo.organization_id)
    node = "query($id: ID!) { node(id: $id) { id ... on WebhookSubscription { event } } }"
    assert (await gateway.gql(node, id=made["id"]))["node"] == {"id": made["id"], "event": "sms.sent"}


async def test_a_signing_key_is_made_shown_once_and_kept_sealed(gateway: Gateway) -> None:
    made = await hooks.subscribe(gateway, URL)
    assert len(base64.b64decode(made["signingKey"].removeprefix("whsec_"), validate=True)) == 32
    assert "signingKey" not in json.dumps(await hooks.subscription(gateway, made["id"]))
    raw = made["signingKey"].removeprefix("whsec_").encode()
    if gateway.application.database.is_sqlite:
        stored = written(gateway.application.settings.data_dir)
        assert made["id"].encode() in stored and raw not in stored


NO_URLS = [
    "myURL.com",
    "http://shop.example.com/hooks",
    "https://localhost/hooks",
    "https://shop.example.com:8443/hooks",
    "https://user:secret@shop.example.com/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://shop..example.com/",
    "https://shop.example.com.",
    "https://shop.example.com/a b",
    "https://shop.example.com/a\nb",
    "https://shop.example.com/\x00",
    "https://shop.example.com/#part",
    "https://shop.example.com?query",
    "ftp://shop.example.com/",
    "",
    "https://shop.example.com/" + "a" * 2000,
]


async def test_urls_no_webhook_may_have(strict: Gateway) -> None:
    for url in NO_URLS:
        assert await refused(strict, url=url) == [("INVALID_WEBHOOK_URL", "input.url", 422)], url


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway as it is installed: https only, public addresses only."""
    async with running(settings_for(tmp_path, webhook_http=False, allow_private_addresses=False), worker=False) as started:
        yield started


async def test_urls_a_webhook_may_have(strict: Gateway) -> None:
    for url in ("https://a.example", "https://shop.example.com/hooks?token=1&b=%20", "https://xn--bcher-kva.example.com/@x"):
        assert (await hooks.subscribe(strict, url))["url"] == url


async def test_private_addresses_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, allow_private_addresses=False), worker=False) as gateway:
        for address in ["127.0.0.1", "[::1]", "10.1.2.3", "169.254.169.254", "[fd00::1]", "0x7f.1"]:
            assert await refused(gateway, url=f"http://{address}:8000/x") == [("INVALID_WEBHOOK_URL", "input.url", 422)]


NO_EVENTS = [
    ("MESSAGES", "sms.snet"),
    ("MESSAGES", ""),
    ("MESSAGES", "channel.created"),
    ("CHANNELS", "sms.sent"),
    ("CHANNELS", "template.*"),
    ("MESSAGES", "sms.sent "[:3] + "\x00"),
    ("NUMBERS", "Not An Event"),
    ("PAYMENTS", "a" * 61),
]


async def test_events_that_do_not_exist(gateway: Gateway) -> None:
    for service, event in NO_EVENTS:
        assert await refused(gateway, service=service, event=event) == [("VALIDATION_ERROR", "input.event", 400)]


SOME_EVENTS = [
    ("CHANNELS", "channel.created"),
    ("CHANNELS", "channel_updated"),
    ("CHANNELS", "sms.outbound"),
    ("CHANNELS", "sms.inbound"),
    ("CHANNELS", "*"),
    ("MESSAGES", "sms.*"),
    ("MESSAGES", "message.delivered"),
    ("MESSAGES", "message_failed"),
    ("NUMBERS", "number.updated"),
    ("PAYMENTS", "*"),
    ("CONVERSATIONS", "conversation.created"),
    ("TEMPLATES", "template.*"),
]


async def test_events_that_may_be_asked_for(gateway: Gateway) -> None:
    for service, event in SOME_EVENTS:
        made = await hooks.subscribe(gateway, URL, event, service)
        eventless = service in ("NUMBERS", "PAYMENTS", "CONVERSATIONS", "TEMPLATES")
        assert (made["statusReason"] is not None) == eventless


ALLOWED = {
    "CHANNELS": {"CHANNEL_ID", "PLATFORM_ID", "CHANNEL_STATUS", "INTERACTION_TYPE", "MESSAGE_STATUS", "STATUS"},
    "MESSAGES": {"CHANNEL_ID", "PLATFORM_ID", "INTERACTION_TYPE", "MESSAGE_STATUS", "STATUS"},
    "CONVERSATIONS": {"CHANNEL_ID"},
    "TEMPLATES": {"PLATFORM_ID"},
    "SENDER_IDS": {"STATUS"},
    "OPT_OUTS": {"STATUS"},
    "NUMBERS": set(FilterKey),
    "PAYMENTS": set(FilterKey),
}
VALUES = {
    "CHANNEL_ID": "chn_" + "0" * 32,
    "CHANNEL_STATUS": "active",
    "INTERACTION_TYPE": "read",
    "MESSAGE_STATUS": "DELIVERED",
}
STATUSES = {"CHANNELS": "pending", "MESSAGES": "SENT", "SENDER_IDS": "approved", "OPT_OUTS": "REMOVED"}


async def test_each_service_has_filters_of_its_own(gateway: Gateway) -> None:
    for service, key in itertools.product(ALLOWED, FilterKey):
        value = STATUSES.get(service, "anything") if key is FilterKey.STATUS else VALUES.get(key, "anything")
        filters = [{"key": key.value, "value": value}]
        if key in ALLOWED[service]:
            assert (await hooks.subscribe(gateway, URL, "*", service, eventFilters=filters))["eventFilters"] == filters
        else:
            found = await refused(gateway, service=service, eventFilters=filters)
            assert found == [("INVALID_EVENT_FILTER", "input.eventFilters.0.key", 400)]


async def test_everything_wrong_is_told_at_once(gateway: Gateway) -> None:
    filters = [
        {"key": "MESSAGE_STATUS", "value": "SENT"},
        {"key": "CHANNEL_ID", "value": "not a channel"},
        {"key": "MESSAGE_STATUS", "value": "LOST"},
        {"key": "PLATFORM_ID", "value": ""},
        {"key": "PLATFORM_ID", "value": "a\x00b"},
    ]
    assert await refused(gateway, event="x", url="nowhere", eventFilters=filters, signingKey="whsec_short") == [
        ("VALIDATION_ERROR", "input.event", 400),
        *[("INVALID_EVENT_FILTER", f"input.eventFilters.{i}.value", 400) for i in (1, 2, 3, 4)],
        ("VALIDATION_ERROR", "input.signingKey", 400),
        ("INVALID_WEBHOOK_URL", "input.url", 422),
    ]
    many = [{"key": "STATUS", "value": "SENT"}] * 21
    assert await refused(gateway, eventFilters=many) == [("INVALID_EVENT_FILTER", "input.eventFilters", 400)]


async def test_weak_signing_keys_are_refused_and_not_repeated(gateway: Gateway) -> None:
    for key in ["secret", KEY.removeprefix("whsec_"), "whsec_" + "A" * 28, "whsec_é" + "A" * 40, "whsec_" + "A" * 200]:
        answered = await make.mutate(
            gateway, "webhookSubscriptionCreate", service="MESSAGES", event="*", url=URL, signingKey=key
        )
        (error,) = answered["userErrors"]
        assert (error["code"], error["field"]) == ("VALIDATION_ERROR", ["input", "signingKey"])
        assert key not in error["message"]


async def test_who_has_events_sent_must_be_allowed_to_see_them(gateway: Gateway) -> None:
    async def scope_asked(*scopes: str, **input: Json) -> Json:
        text = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) { signingKey } }"
        answer = await gateway.post(text, {"input": {"url": URL, **input}}, gateway.token("webhooks:write", *scopes))
        return answer["errors"][0]["extensions"]["requiredScope"] if "errors" in answer else None

    sms, channels = {"service": "MESSAGES", "event": "sms.sent"}, {"service": "CHANNELS", "event": "channel.*"}
    before = await make.counts(gateway)
    assert await scope_asked(**sms) == "read:sms"
    assert await scope_asked("read:email", **sms) == "read:sms"
    assert await scope_asked("read:sms", **channels) == "connectors:read"
    assert (await scope_asked("read:sms", service="MESSAGES", event="message.sent")).startswith("read:")
    assert await make.counts(gateway) == before
    assert await scope_asked("read:sms", **sms) is None
    assert await scope_asked("connectors:read", **channels) is None
    assert await scope_asked("read:*", service="MESSAGES", event="*") is None


async def test_changes(gateway: Gateway) -> None:
    made = await hooks.subscribe(gateway, URL, "sms.sent", eventFilters=[{"key": "STATUS", "value": "SENT"}])
    changed = (await hooks.payload(gateway, "webhookSubscriptionUpdate", id=made["id"], event="email.*"))["webhookSubscription"]
    assert (changed["event"], changed["url"], len(changed["eventFilters"])) == ("email.*", URL, 1)
    off = await hooks.payload(gateway, "webhookSubscriptionUpdate", id=made["id"], status="INACTIVE", eventFilters=None)
    assert off["webhookSubscription"]["statusReason"] == "Switched off by tester."
    assert (off["webhookSubscription"]["status"], off["webhookSubscription"]["eventFilters"]) == ("INACTIVE", [])
    on = await hooks.payload(gateway, "webhookSubscriptionUpdate", id=made["id"], status="ACTIVE")
    assert (on["webhookSubscription"]["status"], on["webhookSubscription"]["statusReason"]) == ("ACTIVE", None)
    before = await hooks.subscription(gateway, made["id"])
    for input, code, field in (
        ({"event": "channel.created"}, "VALIDATION_ERROR", "event"),
        ({"url": "nowhere"}, "INVALID_WEBHOOK_URL", "url"),
        ({"eventFilters": [{"key": "NAVIGATOR_ID", "value": "x"}]}, "INVALID_EVENT_FILTER", "eventFilters.0.key"),
    ):
        ((found, path, _text),) = await make.refused(gateway, "webhookSubscriptionUpdate", id=made["id"], **input)
        assert (found, path) == (code, ["input", *field.split(".")])
    assert await hooks.subscription(gateway, made["id"]) == before


async def test_another_workspaces_subscription_is_a_missing_one(gateway: Gateway) -> None:
    made = await hooks.subscribe(gateway, URL)
    delivery = (await hooks.payload(gateway, "webhookSubscriptionTest", id=made["id"]))["delivery"]
    token = gateway.token(workspace=await gateway.workspace("elsewhere"))
    before = await make.counts(gateway)
    calls: list[tuple[str, Json]] = [
        ("webhookSubscriptionUpdate", {"id": made["id"], "event": "sms.sent"}),
        ("webhookSubscriptionDelete", {"id": made["id"]}),
        ("webhookSubscriptionTest", {"id": made["id"]}),
        ("webhookSigningKeyRotate", {"id": made["id"]}),
        ("webhookReplay", {"deliveryId": delivery["id"]}),
        ("webhookReplay", {"subscriptionId": made["id"], "since": "2026-01-01T00:00:00Z"}),
    ]
    for field, input in calls:
        theirs = await make.mutate(gateway, field, token, **input)
        missing = {name: value[:4] + "0" * 32 if value.startswith("wh") else value for name, value in input.items()}
        assert theirs == await make.mutate(gateway, field, token, **missing)
        assert [error["code"] for error in theirs["userErrors"]] == ["WEBHOOK_NOT_FOUND"]
    assert await make.counts(gateway) == before
    text = """query($s: ID!, $d: ID!) { webhookSubscription(id: $s) { id } webhookSubscriptions { totalCount }
      webhookDeliveries(filter: {subscriptionId: $s}) { totalCount } a: node(id: $s) { id } b: node(id: $d) { id } }"""
    assert await gateway.gql(text, token, s=made["id"], d=delivery["id"]) == {
        "webhookSubscription": None,
        "webhookSubscriptions": {"totalCount": 0},
        "webhookDeliveries": {"totalCount": 0},
        "a": None,
        "b": None,
    }


async def test_there_is_an_end_to_subscriptions_and_keys(gateway: Gateway) -> None:
    ids = [(await hooks.subscribe(gateway, URL))["id"] for _ in range(100)]
    assert await refused(gateway) == [("INVALID_STATE", "input", 409)]
    gone = await hooks.payload(gateway, "webhookSubscriptionDelete", id=ids[0])
    assert gone["deletedWebhookSubscriptionId"] == ids[0]
    await hooks.subscribe(gateway, URL)
    for _ in range(4):
        await hooks.payload(gateway, "webhookSigningKeyRotate", id=ids[1])
    for hours, code in ((24, "INVALID_STATE"), (-1, "VALIDATION_ERROR"), (169, "VALIDATION_ERROR")):
        ((found, path, _text),) = await make.refused(gateway, "webhookSigningKeyRotate", id=ids[1], overlapHours=hours)
        assert (found, path) == (code, ["input", "overlapHours"])
    await hooks.payload(gateway, "webhookSigningKeyRotate", id=ids[1], overlapHours=0)


async def test_the_types_of_events_have_names_scopes_and_examples(gateway: Gateway) -> None:
    text = "{ webhookEventTypes { name alias service description example } }"
    types = (await gateway.gql(text, gateway.token("members:read")))["webhookEventTypes"]
    assert len(types) == len(EVENT_TYPES) == len({(known["service"], known["name"]) for known in types})
    assert {known["service"] for known in types} <= set(Service)
    for known in types:
        assert known["alias"] == known["name"].replace(".", "_") and known["description"].endswith(".")
        assert list(known["example"]) == ["id", "cursor", "type", "occurredAt", "workspaceId", "data"]
        noun, _, verb = known["name"].partition(".")
        assert known["example"]["type"] == (f"{noun}.sent" if verb == "outbound" else known["name"])
    by_name = {known["name"]: known["example"]["data"] for known in types}
    assert list(by_name["channel.created"]) == ["identifier", "connectorId", "channelId"]
    assert by_name["sms.opt_out"]["action"] == "ADDED"
    assert by_name["sms.failed"]["failure"]["code"] == "INVALID_RECIPIENT"
