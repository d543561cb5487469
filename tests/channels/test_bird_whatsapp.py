"""WhatsApp through Bird's Channels API; what it shares with SMS is tested in test_bird.py."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest

from channels.base import Accepted, CheckStatus, DeliveryStatus, Inbound, Media, Outbound
from channels.bird_whatsapp import BirdWhatsapp
from channels.callbacks import Callback
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from tests.channels.sample import Sample
from tests.provider_server import ProviderServer, Reply, open_wire
from tests.verifiers import prism

KEY, SIGNING = "bird-access-key-1", "bird-signing-key-1"
WORKSPACE, CHANNEL = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "a1405560-c8d3-4b1a-877d-3f449ad95352"
PROJECT = "ce6a2fd6-b2fa-4f5a-a2cd-f3bd15883318"
TO, TEXT = "+31612345678", "Your table is booked."
SENT = {"id": "cc8d2a1e-0000-4000-8000-000000000001", "status": "accepted"}
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
NAME = {"type": "string", "key": "name", "value": "Robert"}
TEMPLATE = {"projectId": PROJECT, "version": "latest", "locale": "en", "parameters": [NAME]}
PHOTO, PAPER = Media("https://f.example/a.jpg?size=1"), Media("https://f.example/bill", "application/pdf", "bill.pdf")
UNNAMED = Media("https://f.example/thing")


def bird(url: str = "https://api.bird.com", **changes: Any) -> BirdWhatsapp:
    keys = {"accessKey": KEY, "signingKey": SIGNING, "workspaceId": WORKSPACE, "channelId": CHANNEL}
    return BirdWhatsapp.model_validate({**keys, "baseUrl": url, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


SAMPLE = Sample(bird, (KEY, SIGNING), TO, Reply(202, SENT), limit=4096)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {"body": {"type": "text", "text": {"text": TEXT}}}),
        (
            {"media": (PHOTO,)},
            {"body": {"type": "image", "image": {"images": [{"mediaUrl": PHOTO.url}], "text": TEXT}}},
        ),
        (
            {"media": (PAPER,), "body": None},
            {
                "body": {
                    "type": "file",
                    "file": {"files": [{"mediaUrl": PAPER.url, "contentType": "application/pdf", "filename": "bill.pdf"}]},
                }
            },
        ),
        (
            {"media": (UNNAMED,), "body": None},
            {
                "body": {
                    "type": "file",
                    "file": {"files": [{"mediaUrl": UNNAMED.url, "contentType": "application/octet-stream"}]},
                }
            },
        ),
        ({"template": TEMPLATE, "body": None}, {"template": TEMPLATE}),
        (
            {"template": {"projectId": PROJECT, "locale": "pt_BR"}, "body": None},
            {"template": {"projectId": PROJECT, "version": "latest", "locale": "pt_BR", "parameters": []}},
        ),
    ],
)
async def test_what_is_said_goes_to_the_number(given: dict[str, Any], said: dict[str, Any]) -> None:
    async with ProviderServer(default=Reply(202, SENT)) as provider, open_wire() as wire:
        accepted = await bird(provider.url).send(wire, message(**given), Exchange())
    assert accepted == Accepted(SENT["id"], detail="accepted")
    [request] = provider.requests
    assert (request.path, request.headers["authorization"]) == (
        f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/messages",
        f"AccessKey {KEY}",
    )
    contact = {"identifierKey": "phonenumber", "identifierValue": TO}
    assert request.json() == {"receiver": {"contacts": [contact]}, "reference": "msg_1", **said}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"template": {**TEMPLATE, "projectId": "hello_world"}}, "INVALID_TEMPLATE"),
        ({"template": {**TEMPLATE, "locale": "../en"}}, "INVALID_TEMPLATE"),
        ({"template": {**TEMPLATE, "version": "newest"}}, "INVALID_TEMPLATE"),
        ({"template": {**TEMPLATE, "parameters": [{**NAME, "value": 1}]}}, "INVALID_TEMPLATE"),
        ({"template": {"name": "hello", "language": {"code": "en"}}}, "INVALID_TEMPLATE"),
        ({"template": TEMPLATE, "media": (PHOTO,)}, "UNSUPPORTED_CONTENT"),
        ({"media": (PHOTO, PAPER)}, "TOO_MANY_MEDIA"),
        ({"media": (PHOTO,), "body": "x" * 1025}, "TEXT_TOO_LONG"),
        ({"media": (Media("https://f.example/a.ogg"),)}, "UNSUPPORTED_CONTENT"),
    ],
)
async def test_what_whatsapp_cannot_carry_is_refused_unsent(given: dict[str, Any], code: str) -> None:
    async with ProviderServer(default=Reply(202, SENT)) as provider, open_wire() as wire:
        with pytest.raises(SendError) as caught:
            await bird(provider.url).send(wire, message(**given), Exchange())
    assert (caught.value.kind, caught.value.code, provider.connections) == (FailureKind.CONTENT, code, 0)


def test_a_number_may_lack_its_plus() -> None:
    assert bird().destination(" 31612345678") == bird().destination("+31 6 1234 5678") == TO


# ─── what comes in


def told(event: str, **payload: Any) -> Callback:
    said = {"service": "channels", "event": event, "payload": {"id": "b-1", "channelId": CHANNEL, **payload}}
    return Callback("POST", "https://gw.example/hook", {}, orjson.dumps(said), AT)


@pytest.mark.parametrize(
    ("failure", "kind", "code", "provider_code"),
    [
        ({"code": 15001, "source": {"name": "whatsapp", "code": "131047"}}, "CONTENT", "OUTSIDE_SERVICE_WINDOW", "131047"),
        ({"code": 15001, "source": {"name": "whatsapp", "code": 131026}}, "RECIPIENT", "RECIPIENT_UNREACHABLE", "131026"),
        ({"code": 15005, "source": {"name": "whatsapp", "code": "1"}}, "TRANSIENT", "PROVIDER_UNAVAILABLE", "1"),
        ({"code": 15005}, "RECIPIENT", "INVALID_RECIPIENT", "15005"),
        ({"code": 12002, "source": {"name": "touchpoint"}}, "CONTENT", "REJECTED", "12002"),
        ({"code": 12001}, "TRANSIENT", "UNDELIVERED", "12001"),
        (None, "TRANSIENT", "UNDELIVERED", None),
    ],
)
def test_a_failure_is_read_by_metas_code_and_then_by_birds(
    failure: Any, kind: str, code: str, provider_code: str | None
) -> None:
    at = "2024-07-26T07:49:07.923Z"
    callback = told("whatsapp.outbound", status="delivery_failed", failure=failure, reference="msg_1", lastStatusAt=at)
    [report] = bird().receive(callback).reports
    assert (report.status, report.message_id, report.occurred_at) == (
        DeliveryStatus.FAILED,
        "msg_1",
        dt.datetime.fromisoformat(at),
    )
    assert report.failure is not None
    assert (report.failure.kind, report.failure.code, report.failure.provider_code) == (kind, code, provider_code)


SENDER = {"contact": {"identifierKey": "phonenumber", "identifierValue": TO}}
RECEIVER = {"connector": {"id": "86cc4dc0-3dc0-41b7-ac43-8ec829ead56f", "identifierValue": "+31687654321"}}
FILE = {"mediaUrl": "https://media.nest.messagebird.com/workspaces/w/media/m", "contentType": "image/jpeg"}
SCAN = {**FILE, "contentType": "application/pdf", "filename": "scan.pdf"}
ADDRESS = "bird-media:media.nest.messagebird.com/workspaces/w/media/m"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "text", "text": {"text": "Hi"}}, {"text": "Hi"}),
        (
            {"type": "text", "text": {"text": "Yes", "actions": [{"type": "postback", "postback": {"payload": "yes-1"}}]}},
            {"text": "Yes", "payload": "yes-1"},
        ),
        (
            {"type": "image", "image": {"images": [FILE], "text": "Look"}},
            {"kind": "image", "media": (Media(ADDRESS, "image/jpeg", None, "Look"),)},
        ),
        (
            {"type": "file", "file": {"files": [SCAN]}},
            {"kind": "file", "media": (Media(ADDRESS, "application/pdf", "scan.pdf"),)},
        ),
        ({"type": "location", "location": {"coordinates": {}}}, {"kind": "location"}),
        ({"type": "image", "image": {"images": [{"mediaUrl": 1}]}}, {"kind": "image"}),
        (None, {}),
    ],
)
def test_what_people_send_comes_in(body: Any, expected: dict[str, Any]) -> None:
    at = "2023-12-13T19:34:01.858Z"
    callback = told("whatsapp.inbound", sender=SENDER, receiver=RECEIVER, body=body, createdAt=at)
    common = {"event_id": "b-1", "sender": TO, "to": "+31687654321", "provider_id": "b-1"}
    [inbound] = bird().receive(callback).inbounds
    assert inbound == Inbound(**common, occurred_at=dt.datetime.fromisoformat(at), **expected)


def test_interactions_and_other_channels_say_nothing() -> None:
    assert bird().receive(told("whatsapp.interactions", type="read")) == bird().receive(told("channel.updated"))
    assert bird().receive(told("whatsapp.inbound", sender=SENDER, channelId=PROJECT)).inbounds == ()


# ─── against others' words


@pytest.mark.verifier
async def test_birds_schema_takes_right_requests_and_refuses_wrong_ones() -> None:
    async with prism("bird_channels") as url, open_wire() as wire:
        for given in ({}, {"media": (PHOTO,)}, {"media": (PAPER,)}, {"template": TEMPLATE, "body": None}):
            assert (await bird(url).send(wire, message(**given), Exchange())).provider_id is not None
        assert (await bird(url).verify(wire))[0].status is CheckStatus.OK
        with pytest.raises(SendError):
            await bird(url).send(wire, message(to="x"), Exchange())
