from __future__ import annotations

import base64
import datetime as dt
import uuid
from typing import Any

import orjson
import pytest

from channels.base import Accepted, CheckStatus, Inbound, Intent, Media, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.line import Line
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

TOKEN, SECRET = "bNl4YEFPI-access-token", "8c570fa6dd201bb328f1c1eac23a96d8"
USER = "U" + "0" * 32
TEXT = "Your code is 123456"
SENT = {"sentMessages": [{"id": "461230966842064897", "quoteToken": "q"}]}
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def line(url: str = "https://api.line.me", **changes: Any) -> Line:
    return Line.model_validate({"channelAccessToken": TOKEN, "channelSecret": SECRET, "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": USER, "body": TEXT, **changes})


RECORDED = Recorded("line", {"channelAccessToken": "linetoken", "channelSecret": "channelsecret"}, "line", "channelSecret")
SAMPLE = Sample(line, (TOKEN, SECRET), USER, Reply(200, SENT), limit=5000, recorded=RECORDED)


async def test_a_message_is_pushed_with_a_key_that_stays_when_it_is_tried_again(provider: ProviderServer, wire: Wire) -> None:
    for attempt in (1, 2):
        assert await line(provider.url).send(wire, message(attempt=attempt), Exchange()) == Accepted("461230966842064897")
    await line(provider.url).send(wire, message(id="msg_2"), Exchange())
    first, again, other = provider.requests
    assert (first.method, first.path) == ("POST", "/v2/bot/message/push")
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    parts = [{"type": "text", "text": TEXT}]
    assert first.json() == {"to": USER, "messages": parts, "notificationDisabled": False}
    key = first.headers["x-line-retry-key"]
    assert str(uuid.UUID(key)) == key == again.headers["x-line-retry-key"] != other.headers["x-line-retry-key"]


async def test_pictures_follow_the_text(provider: ProviderServer, wire: Wire) -> None:
    await line(provider.url).send(wire, message(media=(Media("https://f.example/a.png"),)), Exchange())
    assert provider.requests[0].json()["messages"] == [
        {"type": "text", "text": TEXT},
        {"type": "image", "originalContentUrl": "https://f.example/a.png", "previewImageUrl": "https://f.example/a.png"},
    ]


async def test_what_was_accepted_before_is_accepted(provider: ProviderServer, wire: Wire) -> None:
    told = {"x-line-accepted-request-id": "123e4567"}
    said = {"message": "The retry key is already accepted"}
    provider.answer(Reply(409, {**said, **SENT}, headers=told), Reply(409, said, headers=told), Reply(409, said))
    assert (await line(provider.url).send(wire, message(), Exchange())).provider_id == "461230966842064897"
    assert (await line(provider.url).send(wire, message(), Exchange())).provider_id == "123e4567"
    with pytest.raises(SendError) as caught:
        await line(provider.url).send(wire, message(), Exchange())
    assert caught.value.kind is FailureKind.UNKNOWN_OUTCOME


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(400, {"message": "Failed to send messages"}), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (
            Reply(400, {"message": "The request body has 1 error(s)", "details": [{"message": "bad", "property": "to"}]}),
            FailureKind.RECIPIENT,
            "INVALID_RECIPIENT",
        ),
        (Reply(400, {"message": "The request body has 1 error(s)"}), FailureKind.CONTENT, "REJECTED"),
        (Reply(401, {"message": "Authentication failed"}), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (Reply(403, {"message": "Not available"}), FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
        (Reply(429, {"message": "You have reached your monthly limit."}), FailureKind.CONFIGURATION, "QUOTA_EXCEEDED"),
        (Reply(429, {"message": "The API rate limit has been exceeded."}), FailureKind.THROTTLED, "RATE_LIMITED"),
        (Reply(500, {"message": "Internal error"}), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await line(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code) == (kind, code)


async def test_its_limit_is_in_utf16_and_its_files_are_https(provider: ProviderServer, wire: Wire) -> None:
    for changes, code in (
        ({"body": "🎉" * 2501}, "TEXT_TOO_LONG"),
        ({"media": (Media("http://f.example/a.png"),)}, "INVALID_MEDIA_URL"),
    ):
        with pytest.raises(SendError) as caught:
            await line(provider.url).send(wire, message(**changes), Exchange())
        assert (caught.value.code, provider.connections) == (code, 0)


@pytest.mark.parametrize("to", ["", "U123", USER.lower(), USER + "0", "X" + "0" * 32, "+447700900123", USER + "\n"])
def test_whom_it_cannot_write_to(to: str) -> None:
    with pytest.raises(ValueError, match=r"^A LINE recipient is"):
        line().destination(to)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"userId": USER, "basicId": "@gw", "displayName": "Shop"}), CheckStatus.OK),
        (Reply(200, {}), CheckStatus.INDETERMINATE),
        (Reply(401, {"message": "Authentication failed"}), CheckStatus.ERROR),
    ],
)
async def test_verification_asks_which_account_it_is(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", "/v2/bot/info", answer)
    [check] = await line(provider.url).verify(wire)
    assert (check.name, check.status) == ("token", status)


# ─── what comes in


def called(*events: Any, secret: str = SECRET) -> Callback:
    raw = orjson.dumps({"destination": "U" + "1" * 32, "events": events})
    signature = base64.b64encode(signed(secret, raw)).decode()
    return Callback("POST", "https://gw.example/hook", {"x-line-signature": signature}, raw, AT)


def event(kind: str, **more: Any) -> Any:
    return {"type": kind, "timestamp": 1_700_000_000_123, "webhookEventId": "01F", "source": {"userId": USER}, **more}


def test_what_people_write_press_and_do_comes_in() -> None:
    text = event("message", message={"id": "1", "type": "text", "text": "hi"})
    picture = event("message", message={"id": "2", "type": "image"})
    received = line().receive(
        called(text, picture, event("postback", postback={"data": "yes"}), event("unfollow"), event("beacon"))
    )
    said, shown, pressed, blocked = received.inbounds
    at = dt.datetime.fromtimestamp(1_700_000_000.123, dt.UTC)
    own = "U" + "1" * 32
    assert said == Inbound(event_id="01F", sender=USER, occurred_at=at, to=own, text="hi", provider_id="1")
    assert (shown.kind, shown.media) == ("image", (Media("line-content:2"),))
    assert (pressed.kind, pressed.payload) == ("postback", "yes")
    assert (blocked.kind, blocked.intent) == ("unfollow", Intent.OPT_OUT)


def test_what_line_did_not_sign_is_refused() -> None:
    line().authenticate(called())
    for forged in (called(secret="another secret"), Callback("POST", "https://gw.example/hook", {}, b"{}", AT)):
        with pytest.raises(CallbackRefusedError) as error:
            line().authenticate(forged)
        assert error.value.refusal is Refusal.NOT_AUTHENTIC
    with pytest.raises(CallbackRefusedError) as off:
        line(channelSecret=None).authenticate(called())
    assert off.value.refusal is Refusal.NOT_ENABLED


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_requests_are_what_lines_library_sends(provider: ProviderServer, wire: Wire) -> None:
    await line(provider.url).verify(wire)
    await line(provider.url).send(wire, message(), Exchange())
    recorded = [golden("requests.json")[name][0] for name in ("line.check", "line.push")]
    for said, sent in zip(provider.requests, recorded, strict=True):
        assert (said.method, said.path) == (sent["method"], sent["path"])
    assert provider.requests[1].json() == recorded[1]["body"]


@pytest.mark.verifier
async def test_lines_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("line_messaging") as url, open_wire() as wire:
        for right in (message(), message(media=(Media("https://f.example/a.png"),))):
            assert (await line(url).send(wire, right, Exchange())).provider_id is not None
        assert (await line(url).verify(wire))[0].status is CheckStatus.OK
