from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Outbound, Part
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.sms_text import SmsCoding
from channels.vonage import Vonage
from channels.vonage_callbacks import VonageSignatureMethod, signature
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

SECRET, SIGNING = "vonage-secret-9f8e", "signature-secret-1a2b"
TEXT = "Your code is 123456"
PART = {"to": "447700900123", "message-id": "0A0000000123ABCD1", "status": "0", "remaining-balance": "3.14"}
SENT = {"message-count": "1", "messages": [PART]}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
TO = "+447700900123"


def vonage(url: str | None = None, **changes: Any) -> Vonage:
    given = {"apiKey": "abcd1234", "apiSecret": SECRET, "fromNumber": "AcmeInc", "baseUrl": url}
    return Vonage.model_validate({**given, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


def parts(*statuses: str) -> Reply:
    told = [{"status": status, "message-id": f"m{i}", "error-text": "No"} for i, status in enumerate(statuses)]
    return Reply(200, {"message-count": str(len(told)), "messages": told})


RECORDED = Recorded("vonage_sms", {"apiKey": "abcd1234", "apiSecret": "s", "fromNumber": "AcmeInc"})
SAMPLE = Sample(vonage, (SECRET,), TO, Reply(200, SENT), limit=1530, recorded=RECORDED)


async def failure(channel: Vonage, wire: Wire) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(), Exchange())
    return caught.value


async def test_a_text_is_a_form_that_says_where_to_report(provider: ProviderServer) -> None:
    async with open_wire(callback_url="https://gw.example/v1/hooks/x") as wire:
        accepted = await vonage(provider.url).send(wire, message(validity_seconds=60), Exchange())
    assert accepted == Accepted("0A0000000123ABCD1", DeliveryStatus.SENT, 1)
    [request] = provider.requests
    assert (request.method, request.path) == ("POST", "/sms/json")
    assert dict(request.form()) == {
        "from": "AcmeInc",
        "to": "447700900123",
        "text": TEXT,
        "client-ref": "msg_1",
        "callback": "https://gw.example/v1/hooks/x",
        "ttl": "60000",
    }


async def test_what_gsm_cannot_say_is_marked_and_a_named_sender_wins(provider: ProviderServer, wire: Wire) -> None:
    await vonage(provider.url).send(wire, message(body="Код 1", sender="+15005550006"), Exchange())
    form = dict(provider.requests[0].form())
    assert (form["type"], form["text"], form["from"]) == ("unicode", "Код 1", "15005550006")


async def test_the_messages_api_takes_json(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(202, {"message_uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}))
    accepted = await vonage(provider.url, api="MESSAGES").send(wire, message(), Exchange())
    assert accepted == Accepted("aaaaaaaa-bbbb-cccc-dddd-0123456789ab")
    [request] = provider.requests
    told = {"to": "447700900123", "from": "AcmeInc", "text": TEXT, "client_ref": "msg_1"}
    assert (request.path, request.json()) == ("/v1/messages", {"message_type": "text", "channel": "sms", **told})


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (parts("1"), FailureKind.THROTTLED, "RATE_LIMITED"),
        (parts("4"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (parts("5"), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (parts("6"), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (parts("7"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE"),
        (parts("9"), FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
        (parts("12"), FailureKind.CONTENT, "TEXT_TOO_LONG"),
        (parts("15"), FailureKind.CONFIGURATION, "SENDER_REFUSED"),
        (parts("99"), FailureKind.CONTENT, "REJECTED"),
        (Reply(200, {"messages": []}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
        (Reply(200, {"messages": [{"status": "0"}]}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
        (Reply(402, {"title": "Low balance"}), FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
        (Reply(422, {"title": "Invalid params"}), FailureKind.CONTENT, "REJECTED"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    error = await failure(vonage(provider.url), wire)
    assert (error.kind, error.code) == (kind, code)


async def test_a_text_of_which_a_part_was_taken_is_on_its_way(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(parts("0", "1"))
    accepted = await vonage(provider.url).send(wire, message(), Exchange())
    assert accepted == Accepted("m0", DeliveryStatus.SENT, 2, "Only some of its parts were taken.")


async def test_files_are_refused_unsent(provider: ProviderServer, wire: Wire) -> None:
    with pytest.raises(SendError) as caught:
        await vonage(provider.url).send(wire, message(media=(Media("https://f.example/a"),)), Exchange())
    assert (caught.value.code, provider.connections) == ("UNSUPPORTED_CONTENT", 0)


@pytest.mark.parametrize("sender", ["", "A name that is too long", "+0123", "<x>"])
def test_a_sender_that_cannot_be(sender: str) -> None:
    with pytest.raises(ValidationError):
        vonage(fromNumber=sender)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Reply(200, {"value": 10.5, "autoReload": False}), {"credentials": CheckStatus.OK, "balance": CheckStatus.OK}),
        (Reply(200, {"value": 0.2}), {"credentials": CheckStatus.OK, "balance": CheckStatus.WARNING}),
        (Reply(200, []), {"credentials": CheckStatus.INDETERMINATE}),
        (Reply(401), {"credentials": CheckStatus.ERROR}),
    ],
)
async def test_verification_asks_for_the_balance(
    provider: ProviderServer, wire: Wire, answer: Reply, found: dict[str, CheckStatus]
) -> None:
    provider.on("GET", "/account/get-balance", answer)
    [check] = await vonage(provider.url).verify(wire)
    assert {item.name: item.status for item in check.assertions} == found


# ─── what comes in


def called(told: dict[str, str], method: str = "GET") -> Callback:
    url = "https://gw.example/hook"
    if method == "GET":
        return Callback("GET", f"{url}?{urlencode(told)}", {}, b"", AT)
    return Callback("POST", url, {}, urlencode(told).encode(), AT)


def signed_by(method: VonageSignatureMethod, secret: str = SIGNING, timestamp: str = "1700000000") -> dict[str, str]:
    told = {"messageId": "m1", "status": "delivered", "text": "a&b=c", "timestamp": timestamp}
    return {**told, "sig": signature(told, secret, method).upper()}


@pytest.mark.parametrize("method", VonageSignatureMethod)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_what_vonage_signed_is_taken_and_what_it_did_not_is_refused(method: VonageSignatureMethod, verb: str) -> None:
    channel = vonage(signatureSecret=SIGNING, signatureMethod=method)
    channel.authenticate(called(signed_by(method), verb))
    for told, refusal in (
        ({**signed_by(method), "status": "failed"}, Refusal.NOT_AUTHENTIC),
        (signed_by(method, "another secret"), Refusal.NOT_AUTHENTIC),
        ({"messageId": "m1", "status": "delivered"}, Refusal.NOT_AUTHENTIC),
        (signed_by(method, timestamp="1600000000"), Refusal.STALE),
    ):
        with pytest.raises(CallbackRefusedError) as error:
            channel.authenticate(called(told, verb))
        assert error.value.refusal is refusal
    vonage().authenticate(called({"messageId": "m1"}))  # an account that does not sign


def test_a_receipt_finds_the_message_by_our_own_id_too() -> None:
    told = {"messageId": "m2", "status": "failed", "err-code": "4", "client-ref": "msg_7", "msisdn": "447700900123"}
    [report] = vonage().receive(called(told)).reports
    assert (report.provider_id, report.message_id, report.status) == ("m2", "msg_7", DeliveryStatus.FAILED)
    assert report.failure is not None and report.failure.code == "RECIPIENT_OPTED_OUT"
    assert "447700900123" not in repr(report.raw)
    assert vonage().receive(called({"status": "delivered"})).reports == ()


CONCATENATED = {"msisdn": "447700900123", "to": "447700900999", "messageId": "p1", "text": "one €, ", "type": "unicode"}
NUMBERED = {"concat": "true", "concat-ref": "108", "concat-total": "2", "concat-part": "1"}


def heard(**told: str) -> Inbound:
    query = urlencode({**CONCATENATED, **told})
    [inbound] = vonage().receive(Callback("GET", f"https://gw.example/hook?{query}", {}, b"", AT)).inbounds
    return inbound


def test_a_long_message_to_us_comes_in_parts() -> None:
    first = heard(**NUMBERED)
    second = heard(**{**NUMBERED, "concat-part": "2", "messageId": "p2", "text": "two"})
    assert first.part is not None and second.part is not None
    assert (first.provider_id, first.part.number, first.part.total) == ("p1", 1, 2)
    assert (first.part.content, first.part.coding) == ("one €, ".encode(), SmsCoding.UTF8)
    assert second.part == Part(first.part.group, 2, 2, b"two", SmsCoding.UTF8)
    for other in ({"msisdn": "447700900124"}, {"to": "447700900998"}, {"concat-ref": "109"}, {"concat-total": "3"}):
        part = heard(**{**NUMBERED, **other}).part
        assert part is not None and part.group != first.part.group


@pytest.mark.parametrize(
    "changes",
    [
        {"concat": "false"},
        {"concat-part": "0"},
        {"concat-part": "3"},
        {"concat-total": "1"},
        {"concat-total": "256"},
        {"concat-total": "٢"},
        {"concat-part": ""},
        {"text": "x" * 1001},
    ],
)
def test_what_is_no_part_of_a_message_is_one(changes: dict[str, str]) -> None:
    assert heard(**{**NUMBERED, **changes}).part is None
    assert heard().part is None


# ─── against the vendor's own words


@pytest.mark.verifier
@pytest.mark.parametrize("api", ["SMS", "MESSAGES"])
async def test_the_requests_are_what_vonages_library_sends(provider: ProviderServer, wire: Wire, api: str) -> None:
    provider.on("POST", "/v1/messages", Reply(202, {"message_uuid": "u1"}))
    channel = vonage(provider.url, api=api, fromNumber="Acme")
    await channel.verify(wire)
    await channel.send(wire, message(), Exchange())
    recorded = [
        golden("requests.json")[name][0] for name in ("vonage.check", "vonage.sms" if api == "SMS" else "vonage.messages_sms")
    ]
    for said, sent in zip(provider.requests, recorded, strict=True):
        assert (said.method, said.path) == (sent["method"], sent["path"])
        assert said.headers["authorization"].startswith("Basic ")
    told = dict(provider.requests[1].form()) if api == "SMS" else provider.requests[1].json()
    assert {"from", "to", "text"} <= {name for name, value in recorded[1]["body"].items() if value == told.get(name, value)}


@pytest.mark.verifier
def test_signatures_of_vonages_library_hold() -> None:
    vectors = [one for one in golden("signatures.json") if one["provider"] == "vonage_sms"]
    assert len(vectors) == 2
    for vector in vectors:
        given = vector["input"]
        channel = vonage(signatureSecret=given["secret"], signatureMethod=given["method"].upper())
        channel.authenticate(called(vector["expect"]["params"]))


@pytest.mark.verifier
async def test_vonages_schemas_take_right_requests() -> None:
    async with prism("vonage_sms") as url, open_wire() as wire:
        assert (await vonage(url).send(wire, message(), Exchange())).provider_id is not None
    async with prism("vonage_messages") as url, open_wire() as wire:
        assert (await vonage(url, api="MESSAGES").send(wire, message(), Exchange())).provider_id is not None
        assert (await vonage(url).verify(wire))[0].status in (CheckStatus.OK, CheckStatus.WARNING)
