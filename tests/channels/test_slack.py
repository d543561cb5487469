from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from channels.base import Accepted, CheckStatus, Inbound, Media, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal, signed
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.slack import Slack
from channels.wire import Wire
from tests.channels.sample import Recorded, Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import golden, prism

TOKEN = "xoxb-263594206564-FGqddMF8t08v8N7Oq4i57vs1"
SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
TEXT = "Your code is 123456"
SENT = {"ok": True, "channel": "C012345", "ts": "1503435956.000247", "message": {"text": TEXT}}
PLAIN = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


def slack(url: str = "https://slack.com/api", **changes: Any) -> Slack:
    return Slack.model_validate({"botToken": TOKEN, "signingSecret": SIGNING, "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": "C012345", "body": TEXT, **changes})


def no(error: str, status: int = 200) -> Reply:
    return Reply(status, {"ok": False, "error": error})


RECORDED = Recorded("slack", {"botToken": "xoxb-1", "signingSecret": "8f742231b10e8888"}, "slack", "signingSecret")
SAMPLE = Sample(slack, (TOKEN, SIGNING), "C012345", Reply(200, SENT), limit=4000, recorded=RECORDED)


async def test_a_text_goes_out_plain_and_pings_nobody(provider: ProviderServer, wire: Wire) -> None:
    accepted = await slack(provider.url).send(wire, message(body="<!channel> a & b"), Exchange())
    assert accepted == Accepted("C012345:1503435956.000247")
    [request] = provider.requests
    assert (request.method, request.path) == ("POST", "/chat.postMessage")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.json() == {"channel": "C012345", "text": "&lt;!channel&gt; a &amp; b", **PLAIN}


async def test_pictures_are_blocks_below_the_text(provider: ProviderServer, wire: Wire) -> None:
    media = (Media("https://f.example/a.png", filename="A"), Media("https://f.example/b.png"))
    await slack(provider.url).send(wire, message(media=media), Exchange())
    assert provider.requests[0].json()["blocks"] == [
        {"type": "section", "text": {"type": "plain_text", "text": TEXT}},
        {"type": "image", "image_url": "https://f.example/a.png", "alt_text": "A"},
        {"type": "image", "image_url": "https://f.example/b.png", "alt_text": "Picture"},
    ]


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (no("invalid_auth"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (no("token_revoked"), FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED"),
        (no("missing_scope"), FailureKind.CONFIGURATION, "PERMISSION_DENIED"),
        (no("channel_not_found"), FailureKind.RECIPIENT, "INVALID_RECIPIENT"),
        (no("not_in_channel"), FailureKind.RECIPIENT, "RECIPIENT_UNREACHABLE"),
        (no("msg_too_long"), FailureKind.CONTENT, "TEXT_TOO_LONG"),
        (no("no_text"), FailureKind.CONTENT, "EMPTY_MESSAGE"),
        (no("something_new"), FailureKind.CONTENT, "REJECTED"),
        (no("ratelimited"), FailureKind.THROTTLED, "RATE_LIMITED"),
        (no("ratelimited", 429), FailureKind.THROTTLED, "RATE_LIMITED"),
        (no("service_unavailable"), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE"),
        (no("internal_error"), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (no("something_new", 500), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR"),
        (Reply(200, {"ok": True}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE"),
    ],
)
async def test_refusals_have_a_meaning(
    provider: ProviderServer, wire: Wire, reply: Reply, kind: FailureKind, code: str
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await slack(provider.url).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code) == (kind, code)


@pytest.mark.parametrize("to", ["C012345", "D0123456789", "U2147483697", "G012345"])
def test_whom_it_can_write_to(to: str) -> None:
    assert slack().destination(to) == to


@pytest.mark.parametrize("to", ["", "#general", "@ada", "c012345", "C012345\n", "X012345", "+447700900123"])
def test_whom_it_cannot(to: str) -> None:
    with pytest.raises(ValueError, match=r"^A Slack recipient is"):
        slack().destination(to)


@pytest.mark.parametrize("token", ["", "xoxp-1", f"{TOKEN} x"])
def test_another_kind_of_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ValidationError, match="begins with xoxb-") as caught:
        slack(botToken=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Reply(200, {"ok": True, "team": "T", "user": "gw", "bot_id": "B1"}), CheckStatus.OK),
        (Reply(200, {"ok": True, "team": "T", "user": "ada"}), CheckStatus.ERROR),
        (Reply(200, {}), CheckStatus.INDETERMINATE),
        (no("invalid_auth"), CheckStatus.ERROR),
        (no("ratelimited", 429), CheckStatus.INDETERMINATE),
    ],
)
async def test_verification_asks_whose_token_it_is(
    provider: ProviderServer, wire: Wire, answer: Reply, status: CheckStatus
) -> None:
    provider.on("POST", "/auth.test", answer)
    [check] = await slack(provider.url).verify(wire)
    assert (check.name, check.status) == ("token", status)


# ─── what comes in


def called(body: Any, seconds: int = 1_700_000_000, secret: str = SIGNING) -> Callback:
    raw = orjson.dumps(body)
    signature = f"v0={signed(secret, f'v0:{seconds}:'.encode() + raw).hex()}"
    headers = {"x-slack-request-timestamp": str(seconds), "x-slack-signature": signature}
    return Callback("POST", "https://gw.example/hook", headers, raw, AT)


def event(**changes: Any) -> Any:
    said = {"type": "message", "channel": "C012345", "user": "U2147483697", "text": "hi", "ts": "1355517523.000005"}
    return {"type": "event_callback", "event_id": "Ev1", "event_time": 1355517523, "event": {**said, **changes}}


def test_what_people_write_comes_in_and_what_bots_write_does_not() -> None:
    [said] = slack().receive(called(event())).inbounds
    assert said == Inbound(
        event_id="Ev1",
        sender="U2147483697",
        occurred_at=dt.datetime.fromtimestamp(1355517523, dt.UTC),
        to="C012345",
        text="hi",
        provider_id="C012345:1355517523.000005",
    )
    for other in ({"bot_id": "B1"}, {"subtype": "bot_message"}, {"subtype": "message_changed"}, {"type": "reaction_added"}):
        assert slack().receive(called(event(**other))).inbounds == ()
    [file] = slack().receive(called(event(subtype="file_share", files=[{"id": "F1", "mimetype": "image/png"}]))).inbounds
    assert (file.kind, file.media) == ("file", (Media("slack-file:F1", "image/png"),))


@pytest.mark.parametrize(
    ("callback", "refusal"),
    [
        (called({}, secret="another secret"), Refusal.NOT_AUTHENTIC),
        (called({}, seconds=1_600_000_000), Refusal.STALE),
        (Callback("POST", "https://gw.example/hook", {}, b"{}", AT), Refusal.NOT_AUTHENTIC),
    ],
)
def test_what_slack_did_not_sign_is_refused(callback: Callback, refusal: Refusal) -> None:
    with pytest.raises(CallbackRefusedError) as error:
        slack().authenticate(callback)
    assert error.value.refusal is refusal
    with pytest.raises(CallbackRefusedError) as off:
        slack(signingSecret=None).authenticate(callback)
    assert off.value.refusal is Refusal.NOT_ENABLED


# ─── against the vendor's own words


@pytest.mark.verifier
async def test_the_requests_are_what_slacks_library_sends(provider: ProviderServer, wire: Wire) -> None:
    channel = slack(f"{provider.url}/api")
    await channel.verify(wire)
    await channel.send(wire, message(), Exchange())
    recorded = [golden("requests.json")[name][0] for name in ("slack.check", "slack.post")]
    for said, sent in zip(provider.requests, recorded, strict=True):
        assert (said.method, said.path) == (sent["method"], sent["path"])
        assert said.headers["content-type"].replace(" ", "") == sent["headers"]["content-type"]
    assert provider.requests[1].json() | recorded[1]["body"] == provider.requests[1].json()


@pytest.mark.verifier
async def test_slacks_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("slack_web") as url, open_wire() as wire:
        channel = slack(f"{url}/api")
        assert (await channel.send(wire, message(), Exchange())).provider_id is not None
        assert (await channel.verify(wire))[0].status is not CheckStatus.INVALID
