"""Messenger, and what Instagram shares with it. There is no schema of Meta's to be judged by; only recorded calls."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest

from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.messenger import Messenger
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply

TOKEN, APP_SECRET, VERIFY = "EAAG-page-token", "app-secret-0123456789", "verify-word-42"
PAGE, PERSON = "1353269864728879", "254459154682919"
TEXT = "Your parcel is here"
SENT = {"recipient_id": PERSON, "message_id": "m_AG5Hz2U"}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
PROOF = signed(APP_SECRET, TOKEN.encode()).hex()


def messenger(url: str = "https://graph.facebook.com", **changes: Any) -> Messenger:
    secrets = {"accessToken": TOKEN, "appSecret": APP_SECRET, "verifyToken": VERIFY}
    return Messenger.model_validate({**secrets, "pageId": PAGE, "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": PERSON, "body": TEXT, **changes})


def refused(code: int, subcode: int | None = None, **more: Any) -> Reply:
    return Reply(400, {"error": {"message": "No", "code": code, "error_subcode": subcode, **more}})


RECORDED = Recorded(
    "messenger",
    {"accessToken": "EAAG-token", "pageId": "1353269864728879", "appSecret": "appsecret", "verifyToken": "VERIFY_TOKEN"},
)
SAMPLE = Sample(messenger, (TOKEN, APP_SECRET, PROOF), PERSON, Reply(200, SENT), limit=2000, recorded=RECORDED)


async def test_an_answer_goes_out_with_proof_of_the_apps_secret(provider: ProviderServer, wire: Wire) -> None:
    assert await messenger(provider.url).send(wire, message(), Exchange()) == Accepted("m_AG5Hz2U")
    [request] = provider.requests
    assert (request.method, request.path, request.query) == ("POST", "/v23.0/me/messages", {"appsecret_proof": PROOF})
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.json() == {"recipient": {"id": PERSON}, "messaging_type": "RESPONSE", "message": {"text": TEXT}}


async def test_a_human_agent_says_so_and_files_go_alone(provider: ProviderServer, wire: Wire) -> None:
    channel = messenger(provider.url, humanAgent=True, appSecret=None)
    await channel.send(wire, message(body=None, media=(Media("https://f.example/a.png", "image/png"),)), Exchange())
    [request] = provider.requests
    assert request.query == {}
    assert request.json() == {
        "recipient": {"id": PERSON},
        "messaging_type": "MESSAGE_TAG",
        "tag": "HUMAN_AGENT",
        "message": {"attachment": {"type": "image", "payload": {"url": "https://f.example/a.png"}}},
    }
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(media=(Media("https://f.example/a.png"),)), Exchange())
    assert (caught.value.code, len(provider.requests)) == ("UNSUPPORTED_CONTENT", 1)


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (refused(190), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (refused(200), FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
        (refused(10), FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
        (refused(10, 2018278), FailureKind.CONTENT, "OUTSIDE_SERVICE_WINDOW"),
        (refused(100), FailureKind.CONTENT, "REJECTED"),
        (refused(100, 2018001), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (refused(551, 1545041), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE"),
        (refused(613), FailureKind.THROTTLED, "RATE_LIMITED"),
        (refused(1200), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (refused(368), FailureKind.CONFIGURATION, "ACCOUNT_INACTIVE"),
        (refused(99, is_transient=True), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (refused(99), FailureKind.CONTENT, "REJECTED"),
        (Reply(200, {"recipient_id": PERSON}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await messenger(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code) == (kind, code)


@pytest.mark.parametrize("to", ["", "ada", "+447700900123", "1234", "1" * 33])
def test_whom_it_cannot_write_to(to: str) -> None:
    with pytest.raises(ValueError, match=r"^A Messenger recipient is"):
        messenger().destination(to)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"id": PAGE, "name": "Shop"}), CheckStatus.OK),
        (Reply(200, {"id": "99999", "name": "Other"}), CheckStatus.ERROR),
        (Reply(200, {}), CheckStatus.INDETERMINATE),
        (refused(190), CheckStatus.ERROR),
    ],
)
async def test_verification_asks_whose_token_it_is(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", "/v23.0/me", answer)
    [check] = await messenger(provider.url).verify(wire)
    assert (check.name, check.status) == ("token", status)


# ─── what comes in


def called(*happenings: Any, secret: str = APP_SECRET) -> Callback:
    raw = orjson.dumps({"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": happenings}]})
    headers = {"x-hub-signature-256": f"sha256={signed(secret, raw).hex()}"}
    return Callback("POST", "https://gw.example/hook", headers, raw, AT)


def happening(**what: Any) -> Any:
    return {"sender": {"id": PERSON}, "recipient": {"id": PAGE}, "timestamp": 1_700_000_000_000, **what}


def test_what_people_write_and_press_comes_in() -> None:
    picture = {"mid": "m_2", "attachments": [{"type": "image", "payload": {"url": "https://cdn.example/1"}}]}
    received = messenger().receive(
        called(
            happening(message={"mid": "m_1", "text": "hi", "quick_reply": {"payload": "YES"}}),
            happening(message=picture),
            happening(postback={"title": "Start", "payload": "GET_STARTED"}),
            happening(message={"mid": "m_3", "text": "we said", "is_echo": True}),
        )
    )
    said, shown, pressed = received.inbounds
    common: Any = {"sender": PERSON, "to": PAGE, "line": PAGE, "occurred_at": AT}
    assert said == Inbound(event_id="m_1", text="hi", provider_id="m_1", payload="YES", **common)
    assert (shown.kind, shown.media) == ("image", (Media("https://cdn.example/1", "image"),))
    assert (pressed.kind, pressed.text, pressed.payload) == ("postback", "Start", "GET_STARTED")


def test_receipts_name_messages_or_a_moment() -> None:
    told = (happening(delivery={"mids": ["m_2"], "watermark": 1_699_999_999_000}), happening(read={"mid": "m_2"}))
    received = messenger().receive(called(*told))
    assert [(report.event_id, report.status) for report in received.reports] == [
        ("m_2:delivered", DeliveryStatus.DELIVERED),
        ("m_2:read", DeliveryStatus.READ),
    ]
    [mark] = received.watermarks
    assert (mark.recipient, mark.status, mark.until.timestamp()) == (PERSON, DeliveryStatus.DELIVERED, 1_699_999_999)


def test_what_meta_did_not_sign_is_refused() -> None:
    messenger().authenticate(called())
    with pytest.raises(CallbackRefusedError) as error:
        messenger().authenticate(called(secret="another secret"))
    assert error.value.refusal is Refusal.NOT_AUTHENTIC
    with pytest.raises(CallbackRefusedError) as off:
        messenger(appSecret=None).authenticate(called())
    assert off.value.refusal is Refusal.NOT_ENABLED
