from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Media, Outbound
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.whatsapp import WhatsappCloud
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, Reset, Silence, open_wire, patience
from tests.verifiers import golden, prism

TOKEN = "EAABsecret9f8e7d"
NUMBER = "106540352242922"
ACCOUNT = "102290129340398"
TEXT = "Your code is 123456"
MESSAGES = f"/v23.0/{NUMBER}/messages"
SENT = {
    "messaging_product": "whatsapp",
    "contacts": [{"input": "447700900123", "wa_id": "447700900123"}],
    "messages": [{"id": "wamid.X=="}],
}
TEMPLATE = {
    "name": "otp_code",
    "language": {"code": "en_US"},
    "components": [
        {"type": "body", "parameters": [{"type": "text", "text": "123456"}]},
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "123456"}]},
    ],
}


def whatsapp(url: str = "https://graph.facebook.com", **changes: Any) -> WhatsappCloud:
    fields = {"access_token": TOKEN, "phone_number_id": NUMBER, "business_account_id": ACCOUNT, "base_url": url}
    return WhatsappCloud.model_validate({**fields, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": "+447700900123", "body": TEXT, **changes})


def refused(status: int, code: Any, message: Any = "In Meta's words", **more: Any) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "OAuthException", "code": code, **more}})


RECORDED = Recorded(
    "whatsapp",
    {
        "accessToken": "EAAB",
        "phoneNumberId": "106540352242922",
        "businessAccountId": "102290129340398",
        "appSecret": "appsecret",
        "verifyToken": "VERIFY_TOKEN",
    },
    "meta",
    "appSecret",
)
SAMPLE = Sample(whatsapp, (TOKEN,), "+447700900123", Reply(200, SENT), limit=4096, recorded=RECORDED)


async def failure(channel: WhatsappCloud, wire: Wire, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(), exchange or Exchange(channel.secrets(), (TEXT,)))
    return caught.value


def media(url: str, kind: str | None = None, filename: str | None = None) -> tuple[Media, ...]:
    return (Media(url, kind, filename),)


@pytest.mark.parametrize(
    ("changes", "kind", "content"),
    [
        ({}, "text", {"preview_url": False, "body": TEXT}),
        ({"template": TEMPLATE, "body": None}, "template", TEMPLATE),
        ({"template": {"name": "hi", "language": {"code": "en"}}}, "template", {"name": "hi", "language": {"code": "en"}}),
        ({"media": media("https://f.example/a.jpg?x")}, "image", {"link": "https://f.example/a.jpg?x", "caption": TEXT}),
        ({"media": media("https://f.example/a", "image/png"), "body": None}, "image", {"link": "https://f.example/a"}),
        ({"media": media("https://f.example/a.mp4")}, "video", {"link": "https://f.example/a.mp4", "caption": TEXT}),
        (
            {"media": media("https://f.example/a", "audio/ogg; codecs=opus"), "body": None},
            "audio",
            {"link": "https://f.example/a"},
        ),
        (
            {"media": media("https://f.example/a.pdf", None, "bill.pdf")},
            "document",
            {"link": "https://f.example/a.pdf", "caption": TEXT, "filename": "bill.pdf"},
        ),
        ({"media": media("https://f.example/a.webp"), "body": None}, "document", {"link": "https://f.example/a.webp"}),
    ],
)
async def test_a_message_becomes_the_type_that_carries_it(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], kind: str, content: dict[str, Any]
) -> None:
    accepted = await whatsapp(provider.url).send(wire, message(**changes), Exchange())
    assert accepted == Accepted("wamid.X==", DeliveryStatus.SENT)
    [request] = provider.requests
    assert (request.method, request.path) == ("POST", MESSAGES)
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.json() == {
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "447700900123",
        "type": kind, kind: content, "biz_opaque_callback_data": "msg_1",
    }  # fmt: skip


@pytest.mark.parametrize("status", ["held_for_quality_assessment", "paused"])
async def test_a_message_meta_holds_back_is_not_yet_sent(provider: ProviderServer, wire: Wire, status: str) -> None:
    provider.answer(Reply(200, {"messages": [{"id": "wamid.X", "message_status": status}]}))
    accepted = await whatsapp(provider.url).send(wire, message(), Exchange())
    assert accepted == Accepted("wamid.X", DeliveryStatus.PROCESSING, None, status)


@pytest.mark.parametrize(
    ("reply", "kind", "code", "wait"),
    [
        (refused(401, 190, error_subcode=463), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (refused(400, 0), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (refused(403, 10), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(403, 200), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(403, 299), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(400, 131031), FailureKind.CONFIGURATION, "ACCOUNT_INACTIVE", None),
        (refused(404, 133010), FailureKind.CONFIGURATION, "INVALID_SENDER", None),
        (refused(400, 130497), FailureKind.CONFIGURATION, "DESTINATION_NOT_PERMITTED", None),
        (refused(400, 131026), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(400, 131030), FailureKind.RECIPIENT, "INVALID_RECIPIENT", None),
        (refused(400, 131050), FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT", None),
        (refused(400, 100), FailureKind.CONTENT, "REJECTED", None),
        (refused(400, 131047), FailureKind.CONTENT, "OUTSIDE_SERVICE_WINDOW", None),
        (refused(400, 131053), FailureKind.CONTENT, "INVALID_MEDIA", None),
        (refused(404, 132001), FailureKind.CONTENT, "INVALID_TEMPLATE", None),
        (refused(400, 80007), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(429, 130429), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(400, 131048), FailureKind.THROTTLED, "RATE_LIMITED", 3600.0),
        (refused(400, 131056), FailureKind.TRANSIENT, "RATE_LIMITED", 6.0),
        (refused(400, 4, is_transient=True), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(500, 131000), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(503, 131016), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(500, 1), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(500, 99999), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(400, 99999), FailureKind.CONTENT, "REJECTED", None),
        (refused(403, 99999), FailureKind.CONFIGURATION, "PERMISSION_DENIED", None),
        (refused(429, 99999), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(429, 99999, is_transient=True), FailureKind.THROTTLED, "RATE_LIMITED", None),
        (refused(400, 99999, is_transient=True), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(400, 100, is_transient=True), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (refused(200, 131026), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE", None),
        (refused(200, 99999), FailureKind.CONTENT, "REJECTED", None),
        (refused(400, "190"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
    ],
)
async def test_metas_code_decides(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str, wait: float | None
) -> None:
    provider.answer(reply)
    error = await failure(whatsapp(provider.url), wire)
    assert (error.kind, error.code, error.retry_after) == (kind, code, wait)
    assert (error.provider_code, error.provider_message) == (str(reply.json["error"]["code"]), "In Meta's words")
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "code", "wait"),
    [
        (Reply(429, headers={"Retry-After": "5"}), FailureKind.THROTTLED, "RATE_LIMITED", 5.0),
        (Reply(500, body=b"<html>"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(502), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(503), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        (Reply(504), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(401), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (Reply(307, headers={"Location": "/"}), FailureKind.CONFIGURATION, "UNEXPECTED_REDIRECT", None),
        (Reply(400, {"error": None}), FailureKind.CONTENT, "REJECTED", None),
        (Reply(400, {"error": {"code": [190], "message": {}}}), FailureKind.CONTENT, "REJECTED", None),
        (Reply(400, body=b"[" * 5000), FailureKind.CONTENT, "REJECTED", None),
        (Reset(), FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", None),
        (Silence(), FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", None),
        (Reply(200, SENT, stall=True), FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", None),
    ],
)
async def test_answers_without_a_code_are_judged_by_their_status(
    provider: ProviderServer, reply: Reply, kind: FailureKind, code: str, wait: float | None
) -> None:
    provider.answer(reply)
    async with open_wire(total_timeout=patience(reply)) as wire:
        error = await failure(whatsapp(provider.url), wire)
    assert (error.kind, error.code, error.retry_after, error.provider_code) == (kind, code, wait, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 5000,
        b'{"messages": null}',
        b'{"messages": []}',
        b'{"messages": {}}',
        b'{"messages": [null]}',
        b'{"messages": [{"id": 5}]}',
        b'{"messages": [{"id": ""}]}',
        b'{"messages": [{"id": "' + b"w" * 300 + b'"}]}',
        b'{"error": "no"}',
        b'{"messages": [{"id": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b" " * 70_000 + b'{"messages": [{"id": "wamid.X"}]}',
    ],
)
async def test_a_success_that_names_no_message_is_an_unknown_outcome(provider: ProviderServer, wire: Wire, body: bytes) -> None:
    provider.answer(Reply(200, body=body))
    error = await failure(whatsapp(provider.url), wire)
    assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE")


async def test_no_secret_or_text_stays_in_record_or_error(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(refused(401, 190, f"Malformed access token {TOKEN}", error_data={"details": f"Bearer {TOKEN} for {TEXT}"}))
    channel = whatsapp(provider.url, app_secret="appsecret-1", verify_token="verifyword-1")
    exchange = Exchange(channel.secrets(), (TEXT,))
    error = await failure(channel, wire, exchange)
    assert error.provider_message == "Malformed access token **** — Bearer **** for [19 characters]"
    shown = repr((exchange.record, exchange.stages, error, vars(error), channel))
    for hidden in (TOKEN, TEXT, "123456", "appsecret-1", "verifyword-1"):
        assert hidden not in shown


async def test_a_code_in_a_template_stays_out_of_the_record(provider: ProviderServer, wire: Wire) -> None:
    exchange = Exchange()
    await whatsapp(provider.url).send(wire, message(body=None, template=TEMPLATE), exchange)
    assert "123456" in provider.requests[0].body.decode()
    assert "123456" not in repr(exchange.record)
    assert exchange.record["request"]["content"]["template"]["name"] == "otp_code"


# ─── before sending


@pytest.mark.parametrize(("written", "canonical"), [("+447700900123", "+447700900123"), ("447700900123", "+447700900123")])
def test_a_number_becomes_e164(written: str, canonical: str) -> None:
    assert whatsapp().destination(written) == canonical


@pytest.mark.parametrize("written", ["", "+44", "07700900123", "someone", "²²²²²²²²²²", "+4477009001234567"])
def test_an_impossible_number_is_refused_with_a_sentence(written: str) -> None:
    with pytest.raises(ValueError, match=r"^The telephone number|^A telephone number"):
        whatsapp().destination(written)


BARE = {"name": "x", "language": {"code": "en"}}
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": None}, "EMPTY_MESSAGE"),
        ({"body": "x" * 4097}, "TEXT_TOO_LONG"),
        ({"body": "x" * 1025, "media": media("https://f.example/a.jpg")}, "TEXT_TOO_LONG"),
        ({"body": "\ud800"}, "INVALID_TEXT"),
        ({"media": media("https://f.example/a") * 2}, "TOO_MANY_MEDIA"),
        ({"media": media("data:image/png;base64,AA")}, "INVALID_MEDIA_URL"),
        ({"media": media("https://f.example/a.mp3")}, "UNSUPPORTED_CONTENT"),
        ({"media": media("https://f.example/a.jpg"), "template": TEMPLATE}, "UNSUPPORTED_CONTENT"),
        ({"template": {}}, "INVALID_TEMPLATE"),
        ({"template": {"name": "x"}}, "INVALID_TEMPLATE"),
        ({"template": {"name": "No Such", "language": {"code": "en"}}}, "INVALID_TEMPLATE"),
        ({"template": {"name": "x", "language": "en"}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "extra": 1}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "components": {}}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "components": [{"type": "feet"}]}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "components": [{"type": "button"}]}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "components": [{"type": "body", "parameters": ["x"]}]}}, "INVALID_TEMPLATE"),
        ({"template": {**BARE, "components": [{"type": "body", "deep": DEEP}]}}, "NOT_ENCODABLE"),
    ],
)
async def test_what_it_cannot_carry_is_refused_unsent(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(SendError) as caught:
        await whatsapp(provider.url).send(wire, message(**changes), Exchange())
    assert (caught.value.kind, caught.value.code, provider.connections) == (FailureKind.CONTENT, code, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"access_token": ""}, "one word"),
        ({"access_token": "two words"}, "one word"),
        ({"access_token": "a\r\nX: y"}, "one word"),
        ({"phone_number_id": "+447700900123"}, "should match pattern"),
        ({"phone_number_id": "1/../2"}, "should match pattern"),
        ({"business_account_id": None}, "valid string"),
        ({"base_url": "https://user:pw@graph.example"}, "must not hold credentials"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        whatsapp(**changes)


# ─── verification

GOOD = {
    "id": NUMBER,
    "display_phone_number": "+1 631-555-5555",
    "code_verification_status": "VERIFIED",
    "name_status": "APPROVED",
    "quality_rating": "GREEN",
}
OK, WARNING, ERROR, INDETERMINATE = CheckStatus.OK, CheckStatus.WARNING, CheckStatus.ERROR, CheckStatus.INDETERMINATE
ALL_OK = {
    "token": OK, "phone_number_id": OK, "code_verified": OK, "name_approved": OK, "quality": OK,
    "number_in_account": OK, "webhooks_subscribed": OK,
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "numbers", "apps", "expected"),
    [
        (Reply(200, GOOD), Reply(200, {"data": [{"id": NUMBER}]}), Reply(200, {"data": [{}]}), ALL_OK),
        (
            Reply(200, {**GOOD, "code_verification_status": "EXPIRED", "name_status": "DECLINED", "quality_rating": "RED"}),
            Reply(200, {"data": [{"id": "1"}]}),
            Reply(200, {"data": []}),
            {
                **dict.fromkeys(("code_verified", "name_approved", "quality", "webhooks_subscribed"), WARNING),
                "token": OK,
                "phone_number_id": OK,
                "number_in_account": ERROR,
            },
        ),
        (
            Reply(200, {"id": NUMBER, "quality_rating": ["RED"]}),
            Reply(200, {"data": [], "paging": {"next": "https://x.example"}}),
            refused(403, 200),
            {"token": OK, "phone_number_id": OK, "number_in_account": INDETERMINATE, "webhooks_subscribed": ERROR},
        ),
        (
            Reply(200, GOOD),
            Reply(200, body=b"[" * 5000),
            Reply(200, {"data": [1]}),
            {**ALL_OK, "number_in_account": INDETERMINATE, "webhooks_subscribed": INDETERMINATE},
        ),
        (refused(401, 190), None, None, {"token": ERROR}),
        (refused(403, 200), None, None, {"token": ERROR}),
        (refused(400, 100), None, None, {"phone_number_id": ERROR}),
        (refused(404, 803), None, None, {"phone_number_id": ERROR}),
        (refused(500, 2), None, None, {"phone_number_id": INDETERMINATE}),
        (Reply(429), None, None, {"phone_number_id": INDETERMINATE}),
        (Silence(), None, None, {"phone_number_id": INDETERMINATE}),
        (Reply(200, []), None, None, {"phone_number_id": INDETERMINATE}),
        (Reply(200, {}), None, None, {"phone_number_id": INDETERMINATE}),
    ],
)
async def test_what_verification_finds(
    provider: ProviderServer, number: Reply, numbers: Reply | None, apps: Reply | None, expected: dict[str, CheckStatus]
) -> None:
    provider.on("GET", f"/v23.0/{NUMBER}", number)
    if numbers and apps:
        provider.on("GET", f"/v23.0/{ACCOUNT}/phone_numbers", numbers)
        provider.on("GET", f"/v23.0/{ACCOUNT}/subscribed_apps", apps)
    async with open_wire(total_timeout=patience(number)) as wire:
        found = await whatsapp(provider.url).verify(wire)
    assert {item.name: item.status for check in found for item in check.assertions} == expected
    assert len(provider.requests) == (3 if numbers else 1)
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in provider.requests)


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_request_is_what_a_whatsapp_library_sends(provider: ProviderServer, wire: Wire) -> None:
    [expected] = golden("requests.json")["whatsapp.text"]
    await whatsapp(provider.url, access_token="EAAB").send(wire, message(), Exchange())
    [sent] = provider.requests
    assert (sent.method, sent.path, sent.query) == (expected["method"], expected["path"], expected["query"])
    assert {name: sent.headers[name] for name in expected["headers"]} == expected["headers"]
    assert sent.json() == {**expected["body"], "biz_opaque_callback_data": "msg_1"}


@pytest.mark.verifier
async def test_metas_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("whatsapp_cloud") as url, open_wire() as wire:
        channel = whatsapp(url)
        for right in (
            message(),
            message(body=None, template=TEMPLATE),
            message(media=media("https://f.example/a.jpg")),
            message(media=media("https://f.example/a.mp4")),
            message(body=None, media=media("https://f.example/a.mp3")),
            message(media=media("https://f.example/a.pdf", None, "bill.pdf")),
        ):
            accepted = await channel.send(wire, right, Exchange())
            assert accepted.provider_id and accepted.provider_id.startswith("wamid.")
        with pytest.raises(SendError) as caught:
            await channel.send(
                wire, message(body=None, template={**TEMPLATE, "components": [{"type": "carousel"}]}), Exchange()
            )
        assert caught.value.kind == FailureKind.CONTENT
        found = {item.name: item.status for check in await channel.verify(wire) for item in check.assertions}
        assert (found["token"], found["phone_number_id"], found["webhooks_subscribed"]) == (OK, OK, OK)
