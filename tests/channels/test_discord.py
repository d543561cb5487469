from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, Inbound, Media, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.discord import Discord
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, Reset, open_wire
from tests.verifiers import golden, prism

TOKEN = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
CHANNEL, PERSON, SENT_ID = "123456789012345678", "223456789012345678", "323456789012345678"
HOOK = "/api/webhooks/423456789012345678/abcdefghijklmnopqrstuvwxyz-0123456789"
SECRET = HOOK.rpartition("/")[2]
TEXT = "Your code is 123456"
ID = "msg_0190f3c4a5b67000a1b2c3d4e5f60718"
SENT = {"id": SENT_ID, "channel_id": CHANNEL, "content": TEXT}
QUIET = {"content": TEXT, "allowed_mentions": {"parse": []}}
ONCE = {"nonce": ID[-25:], "enforce_nonce": True}
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def bot(url: str = "https://discord.com/api/v10", **changes: Any) -> Discord:
    return Discord.model_validate({"botToken": TOKEN, "baseUrl": url, **changes})


def hook(url: str = "https://discord.com", **changes: Any) -> Discord:
    return Discord.model_validate({"webhookUrl": f"{url}{HOOK}", **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": ID, "to": CHANNEL, "body": TEXT, **changes})


def refused(status: int, code: int = 0, text: str = "no", **more: Any) -> Reply:
    return Reply(status, {"code": code, "message": text, **more})


RECORDED = Recorded(
    "discord",
    {
        "botToken": "MTk4NjIyNDgz.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",
        "publicKey": "0000000000000000000000000000000000000000000000000000000000000000",
    },
    "discord",
    "publicKey",
)
SAMPLE = Sample(bot, (TOKEN,), CHANNEL, Reply(200, SENT), limit=2000, recorded=RECORDED)


async def failure(channel: Discord, wire: Wire, to: str = CHANNEL) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(to=to), Exchange(channel.secrets(), (TEXT,)))
    return caught.value


async def test_a_bot_writes_to_a_channel_once_and_pings_nobody(provider: ProviderServer, wire: Wire) -> None:
    assert await bot(provider.url).send(wire, message(), Exchange()) == Accepted(f"{CHANNEL}:{SENT_ID}")
    [request] = provider.requests
    assert (request.method, request.path) == ("POST", f"/channels/{CHANNEL}/messages")
    assert request.headers["authorization"] == f"Bot {TOKEN}"
    assert request.headers["user-agent"].startswith("DiscordBot (")
    assert request.json() == {**QUIET, **ONCE}


async def test_with_a_person_a_channel_is_opened_first(provider: ProviderServer, wire: Wire) -> None:
    provider.on("POST", "/users/@me/channels", Reply(200, {"id": CHANNEL}))
    await bot(provider.url).send(wire, message(to=f"user:{PERSON}"), Exchange())
    opening, sending = provider.requests
    assert opening.json() == {"recipient_id": PERSON}
    assert sending.path == f"/channels/{CHANNEL}/messages"


@pytest.mark.parametrize(
    ("answer", "code"),
    [(Reply(500), "PROVIDER_ERROR"), (Reply(200, {"id": "x"}), "ANSWER_UNREADABLE"), (Reset(), "ANSWER_LOST")],
)
async def test_a_channel_that_does_not_open_leaves_nothing_open_about_the_message(
    provider: ProviderServer, wire: Wire, answer: Any, code: str
) -> None:
    provider.on("POST", "/users/@me/channels", answer)
    error = await failure(bot(provider.url), wire, f"user:{PERSON}")
    assert (error.kind, error.code, len(provider.requests)) == (FailureKind.TRANSIENT, code, 1)


@pytest.mark.parametrize(("to", "query"), [("webhook", {"wait": "true"}), (CHANNEL, {"wait": "true", "thread_id": CHANNEL})])
async def test_a_webhook_writes_to_its_channel_or_a_thread(
    provider: ProviderServer, wire: Wire, to: str, query: dict[str, str]
) -> None:
    exchange = Exchange(hook(provider.url).secrets(), (TEXT,))
    await hook(provider.url).send(wire, message(to=to), exchange)
    [request] = provider.requests
    assert (request.path, request.query, request.json()) == (HOOK, query, QUIET)
    assert "authorization" not in request.headers
    assert SECRET not in repr(exchange.record) and TEXT not in repr(exchange.record)


async def test_pictures_are_shown_by_their_address(provider: ProviderServer, wire: Wire) -> None:
    media = (Media("https://f.example/a.png"), Media("https://f.example/b.png"))
    await bot(provider.url).send(wire, message(body=None, media=media), Exchange())
    embeds = [{"image": {"url": item.url}} for item in media]
    assert provider.requests[0].json() == {"embeds": embeds, "allowed_mentions": {"parse": []}, **ONCE}


@pytest.mark.parametrize(
    ("reply", "kind", "code", "wait"),
    [
        (refused(401, 0, "401: Unauthorized"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (refused(403, 50001), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(403, 50013), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(403, 50007), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(404, 10003), FailureKind.RECIPIENT, "INVALID_RECIPIENT", None),
        (refused(404, 10015), FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND", None),
        (refused(400, 50035, errors={}), FailureKind.CONTENT, "REJECTED", None),
        (refused(400, 50006), FailureKind.CONTENT, "EMPTY_MESSAGE", None),
        (refused(400, 20016), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (Reply(429, {"message": "slow", "retry_after": 0.3, "global": False}), FailureKind.THROTTLED, "RATE_LIMITED", 0.3),
        (Reply(429, headers={"Retry-After": "2"}), FailureKind.THROTTLED, "RATE_LIMITED", 2.0),
        (Reply(429, {"retry_after": "soon"}, headers={"Retry-After": "2"}), FailureKind.THROTTLED, "RATE_LIMITED", 2.0),
        (refused(500, 130000), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (Reply(502), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(503), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (Reply(200, {}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", None),
        (Reply(204), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", None),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str, wait: float | None
) -> None:
    provider.answer(reply)
    error = await failure(bot(provider.url), wire)
    assert (error.kind, error.code, error.retry_after) == (kind, code, wait)


@pytest.mark.parametrize("to", [CHANNEL, f"user:{PERSON}"])
def test_whom_a_bot_can_write_to(to: str) -> None:
    assert bot().destination(to) == to


@pytest.mark.parametrize("to", ["", "webhook", "#general", "12345", "user:me", f"{CHANNEL}\n", "+447700900123"])
def test_whom_it_cannot(to: str) -> None:
    with pytest.raises(ValueError, match=r"^A Discord recipient is"):
        bot().destination(to)
    if to != "webhook":
        with pytest.raises(ValueError, match=r"^A recipient through a Discord webhook is"):
            hook().destination(to)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": "x" * 2001}, "TEXT_TOO_LONG"),
        ({"body": None}, "EMPTY_MESSAGE"),
        ({"template": {"name": "x"}}, "UNSUPPORTED_CONTENT"),
        ({"media": (Media("https://f.example/a"),) * 11}, "TOO_MANY_MEDIA"),
    ],
)
async def test_what_it_cannot_carry_is_refused_unsent(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(SendError) as caught:
        await bot(provider.url).send(wire, message(**changes), Exchange())
    assert (caught.value.kind, caught.value.code, provider.connections) == (FailureKind.CONTENT, code, 0)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"botToken": TOKEN, "webhookUrl": f"https://discord.com{HOOK}"},
        {"webhookUrl": "https://discord.com/api/webhooks/1"},
        {"webhookUrl": f"https://discord.com{HOOK}?wait=true"},
        {"botToken": TOKEN, "publicKey": "xyz"},
    ],
)
def test_a_configuration_that_cannot_be(config: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Discord.model_validate(config)
    assert TOKEN not in str(caught.value) and SECRET not in str(caught.value)


# ─── verification


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"id": PERSON, "username": "gw", "bot": True}), CheckStatus.OK),
        (Reply(200, {"id": PERSON, "username": "ada"}), CheckStatus.ERROR),
        (Reply(200, []), CheckStatus.INDETERMINATE),
        (refused(401), CheckStatus.ERROR),
        (Reply(503), CheckStatus.INDETERMINATE),
    ],
)
async def test_verification_asks_whose_token_it_is(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", "/users/@me", answer)
    [check] = await bot(provider.url).verify(wire)
    assert (check.name, check.status) == ("token", status)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Reply(200, {"id": PERSON, "name": "Alerts"}), CheckStatus.OK), (refused(404, 10015), CheckStatus.ERROR)],
)
async def test_verification_looks_for_the_webhook(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", HOOK, answer)
    [check] = await hook(provider.url).verify(wire)
    assert (check.name, check.status) == ("webhook", status)
    assert SECRET not in repr(check)


# ─── what comes in

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def called(body: dict[str, Any], seconds: float | None = None, **headers: str) -> Callback:
    raw = orjson.dumps(body)
    timestamp = str(int(AT.timestamp() if seconds is None else seconds))
    signed = {"x-signature-timestamp": timestamp, "x-signature-ed25519": KEY.sign(timestamp.encode() + raw).hex()}
    return Callback("POST", "https://gw.example/hook", {**signed, **headers}, raw, AT)


def test_a_ping_is_answered() -> None:
    channel, callback = bot(publicKey=PUBLIC), called({"type": 1, "id": "1"})
    channel.authenticate(callback)
    received = channel.receive(callback)
    assert (received.inbounds, received.reply.body) == ((), b'{"type":1}')


def test_commands_and_buttons_are_messages_to_us() -> None:
    channel, who = bot(publicKey=PUBLIC), {"id": PERSON, "username": "ada"}
    command = {"name": "stop", "options": [{"name": "why", "type": 3, "value": "too many"}]}
    common = {"id": SENT_ID, "channel_id": CHANNEL}
    [said] = channel.receive(called({**common, "type": 2, "member": {"user": who}, "data": command})).inbounds
    sender, at = f"user:{PERSON}", AT
    assert said == Inbound(
        event_id=SENT_ID, sender=sender, occurred_at=at, to=CHANNEL, text="stop too many", kind="command", provider_id=SENT_ID
    )
    pressed = channel.receive(called({**common, "type": 3, "user": who, "data": {"custom_id": "yes"}}))
    assert (pressed.inbounds[0].kind, pressed.inbounds[0].payload, pressed.inbounds[0].text) == ("button", "yes", None)
    assert pressed.reply.body == b'{"type":6}'
    assert bot().destination(sender) == sender
    assert channel.receive(called({"type": 9})).inbounds == ()


@pytest.mark.parametrize(
    ("callback", "refusal"),
    [
        (called({"type": 1}, **{"x-signature-ed25519": "00" * 64}), Refusal.NOT_AUTHENTIC),
        (called({"type": 1}, **{"x-signature-ed25519": "zz"}), Refusal.NOT_AUTHENTIC),
        (called({"type": 1}, **{"x-signature-timestamp": "1"}), Refusal.NOT_AUTHENTIC),
        (called({"type": 1}, seconds=1), Refusal.STALE),
    ],
)
def test_what_discord_did_not_sign_is_refused(callback: Callback, refusal: Refusal) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        bot(publicKey=PUBLIC).authenticate(callback)
    assert error.value.refusal is refusal
    with pytest.raises(CallbackRefusedError) as off:
        bot().authenticate(callback)
    assert off.value.refusal is Refusal.NOT_ENABLED


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_request_is_what_a_discord_library_sends(provider: ProviderServer, wire: Wire) -> None:
    [sent] = golden("requests.json")["discord.bot"]
    await bot(f"{provider.url}/api/v10").send(wire, message(), Exchange())
    [said] = provider.requests
    assert (said.method, said.path) == (sent["method"], sent["path"])
    assert said.headers["authorization"].split()[0] == sent["headers"]["authorization"].split()[0]
    assert said.json()["content"] == sent["body"]["content"]


@pytest.mark.verifier
async def test_discords_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("discord") as url, open_wire() as wire:
        channel = bot(f"{url}/api/v10")
        for right in (message(), message(to=f"user:{PERSON}"), message(media=(Media("https://f.example/a.png"),))):
            assert (await channel.send(wire, right, Exchange())).provider_id is not None
        [check] = await channel.verify(wire)
        assert check.status in (CheckStatus.OK, CheckStatus.ERROR)  # the mock's user may be a person
        webhook = Discord.model_validate({"webhookUrl": f"{url}{HOOK.replace('/api/', '/api/v10/')}"})
        assert (await webhook.send(wire, message(to="webhook"), Exchange())).provider_id is not None
        with pytest.raises(SendError):
            await channel.send(wire, message(to="no-snowflake"), Exchange())
