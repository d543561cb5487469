from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from channels import standard_webhooks
from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Outbound
from channels.bird_platform import BirdPlatform
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

KEY = "bk_eu1_9f8e7d6c5b4a"
SIGNING = "whsec_" + base64.b64encode(b"s" * 32).decode()
TO, TEXT = "+447700900123", "Your code is 123456"
SENT = {"id": "sms_01krdgeqcxet5s7t44vh8rt9mg", "status": "accepted", "segments": {"count": 1}}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


def bird(url: str | None = None, **changes: Any) -> BirdPlatform:
    given = {"apiKey": KEY, "signingSecret": SIGNING, "fromNumber": "Acme", "baseUrl": url}
    return BirdPlatform.model_validate({**given, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


def refused(status: int, code: str) -> Reply:
    return Reply(status, {"error": {"type": "x", "code": code, "message": "No"}})


RECORDED = Recorded("bird", {"apiKey": KEY, "fromNumber": "Acme"})
SAMPLE = Sample(bird, (KEY, SIGNING), TO, Reply(202, SENT), limit=1836, recorded=RECORDED)


async def test_a_text_goes_out_with_a_key_that_stays_when_it_is_tried_again(provider: ProviderServer, wire: Wire) -> None:
    for attempt in (1, 2):
        accepted = await bird(provider.url).send(wire, message(attempt=attempt, flow="OTP"), Exchange())
        assert accepted == Accepted(SENT["id"], DeliveryStatus.SENT, 1, "accepted")  # type: ignore[arg-type]
    first, again = provider.requests
    assert (first.method, first.path, first.headers["authorization"]) == ("POST", "/v1/sms/messages", f"Bearer {KEY}")
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] == "msg_1"
    told = {"to": TO, "from": "Acme", "text": TEXT, "category": "authentication", "metadata": {"patchbay_id": "msg_1"}}
    assert first.json() == told


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (refused(401, "Unauthorized"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (refused(402, "InsufficientBalance"), FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS"),
        (refused(409, "IdempotencyConflict"), FailureKind.UNKNOWN_OUTCOME, "CONFLICT"),
        (refused(422, "SMSInvalidRecipient"), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (refused(422, "Other"), FailureKind.CONTENT, "REJECTED"),
        (refused(429, "RateLimited"), FailureKind.THROTTLED, "RATE_LIMITED"),
        (refused(500, "Internal"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (refused(503, "Unavailable"), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (Reply(202, {}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await bird(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code) == (kind, code)


async def test_files_are_refused_unsent(provider: ProviderServer, wire: Wire) -> None:
    with pytest.raises(SendError) as caught:
        await bird(provider.url).send(wire, message(media=(Media("https://f.example/a"),)), Exchange())
    assert (caught.value.code, provider.connections) == ("UNSUPPORTED_CONTENT", 0)


@pytest.mark.parametrize("key", ["", "bk_", "live_key", "bk_europe_x", f"{KEY} x"])
def test_a_key_of_another_shape_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="a region such as eu1"):
        bird(apiKey=key)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"id": "ws_1", "name": "Acme"}), CheckStatus.OK),
        (Reply(200, []), CheckStatus.INDETERMINATE),
        (refused(401, "Unauthorized"), CheckStatus.ERROR),
    ],
)
async def test_verification_asks_whose_key_it_is(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", "/v1/workspace", answer)
    [check] = await bird(provider.url).verify(wire)
    assert check.status is status


def called(body: Any, secret: str = SIGNING) -> Callback:
    raw = orjson.dumps(body)
    headers = standard_webhooks.headers([standard_webhooks.key_of(secret)], "evt_1", 1_700_000_000, raw)
    return Callback("POST", "https://gw.example/hook", headers, raw, AT)


def test_what_became_of_a_message_and_what_people_write_is_told() -> None:
    data = {"sms_id": "sms_1", "to": "Acme", "from": TO, "metadata": {"patchbay_id": "msg_1"}}
    failed = {"type": "sms.failed", "data": {**data, "error": {"code": "recipient_opted_out"}}}
    [report] = bird().receive(called(failed)).reports
    assert (report.message_id, report.status) == ("msg_1", DeliveryStatus.FAILED)
    assert report.failure is not None and report.failure.code == "RECIPIENT_OPTED_OUT"
    [said] = bird().receive(called({"type": "sms.received", "data": {**data, "text": "STOP"}})).inbounds
    assert said == Inbound(event_id="sms_1", sender=TO, occurred_at=AT, to="Acme", text="STOP", provider_id="sms_1")
    assert bird().receive(called({"type": "whatsapp.read", "data": data})).reports == ()


def test_what_bird_did_not_sign_is_refused() -> None:
    bird().authenticate(called({}))
    with pytest.raises(CallbackRefusedError) as error:
        bird().authenticate(called({}, "whsec_" + base64.b64encode(b"x" * 32).decode()))
    assert error.value.refusal is Refusal.NOT_AUTHENTIC
    with pytest.raises(CallbackRefusedError) as off:
        bird(signingSecret=None).authenticate(called({}))
    assert off.value.refusal is Refusal.NOT_ENABLED


@pytest.mark.verifier
async def test_the_request_is_what_birds_library_sends(provider: ProviderServer, wire: Wire) -> None:
    [sent] = golden("requests.json")["bird.sms"]
    await bird(provider.url).send(wire, message(flow="OTP"), Exchange())
    [said] = provider.requests
    assert (said.method, said.path) == (sent["method"], sent["path"])
    assert said.json() | sent["body"] == said.json()


@pytest.mark.verifier
async def test_birds_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("bird_platform") as url, open_wire() as wire:
        assert (await bird(url).send(wire, message(), Exchange())).provider_id is not None
        assert (await bird(url).verify(wire))[0].status is CheckStatus.OK
        with pytest.raises(SendError):
            await bird(url).send(wire, message(to="no number"), Exchange())
