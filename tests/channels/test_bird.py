"""Bird's Channels API, by its SMS channel; e-mail shares all but the body."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Outbound
from channels.bird import BirdSms
from channels.callbacks import Callback, CallbackRefusedError, Refusal, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.wire import Wire
from tests.channels.sample import Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

KEY, SIGNING = "bird-access-key-1", "bird-signing-key-1"
WORKSPACE, CHANNEL = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "a1405560-c8d3-4b1a-877d-3f449ad95352"
HOME = f"/workspaces/{WORKSPACE}/channels/{CHANNEL}"
TO, TEXT = "+31612345678", "Your code is 123456"
SENT = {"id": "cc8d2a1e-0000-4000-8000-000000000001", "status": "accepted"}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
URL = "https://gw.example/hook"


def bird(url: str = "https://api.bird.com", **changes: Any) -> BirdSms:
    keys = {"accessKey": KEY, "signingKey": SIGNING, "workspaceId": WORKSPACE, "channelId": CHANNEL}
    return BirdSms.model_validate({**keys, "channelMessageType": "2fa", "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


SAMPLE = Sample(bird, (KEY, SIGNING), TO, Reply(202, SENT), limit=1600)


async def test_a_text_goes_to_the_channel_under_our_name(provider: ProviderServer, wire: Wire) -> None:
    assert await bird(provider.url).send(wire, message(), Exchange()) == Accepted(SENT["id"], detail="accepted")
    [request] = provider.requests
    assert (request.method, request.path, request.headers["authorization"]) == ("POST", f"{HOME}/messages", f"AccessKey {KEY}")
    assert request.json() == {
        "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": TO}]},
        "body": {"type": "text", "text": {"text": TEXT}},
        "reference": "msg_1",
    }


@pytest.mark.parametrize(
    ("reply", "kind", "code", "words"),
    [
        (Reply(401, {"code": "Unauthorized"}), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", None),
        (Reply(404, {"code": "NotFound", "message": "x"}), FailureKind.CONFIGURATION, "ENDPOINT_NOT_FOUND", "x"),
        (
            Reply(422, {"code": "InvalidPayload", "message": "Bad", "details": {"receiver": ["is required"]}}),
            FailureKind.CONTENT,
            "REJECTED",
            "Bad — receiver is required",
        ),
        (Reply(402), FailureKind.CONFIGURATION, "INSUFFICIENT_FUNDS", None),
        (Reply(202, {}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", "the answer could not be read"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str, words: str | None
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await bird(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code, caught.value.provider_message) == (kind, code, words)


async def test_files_are_refused_unsent(provider: ProviderServer, wire: Wire) -> None:
    with pytest.raises(SendError) as caught:
        await bird(provider.url).send(wire, message(media=(Media("https://f.example/a"),)), Exchange())
    assert (caught.value.code, provider.connections) == ("UNSUPPORTED_CONTENT", 0)


def test_a_10dlc_number_needs_a_use_case() -> None:
    with pytest.raises(ValidationError, match="useCaseId is required for 10DLC numbers"):
        bird(tenDlc=True)
    use_case = "be123b02-0000-4000-8000-000000000000"
    assert bird(tenDlc=True, useCaseId=use_case, channelMessageType="promotional").channel_message_type == "PROMOTIONAL"
    with pytest.raises(ValidationError):
        bird(channelMessageType="spam")


def test_the_templates_schema_says_when_a_use_case_is_needed() -> None:
    schema = BirdSms.model_json_schema(by_alias=True)
    assert schema["if"] == {"properties": {"tenDlc": {"const": True}}, "required": ["tenDlc"]}
    assert schema["then"] == {"properties": {"useCaseId": {"type": "string"}}, "required": ["useCaseId"]}
    assert {"tenDlc", "useCaseId"} <= schema["properties"].keys()
    assert not {"tenDlc", "useCaseId"} & {*schema["required"]}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"id": CHANNEL, "status": "active"}), CheckStatus.OK),
        (Reply(200, {"id": CHANNEL, "status": "inactive"}), CheckStatus.ERROR),
        (Reply(200, []), CheckStatus.INDETERMINATE),
        (Reply(404, {"message": "Channel not found"}), CheckStatus.ERROR),
    ],
)
async def test_verification_asks_whether_the_channel_is_active(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", HOME, answer)
    [check] = await bird(provider.url).verify(wire)
    assert check.status is status


# ─── what comes in


def called(body: Any, seconds: int = 1_700_000_000, secret: str = SIGNING) -> Callback:
    raw = orjson.dumps(body)
    mac = signed(secret, f"{seconds}\n{URL}\n".encode() + hashlib.sha256(raw).digest())
    headers = {"messagebird-request-timestamp": str(seconds), "messagebird-signature": base64.b64encode(mac).decode()}
    return Callback("POST", URL, headers, raw, AT)


def told(event: str, **payload: Any) -> Any:
    return {"service": "channels", "event": event, "payload": {"id": "b-1", "channelId": CHANNEL, **payload}}


def test_what_became_of_a_message_is_told() -> None:
    failure = {"code": 1, "source": {"name": "carrier", "code": "2"}, "description": "absent"}
    delivered = bird().receive(called(told("sms.outbound", status="delivered", reference="msg_1"))).reports
    [failed] = bird().receive(called(told("sms.outbound", status="delivery_failed", failure=failure))).reports
    assert [(one.status, one.message_id, one.event_id) for one in delivered] == [
        (DeliveryStatus.DELIVERED, "msg_1", "b-1:delivered")
    ]
    assert failed.failure is not None and (failed.failure.code, failed.failure.provider_code) == ("INVALID_RECIPIENT", "2")
    assert bird().receive(called(told("sms.outbound", status="new"))).reports == ()
    other = "00000000-0000-4000-8000-000000000000"
    assert bird().receive(called(told("sms.outbound", status="delivered", channelId=other))).reports == ()


def test_what_people_write_comes_in() -> None:
    sender = {"contact": {"identifierValue": TO}}
    said = told("sms.inbound", sender=sender, body={"type": "text", "text": {"text": "STOP"}})
    [inbound] = bird().receive(called(said)).inbounds
    assert inbound == Inbound(event_id="b-1", sender=TO, occurred_at=AT, text="STOP", provider_id="b-1")


def test_what_bird_did_not_sign_is_refused() -> None:
    bird().authenticate(called({}))
    for callback, refusal in (
        (called({}, secret="another secret"), Refusal.NOT_AUTHENTIC),
        (called({}, seconds=1_600_000_000), Refusal.STALE),
    ):
        with pytest.raises(CallbackRefusedError) as error:
            bird().authenticate(callback)
        assert error.value.refusal is refusal
    with pytest.raises(CallbackRefusedError) as off:
        bird(signingKey=None).authenticate(called({}))
    assert off.value.refusal is Refusal.NOT_ENABLED


# ─── against others' words


@pytest.mark.verifier
def test_signatures_of_birds_notifications_hold() -> None:
    [vector] = [one for one in golden("signatures.json") if one["provider"] == "bird_notifications"]
    given = vector["input"]
    headers = {name.lower(): value for name, value in vector["expect"]["headers"].items()}
    bird(signingKey=given["secret"]).authenticate(Callback("POST", given["url"], headers, given["body"].encode(), AT))


@pytest.mark.verifier
async def test_birds_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("bird_channels") as url, open_wire() as wire:
        assert (await bird(url).send(wire, message(), Exchange())).provider_id is not None
        assert (await bird(url).verify(wire))[0].status is CheckStatus.OK
        with pytest.raises(SendError):
            await bird(url).send(wire, message(to="x"), Exchange())
