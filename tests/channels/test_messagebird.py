from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from channels.base import Accepted, CheckStatus, DeliveryStatus, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.messagebird import MessageBird
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

KEY, SIGNING = "live_key_9f8e7d", "signing-key-1a2b-0123456789abcdef0123"
TO, TEXT = "+447700900123", "Your code is 123456"
SENT = {
    "id": "c8cae01a5afd4eb9",
    "recipients": {"items": [{"recipient": 447700900123, "status": "sent", "messagePartCount": 1}]},
}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


def messagebird(url: str = "https://rest.messagebird.com", **changes: Any) -> MessageBird:
    return MessageBird.model_validate(
        {"accessKey": KEY, "originator": "Acme", "signingKey": SIGNING, "baseUrl": url, **changes}
    )


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


def refused(status: int, code: int) -> Reply:
    return Reply(status, {"errors": [{"code": code, "description": "No", "parameter": "x"}]})


RECORDED = Recorded("messagebird", {"accessKey": "live_key", "originator": "Acme"}, "messagebird", "signingKey")
SAMPLE = Sample(messagebird, (KEY, SIGNING), TO, Reply(201, SENT), limit=1377, recorded=RECORDED)


async def test_a_text_says_where_to_report(provider: ProviderServer) -> None:
    async with open_wire(callback_url="https://gw.example/v1/hooks/x") as wire:
        accepted = await messagebird(provider.url).send(wire, message(validity_seconds=60), Exchange())
    assert accepted == Accepted("c8cae01a5afd4eb9", DeliveryStatus.SENT, 1)
    [request] = provider.requests
    assert (request.method, request.path, request.headers["authorization"]) == ("POST", "/messages", f"AccessKey {KEY}")
    assert request.json() == {
        "originator": "Acme",
        "recipients": ["447700900123"],
        "body": TEXT,
        "reference": "msg_1",
        "datacoding": "auto",
        "type": "sms",
        "reportUrl": "https://gw.example/v1/hooks/x",
        "validity": 60,
    }


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (refused(401, 2), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (refused(422, 9), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (refused(422, 10), FailureKind.CONTENT, "REJECTED"),
        (refused(402, 25), FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
        (refused(500, 99), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (refused(422, 77), FailureKind.CONTENT, "REJECTED"),
        (refused(429, 10), FailureKind.THROTTLED, "RATE_LIMITED"),
        (Reply(201, {"id": 5}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await messagebird(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Reply(200, {"payment": "prepaid", "type": "credits", "amount": 9.2}), [CheckStatus.OK, CheckStatus.OK]),
        (Reply(200, {"amount": 0}), [CheckStatus.OK, CheckStatus.WARNING]),
        (Reply(200, []), [CheckStatus.INDETERMINATE]),
        (refused(401, 2), [CheckStatus.ERROR]),
    ],
)
async def test_verification_asks_for_the_balance(
    provider: ProviderServer, wire: Wire, answer: Reply, found: list[CheckStatus]
) -> None:
    provider.on("GET", "/balance", answer)
    [check] = await messagebird(provider.url).verify(wire)
    assert [item.status for item in check.assertions] == found


# ─── what comes in


def called(told: dict[str, str], **claims: Any) -> Callback:
    key = claims.pop("key", SIGNING)
    url = f"https://gw.example/hook?{urlencode(told)}"
    said = {
        "iss": "MessageBird",
        "nbf": AT.timestamp() - 5,
        "exp": AT.timestamp() + 60,
        "jti": "1",
        "url_hash": hashlib.sha256(url.encode()).hexdigest(),
        **claims,
    }
    token = jwt.encode(said, key, algorithm="HS256")
    return Callback("GET", url, {"messagebird-signature-jwt": token}, b"", AT)


REPORT = {"id": "c8ca", "reference": "msg_1", "status": "delivered", "statusDatetime": "2026-01-01T00:00:03+00:00"}


def test_a_signed_report_is_taken() -> None:
    channel, callback = messagebird(), called(REPORT)
    channel.authenticate(callback)
    received = channel.receive(callback)
    [report] = received.reports
    assert (report.provider_id, report.message_id, report.status) == ("c8ca", "msg_1", DeliveryStatus.DELIVERED)
    assert report.occurred_at == dt.datetime(2026, 1, 1, 0, 0, 3, tzinfo=dt.UTC)
    assert (received.reply.status, received.reply.body) == (200, b"OK")


@pytest.mark.parametrize(
    ("callback", "refusal"),
    [
        (called(REPORT, key="another-key-1a2b-0123456789abcdef0123"), Refusal.NOT_AUTHENTIC),
        (called(REPORT, url_hash="0" * 64), Refusal.NOT_AUTHENTIC),
        (called(REPORT, payload_hash="0" * 64), Refusal.NOT_AUTHENTIC),
        (called(REPORT, iss="Eve"), Refusal.NOT_AUTHENTIC),
        (called(REPORT, exp=AT.timestamp() - 1), Refusal.STALE),
        (Callback("GET", "https://gw.example/hook", {}, b"", AT), Refusal.NOT_AUTHENTIC),
    ],
)
def test_what_messagebird_did_not_sign_is_refused(callback: Callback, refusal: Refusal) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        messagebird().authenticate(callback)
    assert error.value.refusal is refusal


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_requests_are_what_messagebirds_library_sends(provider: ProviderServer, wire: Wire) -> None:
    await messagebird(provider.url).verify(wire)
    await messagebird(provider.url).send(wire, message(id="ref1"), Exchange())
    recorded = [golden("requests.json")[name][0] for name in ("messagebird.check", "messagebird.sms")]
    for said, sent in zip(provider.requests, recorded, strict=True):
        assert (said.method, said.path) == (sent["method"], sent["path"])
    told = provider.requests[1].json()
    assert {**told, "recipients": told["recipients"][0]} == recorded[1]["body"]


@pytest.mark.verifier
async def test_messagebirds_schema_takes_right_requests() -> None:
    async with prism("messagebird_rest") as url, open_wire() as wire:
        assert (await messagebird(url).send(wire, message(), Exchange())).provider_id is not None
        assert (await messagebird(url).verify(wire))[0].status in (CheckStatus.OK, CheckStatus.WARNING)
