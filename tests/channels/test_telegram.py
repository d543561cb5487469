from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Media, Outbound
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.telegram import TelegramBot
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import Garbage, ProviderServer, Reply, Reset, Silence, open_wire, patience
from tests.verifiers import golden, prism

TOKEN = "1234567890:ABCdefGHIjklMNOpqrsTUVwxyz012345678"
SECRET = TOKEN.partition(":")[2]
TEXT = "Your code is 123456"
SENT = {"ok": True, "result": {"message_id": 42, "chat": {"id": 1234, "type": "private"}, "text": TEXT}}


def bot(url: str = "https://api.telegram.org") -> TelegramBot:
    return TelegramBot.model_validate({"botToken": TOKEN, "baseUrl": url})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": "1234", "body": TEXT, **changes})


def refused(code: int, description: str = "", parameters: Any = None, **headers: str) -> Reply:
    said = {"ok": False, "error_code": code, "description": description, "parameters": parameters}
    return Reply(code, said, headers={name.replace("_", "-"): value for name, value in headers.items()})


RECORDED = Recorded("telegram", {"botToken": "1234567890:ABCdefGHIjklMNOpqrsTUVwxyz012345678"})
SAMPLE = Sample(bot, (TOKEN, SECRET), "1234", Reply(200, SENT), limit=4096, recorded=RECORDED)


async def failure(channel: TelegramBot, wire: Wire, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(), exchange or Exchange(channel.secrets(), (TEXT,)))
    return caught.value


@pytest.mark.parametrize(
    ("changes", "method", "content"),
    [
        ({}, "sendMessage", {"chat_id": 1234, "text": TEXT}),
        ({"to": "-1001234567890"}, "sendMessage", {"chat_id": -1001234567890, "text": TEXT}),
        ({"to": "@channel"}, "sendMessage", {"chat_id": "@channel", "text": TEXT}),
        ({"flow": "OTP"}, "sendMessage", {"chat_id": 1234, "text": TEXT, "protect_content": True}),
        (
            {"media": (Media("https://f.example/a.JPG?x=1"),)},
            "sendPhoto",
            {"chat_id": 1234, "photo": "https://f.example/a.JPG?x=1", "caption": TEXT},
        ),
        (
            {"media": (Media("https://f.example/a", "image/png; x=y"),), "body": None, "flow": "OTP"},
            "sendPhoto",
            {"chat_id": 1234, "photo": "https://f.example/a", "protect_content": True},
        ),
        (
            {"media": (Media("https://f.example/a.pdf"),), "body": None},
            "sendDocument",
            {"chat_id": 1234, "document": "https://f.example/a.pdf"},
        ),
        (
            {"media": (Media("https://f.example/a.jpg", "image/gif"),), "body": None},
            "sendDocument",
            {"chat_id": 1234, "document": "https://f.example/a.jpg"},
        ),
        ({"subject": "Hi", "html": "<b>x</b>"}, "sendMessage", {"chat_id": 1234, "text": TEXT}),
    ],
)
async def test_a_message_becomes_the_method_that_carries_it(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], method: str, content: dict[str, Any]
) -> None:
    assert await bot(provider.url).send(wire, message(**changes), Exchange()) == Accepted("1234:42", DeliveryStatus.SENT)
    [request] = provider.requests
    assert (request.method, request.path, request.json()) == ("POST", f"/bot{TOKEN}/{method}", content)


@pytest.mark.parametrize(
    ("reply", "kind", "code", "wait"),
    [
        (refused(400, "Bad Request: chat not found"), FailureKind.RECIPIENT, "INVALID_RECIPIENT", None),
        (refused(400, "Bad Request: PEER_ID_INVALID"), FailureKind.RECIPIENT, "INVALID_RECIPIENT", None),
        (refused(400, "Bad Request: not enough rights to send"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(400, "Bad Request: have no rights to send"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(400, "Bad Request: message is too long"), FailureKind.CONTENT, "TEXT_TOO_LONG", None),
        (refused(400, "Bad Request: can't parse entities"), FailureKind.CONTENT, "INVALID_TEXT", None),
        (refused(400, "Bad Request: failed to get HTTP URL content"), FailureKind.CONTENT, "INVALID_MEDIA", None),
        (refused(400, "Bad Request: something new"), FailureKind.CONTENT, "REJECTED", None),
        (refused(401, "Unauthorized"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (refused(404, "Not Found"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (refused(409, "Conflict: can't use getUpdates"), FailureKind.CONFIGURATION, "CONFLICT", None),
        (refused(403, "Forbidden: bot was blocked by the user"), FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT", None),
        (refused(403, "Forbidden: bot was kicked from the group"), FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT", None),
        (refused(403, "Forbidden: user is deactivated"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(403, "Forbidden: something new"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(429, "Too Many Requests", {"retry_after": 5}, Retry_After="6"), FailureKind.THROTTLED, "RATE_LIMITED", 5.0),
        (refused(429, "Too Many Requests", Retry_After="6"), FailureKind.THROTTLED, "RATE_LIMITED", 6.0),
        (refused(429, "Too Many Requests", {"retry_after": 10**9}), FailureKind.THROTTLED, "RATE_LIMITED", 3600.0),
        (refused(429, "Too Many Requests", {"retry_after": -1}), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(429, "Too Many Requests", {"retry_after": "soon"}), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(429, "Too Many Requests", [1]), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(500, "Internal Server Error"), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(502, "Bad Gateway"), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(418, "I'm a teapot"), FailureKind.CONTENT, "REJECTED", None),
        (
            Reply(200, {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
            FailureKind.RECIPIENT,
            "RECIPIENT_OPTED_OUT",
            None,
        ),
        (Reply(502, body=b"<html>Bad Gateway"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(504), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(503), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (Reply(429, headers={"Retry-After": "3"}), FailureKind.THROTTLED, "RATE_LIMITED", 3.0),
        (Reply(301, headers={"Location": "https://x.example"}), FailureKind.CONFIGURATION, "UNEXPECTED_REDIRECT", None),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str, wait: float | None
) -> None:
    provider.answer(reply)
    error = await failure(bot(provider.url), wire)
    assert (error.kind, error.code, error.retry_after) == (kind, code, wait)
    if reply.json:
        assert (error.provider_code, error.provider_message) == (str(reply.json["error_code"]), reply.json["description"])
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 5000,
        b'{"ok": true}',
        b'{"ok": true, "result": true}',
        b'{"ok": true, "result": {"message_id": "42", "chat": {"id": 1}}}',
        b'{"ok": true, "result": {"message_id": -1, "chat": {"id": 1}}}',
        b'{"ok": true, "result": {"message_id": 42}}',
        b'{"ok": true, "result": {"message_id": 42, "chat": {"id": 1e40}}}',
        b'{"ok": false}',
        b'{"ok": false, "error_code": "403"}',
        b'{"ok": false, "error_code": 99999}',
    ],
)
async def test_a_success_that_names_no_message_is_an_unknown_outcome(provider: ProviderServer, wire: Wire, body: bytes) -> None:
    provider.answer(Reply(200, body=body))
    error = await failure(bot(provider.url), wire)
    assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE")


async def test_a_group_that_became_a_supergroup_is_followed_once(provider: ProviderServer, wire: Wire) -> None:
    moved = refused(400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": -100777})
    provider.answer(moved, Reply(200, {"ok": True, "result": {"message_id": 1, "chat": {"id": -100777}}}))
    exchange = Exchange()
    accepted = await bot(provider.url).send(wire, message(to="-5"), exchange)
    assert accepted == Accepted("-100777:1", DeliveryStatus.SENT, None, "The chat has the new number -100777.")
    assert [request.json() for request in provider.requests] == [
        {"chat_id": -5, "text": TEXT},
        {"chat_id": -100777, "text": TEXT},
    ]
    assert exchange.record["migratedTo"] == -100777

    provider.answer(moved, moved)
    error = await failure(bot(provider.url), wire)
    assert (error.kind, error.code, len(provider.requests)) == (FailureKind.RECIPIENT, "INVALID_RECIPIENT", 4)


@pytest.mark.parametrize("target", ["x", None, [], 1.5, 10**30, True])
async def test_a_hostile_migration_is_not_followed(provider: ProviderServer, wire: Wire, target: Any) -> None:
    provider.answer(refused(400, "Bad Request: chat not found", {"migrate_to_chat_id": target}))
    assert (await failure(bot(provider.url), wire)).kind == FailureKind.RECIPIENT
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "action",
    [
        refused(400, f"Bad Request: no such path /bot{TOKEN}/sendMessage with {SECRET} for {TEXT}"),
        Reply(502, body=f"<html>/bot{TOKEN.replace(':', '%3A')}/sendMessage {TEXT}".encode()),
        Reply(302, headers={"Location": f"/bot{TOKEN}/x"}),
        Reply(200, SENT),
        Garbage(f"GET /bot{TOKEN} nonsense\r\n\r\n".encode()),
        Garbage(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        Reset(),
        Silence(),
    ],
)
async def test_the_token_and_the_text_show_nowhere(
    provider: ProviderServer, action: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.answer(action)
    channel = bot(provider.url)
    exchange = Exchange(channel.secrets(), (TEXT,))
    error: BaseException | None = None
    async with open_wire(total_timeout=patience(action)) as wire:
        try:
            await channel.send(wire, message(), exchange)
        except SendError as caught:
            error = caught
    shown = [exchange.record, exchange.stages, channel, channel.model_dump_json(), caplog.text]
    while error is not None:
        shown += [repr(error), str(error), vars(error)]
        error = error.__cause__ or error.__context__
    for hidden in (TOKEN, SECRET, TEXT):
        assert hidden not in repr(shown)
    assert exchange.record["request"]["url"] == f"{provider.url}/bot****/sendMessage"


async def test_an_unreachable_host_does_not_show_the_token(wire: Wire) -> None:
    channel = bot("http://host.invalid")
    exchange = Exchange(channel.secrets())
    error = await failure(channel, wire, exchange)
    assert (error.kind, exchange.stages[-1].name) == (FailureKind.TRANSIENT, StageName.RESOLVE)
    assert SECRET not in repr((error, vars(error), error.__context__, error.__cause__, exchange.record, exchange.stages))


# ─── before sending


@pytest.mark.parametrize("to", ["1234", "-1001234567890", "@channel", "@a_b1", str(2**52 - 1), f"-{2**52 - 1}"])
def test_chats_it_knows(to: str) -> None:
    assert bot().destination(to) == to


@pytest.mark.parametrize(
    "to",
    [
        "",
        "0",
        "+447700900123",
        "someone",
        "@a",
        "@1abc",
        "@" + "a" * 40,
        str(2**52),
        "1" * 5000,
        "12 34",
        "-",
        "١٢",
        "1\n",
        "1.5",
    ],
)
def test_what_is_no_chat_is_refused_with_a_sentence(to: str) -> None:
    with pytest.raises(ValueError, match=r"^A Telegram recipient is"):
        bot().destination(to)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": None}, "EMPTY_MESSAGE"),
        ({"body": "\n"}, "EMPTY_MESSAGE"),
        ({"body": None, "html": "<b>x</b>"}, "EMPTY_MESSAGE"),
        ({"body": "x" * 4097}, "TEXT_TOO_LONG"),
        ({"body": "x" * 1025, "media": (Media("https://f.example/a"),)}, "TEXT_TOO_LONG"),
        ({"body": "\udfff"}, "INVALID_TEXT"),
        ({"media": (Media("https://f.example/a"),) * 2}, "TOO_MANY_MEDIA"),
        ({"media": (Media("file:///etc/passwd"),)}, "INVALID_MEDIA_URL"),
        ({"template": {"name": "x"}}, "UNSUPPORTED_CONTENT"),
    ],
)
async def test_what_it_cannot_carry_is_refused_unsent(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(SendError) as caught:
        await bot(provider.url).send(wire, message(**changes), Exchange())
    assert (caught.value.kind, caught.value.code, provider.connections) == (FailureKind.CONTENT, code, 0)


@pytest.mark.parametrize(
    "token", ["", "1234567890", SECRET, f"{TOKEN} x", f"{TOKEN}/../x", "1:" + "a" * 35, f"{TOKEN}\n{TOKEN}"]
)
def test_a_token_of_another_shape_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ValidationError, match="digits, a colon and its secret") as caught:
        TelegramBot.model_validate({"botToken": token})
    assert SECRET not in str(caught.value)


def test_the_bots_number_is_its_identifier() -> None:
    assert bot().identifier == "1234567890"


# ─── verification


@pytest.mark.parametrize(
    ("me", "hook", "expected"),
    [
        ({"id": 1, "is_bot": True, "username": "gw_bot"}, {"url": ""}, {"token": CheckStatus.OK}),
        ({"id": 1, "is_bot": True}, {"url": "https://x.example"}, {"token": CheckStatus.OK, "webhook_healthy": CheckStatus.OK}),
        (
            {"id": 1, "is_bot": True, "username": 5},
            {"url": "https://x.example", "last_error_date": 1, "last_error_message": None},
            {"token": CheckStatus.OK, "webhook_healthy": CheckStatus.WARNING},
        ),
        ({"id": 1, "is_bot": False}, {}, {"token": CheckStatus.INDETERMINATE}),
        ([], {}, {"token": CheckStatus.INDETERMINATE}),
        ({"id": 1, "is_bot": True}, None, {"token": CheckStatus.OK}),
    ],
)
async def test_verification_asks_who_the_bot_is(
    provider: ProviderServer, wire: Wire, me: Any, hook: Any, expected: dict[str, CheckStatus]
) -> None:
    provider.on("POST", f"/bot{TOKEN}/getMe", Reply(200, {"ok": True, "result": me}))
    provider.on("POST", f"/bot{TOKEN}/getWebhookInfo", Reply(200, {"ok": True, "result": hook}))
    found = await bot(provider.url).verify(wire)
    assert {item.name: item.status for check in found for item in check.assertions} == expected
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    ("action", "status"),
    [
        (refused(401, "Unauthorized"), CheckStatus.ERROR),
        (refused(404, "Not Found"), CheckStatus.ERROR),
        (refused(429, "Too Many Requests", {"retry_after": 5}), CheckStatus.INDETERMINATE),
        (Reply(502), CheckStatus.INDETERMINATE),
        (Reset(), CheckStatus.INDETERMINATE),
        (Silence(), CheckStatus.INDETERMINATE),
    ],
)
async def test_a_failed_verification_tells_outage_from_refusal(
    provider: ProviderServer, action: Any, status: CheckStatus
) -> None:
    provider.answer(action)
    async with open_wire(total_timeout=patience(action)) as wire:
        found = await bot(provider.url).verify(wire)
    assert [(check.name, check.status) for check in found] == [("token", status)]
    assert TOKEN not in repr(found)


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_requests_are_what_a_telegram_library_sends(provider: ProviderServer, wire: Wire) -> None:
    me, sent, _ = golden("requests.json")["telegram"]
    provider.on("POST", me["path"], Reply(200, {"ok": True, "result": {"is_bot": True}}))
    channel = bot(provider.url)
    await channel.verify(wire)
    await channel.send(wire, message(), Exchange())
    asked, _, said = provider.requests
    assert (asked.method, asked.path) == (me["method"], me["path"])
    assert (said.method, said.path) == (sent["method"], sent["path"])
    # Telegram takes JSON as well as the library's form.
    assert {name: str(value) for name, value in said.json().items()} == sent["body"]


@pytest.mark.verifier
async def test_telegrams_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("telegram_bot") as url, open_wire() as wire:
        channel = bot(url)
        for right in (
            message(),
            message(flow="OTP", to="@channel"),
            message(media=(Media("https://f.example/a.jpg"),)),
            message(media=(Media("https://f.example/a.pdf"),), flow="OTP"),
        ):
            assert await channel.send(wire, right, Exchange()) == Accepted("1234:42", DeliveryStatus.SENT)
        with pytest.raises(SendError) as caught:
            await channel.send(wire, message(to="@x"), Exchange())
        assert (caught.value.kind, caught.value.code) == (FailureKind.RECIPIENT, "INVALID_RECIPIENT")
        found = {item.name: item.status for check in await channel.verify(wire) for item in check.assertions}
        assert found == {"token": CheckStatus.OK, "webhook_healthy": CheckStatus.OK}
