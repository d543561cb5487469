from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Media, Outbound
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.twilio import Twilio
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, Silence, open_wire, patience
from tests.verifiers import golden, prism

ACCOUNT = "AC00000000000000000000000000000000"
KEY = "SK11111111111111111111111111111111"
SERVICE = "MG22222222222222222222222222222222"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
ACCOUNTS = f"/2010-04-01/Accounts/{ACCOUNT}.json"
NUMBERS = f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json"
SECRET = "apisecret-9f8e7d"
BASIC = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
TEXT = "Your code is 123456"

CREATED = {
    "sid": "SM1",
    "status": "queued",
    "num_segments": "2",
    "body": f"Sent from your trial account - {TEXT}",
    "error_code": None,
}


def twilio(url: str = "https://api.twilio.com", **changes: Any) -> Twilio:
    fields = {
        "account_sid": ACCOUNT,
        "api_key_sid": KEY,
        "api_key_secret": SECRET,
        "from_number": "+15005550006",
        "base_url": url,
    }
    return Twilio.model_validate({**fields, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": "+447700900123", "body": TEXT, **changes})


RECORDED = Recorded(
    "twilio",
    {"apiKeySid": "SK1", "apiKeySecret": "s", "authToken": "12345", "fromNumber": "+15005550006"},
    "twilio",
    "authToken",
)
SAMPLE = Sample(twilio, (SECRET,), "+447700900123", Reply(201, CREATED), limit=1600, recorded=RECORDED)


async def failure(channel: Twilio, wire: Wire, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(), exchange or Exchange(channel.secrets(), (TEXT,)))
    return caught.value


async def test_a_message_is_a_form_to_the_account(provider: ProviderServer, wire: Wire) -> None:
    accepted = await twilio(provider.url).send(wire, message(), Exchange())
    assert accepted == Accepted("SM1", DeliveryStatus.SENT, 2, "queued")
    [request] = provider.requests
    assert (request.method, request.path, request.query) == ("POST", MESSAGES, {})
    assert request.headers["authorization"] == f"Basic {BASIC}"
    assert request.form() == [("To", "+447700900123"), ("From", "+15005550006"), ("Body", TEXT)]


@pytest.mark.parametrize(
    ("changes", "asked", "form"),
    [
        ({"messaging_service_sid": SERVICE, "from_number": None}, {}, [("MessagingServiceSid", SERVICE)]),
        ({"messaging_service_sid": SERVICE}, {}, [("From", "+15005550006"), ("MessagingServiceSid", SERVICE)]),
        ({"messaging_service_sid": SERVICE}, {"sender": "Acme"}, [("From", "Acme")]),
        ({"from_number": "12345"}, {}, [("From", "12345")]),
    ],
)
async def test_the_sender_is_the_messages_the_services_or_the_connectors(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], asked: dict[str, Any], form: list[tuple[str, str]]
) -> None:
    await twilio(provider.url, **changes).send(wire, message(**asked), Exchange())
    assert provider.requests[0].form() == [("To", "+447700900123"), *form, ("Body", TEXT)]


async def test_callback_validity_and_media_are_asked_for(provider: ProviderServer) -> None:
    media = tuple(Media(f"https://files.example/{n}.jpg") for n in range(10))
    async with open_wire(callback_url="https://gw.example/hooks/con_1?k=v") as wire:
        channel = twilio(provider.url, auth_token="auth-token")
        await channel.send(wire, message(body=None, media=media, validity_seconds=300), Exchange())
    form = provider.requests[0].form()
    assert ("StatusCallback", "https://gw.example/hooks/con_1?k=v&message=msg_1") in form
    assert ("ValidityPeriod", "300") in form
    assert [value for name, value in form if name == "MediaUrl"] == [item.url for item in media]
    assert "Body" not in dict(form)


@pytest.mark.parametrize(("seconds", "sent"), [(0, "1"), (99_999, "36000")])
async def test_validity_stays_within_twilios_bounds(provider: ProviderServer, wire: Wire, seconds: int, sent: str) -> None:
    await twilio(provider.url).send(wire, message(validity_seconds=seconds), Exchange())
    assert dict(provider.requests[0].form())["ValidityPeriod"] == sent


REFUSALS = [
    (400, 21211, FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
    (400, 21610, FailureKind.RECIPIENT, "RECIPIENT_OPTED_OUT"),
    (400, 21612, FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE"),
    (400, 21614, FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE"),
    (400, 21602, FailureKind.CONTENT, "EMPTY_MESSAGE"),
    (400, 21617, FailureKind.CONTENT, "TEXT_TOO_LONG"),
    (400, 21620, FailureKind.CONTENT, "INVALID_MEDIA"),
    (400, 21199, FailureKind.CONTENT, "REJECTED"),
    (400, 30999, FailureKind.TRANSIENT, "UNDELIVERED"),
    (400, 30007, FailureKind.CONTENT, "CONTENT_REFUSED"),
    (400, 30034, FailureKind.CONFIGURATION, "SENDER_NOT_REGISTERED"),
    (400, 77777, FailureKind.CONTENT, "REJECTED"),
    (401, 20003, FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
    (403, 20005, FailureKind.CONFIGURATION, "ACCOUNT_INACTIVE"),
    (403, 77777, FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
    (404, 20404, FailureKind.CONFIGURATION, "ACCOUNT_NOT_FOUND"),
    (400, 21212, FailureKind.CONFIGURATION, "INVALID_SENDER"),
    (400, 21606, FailureKind.CONFIGURATION, "INVALID_SENDER"),
    (403, 21408, FailureKind.CONFIGURATION, "DESTINATION_NOT_PERMITTED"),
    (429, 20429, FailureKind.THROTTLED, "RATE_LIMITED"),
    (429, 21611, FailureKind.THROTTLED, "RATE_LIMITED"),
    (429, 21999, FailureKind.THROTTLED, "RATE_LIMITED"),
    (500, 20500, FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
    (500, 77777, FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
    (503, 20503, FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
]


@pytest.mark.parametrize(("status", "provider_code", "kind", "code"), REFUSALS)
async def test_twilios_codes_have_a_meaning(
    provider: ProviderServer, wire: Wire, status: int, provider_code: int, kind: FailureKind, code: str
) -> None:
    provider.answer(Reply(status, {"code": provider_code, "message": "In Twilio's words", "status": status}))
    error = await failure(twilio(provider.url), wire)
    assert (error.kind, error.code, error.retry_after) == (kind, code, None)
    assert (error.provider_code, error.provider_message) == (str(provider_code), "In Twilio's words")
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "code", "wait"),
    [
        (Reply(429, headers={"Retry-After": "7"}), FailureKind.THROTTLED, "RATE_LIMITED", 7.0),
        (Reply(503, headers={"Retry-After": "9"}), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", 9.0),
        (Reply(401, headers={"Retry-After": "9"}), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (Reply(302, headers={"Location": "/"}), FailureKind.CONFIGURATION, "UNEXPECTED_REDIRECT", None),
        (Reply(500, body=b"<html>oops"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(502, body=b"bad gateway"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (Reply(504), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        (
            Reply(201, {"sid": "SM1", "status": "failed", "error_code": 30006}),
            FailureKind.RECIPIENT,
            "RECIPIENT_UNREACHABLE",
            None,
        ),
        (Reply(201, {"sid": "SM1", "status": "failed"}), FailureKind.CONTENT, "REJECTED", None),
        (Silence(), FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", None),
    ],
)
async def test_answers_without_a_code_are_judged_by_their_status(
    provider: ProviderServer, reply: Reply, kind: FailureKind, code: str, wait: float | None
) -> None:
    provider.answer(reply)
    exchange = Exchange()
    async with open_wire(total_timeout=patience(reply)) as wire:
        error = await failure(twilio(provider.url), wire, exchange)
    assert (error.kind, error.code, error.retry_after) == (kind, code, wait)
    if not isinstance(reply, Silence):
        assert [(stage.name, stage.ok) for stage in exchange.stages[-2:]] == [
            (StageName.SUBMIT, True),
            (StageName.ACCEPTED, False),
        ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"12",
        b'"queued"',
        b"{}",
        b"not json",
        b"[" * 5000,
        b"[" * 900 + b"]" * 900,
        b'{"sid": null}',
        b'{"sid": 5}',
        b'{"sid": ["SM1"]}',
        b'{"sid": ""}',
        b'{"sid": "a\\u0000b"}',
        b'{"sid": "' + b"S" * 300 + b'"}',
        b'{"sid": "\xff"}',
    ],
)
async def test_a_success_without_a_sid_is_an_unknown_outcome(provider: ProviderServer, wire: Wire, body: bytes) -> None:
    provider.answer(Reply(201, body=body))
    error = await failure(twilio(provider.url), wire)
    assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE")


@pytest.mark.parametrize("odd", [None, "many", [], {}, -1, 1e300, "9" * 5000, True])
async def test_members_we_can_do_without_do_no_harm(provider: ProviderServer, wire: Wire, odd: Any) -> None:
    provider.answer(Reply(201, {"sid": "SM1", "num_segments": odd, "status": odd, "error_code": odd, "error_message": odd}))
    accepted = await twilio(provider.url).send(wire, message(), Exchange())
    assert (accepted.provider_id, accepted.status) == ("SM1", DeliveryStatus.SENT)


@pytest.mark.parametrize(
    "body", [b"null", b"[1]", b'{"code": "x", "message": {}}', b'{"code": -1}', b"[" * 5000, b'{"code": 1e999}']
)
async def test_a_hostile_refusal_is_still_a_refusal(provider: ProviderServer, wire: Wire, body: bytes) -> None:
    provider.answer(Reply(400, body=body))
    error = await failure(twilio(provider.url), wire)
    assert (error.kind, error.code, error.provider_code) == (FailureKind.CONTENT, "REJECTED", None)


async def test_no_secret_or_text_stays_in_record_or_error(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(400, {"code": 21211, "message": f"{SECRET} Basic {BASIC}: {TEXT}", "body": TEXT}))
    channel = twilio(provider.url, auth_token="authtoken-1234")
    exchange = Exchange(channel.secrets(), (TEXT,))
    error = await failure(channel, wire, exchange)
    shown = repr((exchange.record, exchange.stages, error, error.message, error.provider_message, channel))
    for hidden in (SECRET, BASIC, TEXT, "123456", "authtoken-1234"):
        assert hidden not in shown
    assert exchange.record["request"]["content"] == {"To": "+447700900123", "From": "+15005550006", "Body": "[19 characters]"}


# ─── before sending


async def test_without_an_account_nothing_is_sent(provider: ProviderServer, wire: Wire) -> None:
    channel = twilio(provider.url, account_sid=None)
    error = await failure(channel, wire)
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "ACCOUNT_SID_REQUIRED")
    [check] = await channel.verify(wire)
    assert (check.name, check.status, check.assertions[0].name) == ("credentials", CheckStatus.ERROR, "account_sid")
    assert provider.connections == 0


async def test_an_account_sid_as_key_names_the_account(provider: ProviderServer, wire: Wire) -> None:
    await twilio(provider.url, account_sid=None, api_key_sid=ACCOUNT).send(wire, message(), Exchange())
    assert provider.requests[0].path == MESSAGES


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": None}, "EMPTY_MESSAGE"),
        ({"body": " \n"}, "EMPTY_MESSAGE"),
        ({"body": "x" * 1601}, "TEXT_TOO_LONG"),
        ({"body": "\ud800"}, "INVALID_TEXT"),
        ({"body": "a\0b"}, "INVALID_TEXT"),
        ({"media": (Media("https://files.example/a"),) * 11}, "TOO_MANY_MEDIA"),
        ({"media": (Media("/etc/passwd"),)}, "INVALID_MEDIA_URL"),
        ({"media": (Media("https://u:p@files.example/a"),)}, "INVALID_MEDIA_URL"),
        ({"media": (Media("http://[::1"),)}, "INVALID_MEDIA_URL"),
        ({"template": {"name": "x"}}, "UNSUPPORTED_CONTENT"),
    ],
)
async def test_what_it_cannot_carry_is_refused_unsent(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(SendError) as caught:
        twilio(provider.url).check(message(**changes))
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONTENT, code)
    with pytest.raises(SendError):
        await twilio(provider.url).send(wire, message(**changes), Exchange())
    assert provider.connections == 0


def test_the_longest_text_passes() -> None:
    twilio().check(message(body="x" * 1600))


def test_its_recipients_are_telephone_numbers() -> None:
    assert twilio().destination("+44 7700 900123") == "+447700900123"


@pytest.mark.parametrize("sender", ["+1234567890", "+15005550006", "12345", "Acme", "ACME Inc.", "A1_b&c-d+e"])
def test_senders_it_knows(sender: str) -> None:
    assert twilio(from_number=sender).identifier == sender


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"from_number": None}, "give fromNumber or messagingServiceSid"),
        ({"from_number": "12"}, "must be an E.164 number"),
        ({"from_number": "TwelveLetter"}, "must be an E.164 number"),
        ({"from_number": "+1\r\nX: y"}, "must be an E.164 number"),
        ({"account_sid": "AC/../x"}, "should match pattern"),
        ({"api_key_sid": "SK:x"}, "should match pattern"),
        ({"api_key_secret": ""}, "at least 1"),
        ({"traffic_type": "OTHER"}, "TRANSACTIONAL"),
        ({"base_url": "ftp://x.example"}, "must be an http or https URL"),
        ({"base_url": "https://x.example/?a=b"}, "no query"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong_without_repeating_it(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        twilio(**changes)
    assert SECRET not in str(caught.value)


def test_the_documents_33_character_sid_is_taken() -> None:
    assert twilio(api_key_sid="SK" + "1" * 33).api_key_sid == "SK" + "1" * 33


def test_a_trailing_slash_of_the_base_url_is_dropped() -> None:
    assert twilio("https://api.twilio.com/").base_url == "https://api.twilio.com"


# ─── verification


async def verdicts(channel: Twilio, wire: Wire) -> dict[str, CheckStatus]:
    return {item.name: item.status for check in await channel.verify(wire) for item in check.assertions}


async def test_a_full_key_is_verified_with_its_account_and_number(provider: ProviderServer, wire: Wire) -> None:
    provider.on("GET", ACCOUNTS, Reply(200, {"status": "active"}))
    provider.on("GET", NUMBERS, Reply(200, {"incoming_phone_numbers": [{"capabilities": {"sms": True}}]}))
    channel = twilio(provider.url)
    assert await verdicts(channel, wire) == {
        "credentials": CheckStatus.OK, "account_active": CheckStatus.OK, "sender_owned": CheckStatus.OK,
    }  # fmt: skip
    assert [(request.method, request.path, request.query) for request in provider.requests] == [
        ("GET", ACCOUNTS, {}),
        ("GET", NUMBERS, {"PhoneNumber": "+15005550006"}),
    ]


async def test_a_standard_key_is_verified_by_the_list_of_messages(provider: ProviderServer, wire: Wire) -> None:
    provider.on("GET", ACCOUNTS, Reply(401, {"code": 20003, "message": "Authenticate"}))
    provider.on("GET", MESSAGES, Reply(200, {"messages": []}))
    provider.on("GET", NUMBERS, Reply(401, {"code": 20003}))
    assert await verdicts(twilio(provider.url), wire) == {
        "credentials": CheckStatus.OK,
        "sender_owned": CheckStatus.INDETERMINATE,
    }
    assert provider.requests[1].query == {"PageSize": "1"}


@pytest.mark.parametrize(
    ("account", "messages", "numbers", "expected"),
    [
        (Reply(401, {"code": 20003}), Reply(401, {"code": 20003}), None, {"credentials": CheckStatus.ERROR}),
        (Reply(404, {"code": 20404}), None, None, {"credentials": CheckStatus.ERROR}),
        (Reply(500), None, None, {"credentials": CheckStatus.INDETERMINATE}),
        (Reply(429), None, None, {"credentials": CheckStatus.INDETERMINATE}),
        (Silence(), None, None, {"credentials": CheckStatus.INDETERMINATE}),
        (Reply(302), None, None, {"credentials": CheckStatus.ERROR}),
        (Reply(200, {"status": "suspended"}), None, None, {"credentials": CheckStatus.OK, "account_active": CheckStatus.ERROR}),
        (Reply(200, []), None, None, {"credentials": CheckStatus.OK, "account_active": CheckStatus.INDETERMINATE}),
        (
            Reply(200, {"status": "active"}),
            None,
            Reply(200, {"incoming_phone_numbers": []}),
            {"credentials": CheckStatus.OK, "account_active": CheckStatus.OK, "sender_owned": CheckStatus.ERROR},
        ),
        (
            Reply(200, {"status": "active"}),
            None,
            Reply(200, {"incoming_phone_numbers": [{"capabilities": {"sms": False}}, {"capabilities": 1}]}),
            {"credentials": CheckStatus.OK, "account_active": CheckStatus.OK, "sender_owned": CheckStatus.ERROR},
        ),
        (
            Reply(200, {"status": "active"}),
            None,
            Reply(200, body=b"[" * 5000),
            {"credentials": CheckStatus.OK, "account_active": CheckStatus.OK, "sender_owned": CheckStatus.INDETERMINATE},
        ),
    ],
)
async def test_what_verification_finds(
    provider: ProviderServer, account: Reply, messages: Reply | None, numbers: Reply | None, expected: dict[str, CheckStatus]
) -> None:
    provider.on("GET", ACCOUNTS, account)
    if messages:
        provider.on("GET", MESSAGES, messages)
    if numbers:
        provider.on("GET", NUMBERS, numbers)
    async with open_wire(total_timeout=patience(account)) as wire:
        assert await verdicts(twilio(provider.url), wire) == expected
    assert all(request.method == "GET" for request in provider.requests)


# ─── against the vendor's own words


async def test_no_callback_is_asked_for_that_could_not_be_checked(provider: ProviderServer) -> None:
    async with open_wire(callback_url="https://gw.example/hooks/con_1") as wire:
        await twilio(provider.url).send(wire, message(), Exchange())
    assert "StatusCallback" not in dict(provider.requests[0].form())


@pytest.mark.verifier
@pytest.mark.parametrize(
    ("name", "changes"), [("twilio.sms", {}), ("twilio.sms_service", {"from_number": None, "messaging_service_sid": SERVICE})]
)
async def test_the_request_is_what_twilios_own_library_sends(
    provider: ProviderServer, name: str, changes: dict[str, Any]
) -> None:
    [expected] = golden("requests.json")[name]
    async with open_wire(callback_url="https://gw.example/cb" if "StatusCallback" in expected["body"] else None) as wire:
        channel = twilio(provider.url, api_key_secret="apisecret", auth_token="auth-token", **changes)
        await channel.send(wire, message(), Exchange())
    [sent] = provider.requests
    form = {name: value.removesuffix("?message=msg_1") for name, value in sent.form()}
    assert (sent.method, sent.path, sent.query, form) == ("POST", expected["path"], {}, expected["body"])
    assert sent.headers["content-type"] == expected["headers"]["content-type"]
    user = base64.b64decode(expected["headers"]["authorization"].removeprefix("Basic ")).decode()
    assert base64.b64decode(sent.headers["authorization"].removeprefix("Basic ")).decode().split(":")[1] == user.split(":")[1]


@pytest.mark.verifier
async def test_twilios_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("twilio_messages") as url, open_wire(callback_url="https://gw.example/cb") as wire:
        channel = twilio(url)
        # Without media: Prism reads a repeated form field as one value and refuses it for not being a list.
        accepted = await channel.send(wire, message(validity_seconds=60), Exchange())
        assert accepted == Accepted("SM" + "a" * 32, DeliveryStatus.SENT, 1, "queued")
        service = twilio(url, from_number=None, messaging_service_sid=SERVICE)
        assert (await service.send(wire, message(), Exchange())).provider_id == "SM" + "a" * 32
        for wrong, to in ((channel, "12345"), (twilio(url, account_sid="ACshort"), "+447700900123")):
            with pytest.raises(SendError) as caught:
                await wrong.send(wire, message(to=to), Exchange())
            assert caught.value.kind in (FailureKind.RECIPIENT, FailureKind.CONTENT, FailureKind.CONFIGURATION)
        assert (await verdicts(channel, wire))["credentials"] == CheckStatus.OK
