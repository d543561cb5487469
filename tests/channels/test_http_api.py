from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from channels.base import Accepted, CheckStatus, DeliveryStatus, Media, Outbound
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.http_api import Http
from channels.wire import Wire
from tests.channels.sample import Sample
from tests.provider_server import ProviderServer, Reply

SECRET = "api-secret-9f8e7d"
UNREAD = "the answer could not be read"
TEXT = 'He said "yes" & left'
SENT = {"data": {"id": "m-1"}, "status": "ok"}
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def api(base: str = "https://sms.example.com", **changes: Any) -> Http:
    given = {"url": f"{base}/send", "auth": "BEARER", "authSecret": SECRET, "idPath": "data.id", "checkUrl": f"{base}/check"}
    return Http.model_validate({**given, **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": "+447700900123", "body": TEXT, **changes})


SAMPLE = Sample(api, (SECRET,), "+447700900123", Reply(200, SENT), limit=4096)


async def test_the_request_is_the_template_filled_in(provider: ProviderServer, wire: Wire) -> None:
    note = "for {{to}}, order {{metadata.order.id}}"
    body = f'{{"a": ["{{{{to}}}}"], "text": "{{{{ body }}}}", "note": "{note}", "files": "{{{{media}}}}", "n": 1}}'
    channel = api(
        provider.url, body=body, headers="X-Team: ops\nAccept: application/json\n", idempotencyHeader="Idempotency-Key"
    )
    details = {"order": {"id": 7}}
    sent = message(metadata=details, media=(Media("https://f.example/a"),))
    assert await channel.send(wire, sent, Exchange()) == Accepted("m-1")
    [request] = provider.requests
    assert (request.method, request.path, request.headers["authorization"]) == ("POST", "/send", f"Bearer {SECRET}")
    assert (request.headers["x-team"], request.headers["idempotency-key"]) == ("ops", "msg_1")
    assert request.json() == {
        "a": ["+447700900123"],
        "text": TEXT,
        "note": "for +447700900123, order 7",
        "files": ["https://f.example/a"],
        "n": 1,
    }


async def test_values_cannot_break_out_of_a_url_or_a_form(provider: ProviderServer, wire: Wire) -> None:
    hostile = "a/../b?x=1&y=2#z"
    url = f"{provider.url}/to/{{{{to}}}}?text={{{{body}}}}"
    await api(provider.url, url=url, method="GET").send(wire, message(to=hostile), Exchange())
    await api(provider.url, encoding="FORM").send(wire, message(to=hostile), Exchange())
    asked, told = provider.requests
    assert asked.path == "/to/a%2F..%2Fb%3Fx=1&y=2%23z"
    assert (asked.query, asked.body) == ({"text": TEXT}, b"")
    assert dict(told.form()) == {"id": "msg_1", "to": hostile, "text": TEXT}


@pytest.mark.parametrize(
    ("changes", "header", "value"),
    [
        ({"auth": "NONE"}, "authorization", None),
        ({"auth": "BASIC", "authName": "ada"}, "authorization", f"Basic {base64.b64encode(f'ada:{SECRET}'.encode()).decode()}"),
        ({"auth": "HEADER", "authName": "X-Api-Key"}, "x-api-key", SECRET),
    ],
)
async def test_ways_to_say_who_asks(
    provider: ProviderServer, wire: Wire, changes: dict[str, str], header: str, value: str | None
) -> None:
    await api(provider.url, **changes).send(wire, message(), Exchange())
    assert provider.requests[0].headers.get(header) == value


@pytest.mark.parametrize("encoding", ["JSON", "FORM"])
async def test_a_signed_request_verifies(provider: ProviderServer, wire: Wire, encoding: str) -> None:
    key = "whsec_" + base64.b64encode(b"k" * 32).decode()
    await api(provider.url, auth="SIGNATURE", authSecret=key, encoding=encoding).send(wire, message(), Exchange())
    [request] = provider.requests
    Webhook(key).verify(request.body, request.headers) if encoding == "JSON" else None
    assert request.headers["webhook-id"] == "msg_1" and request.headers["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize(
    ("changes", "reply", "kind", "code", "words"),
    [
        ({}, Reply(400, {}), FailureKind.CONTENT, "REJECTED", None),
        (
            {"errorPath": "error.message"},
            Reply(422, {"error": {"message": "bad to"}}),
            FailureKind.CONTENT,
            "REJECTED",
            "bad to",
        ),
        ({"errorPath": "errors.0"}, Reply(400, {"errors": ["bad to"]}), FailureKind.CONTENT, "REJECTED", "bad to"),
        ({"transientStatuses": "500, 502"}, Reply(502), FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE", None),
        ({}, Reply(502), FailureKind.UNKNOWN_OUTCOME, "PROVIDER_ERROR", None),
        ({"successPath": "status", "successValue": "ok"}, Reply(200, {"status": "no"}), FailureKind.CONTENT, "REJECTED", None),
        (
            {"successPath": "status", "successValue": "ok"},
            Reply(200, body=b"?"),
            FailureKind.UNKNOWN_OUTCOME,
            "ANSWER_UNREADABLE",
            UNREAD,
        ),
        ({"idPath": "data.0.id"}, Reply(200, SENT), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", UNREAD),
        ({}, Reply(200, {"data": {"id": "a b"}}), FailureKind.UNKNOWN_OUTCOME, "ANSWER_UNREADABLE", UNREAD),
    ],
)
async def test_answers_are_read_by_its_rules(
    provider: ProviderServer,
    wire: Wire,
    changes: dict[str, str],
    reply: Reply,
    kind: FailureKind,
    code: str,
    words: str | None,
) -> None:
    provider.answer(reply)
    with pytest.raises(SendError) as caught:
        await api(provider.url, **changes).send(wire, message(), Exchange())
    assert (caught.value.kind, caught.value.code, caught.value.provider_message) == (kind, code, words)


async def test_without_a_path_of_the_id_ours_is_used(provider: ProviderServer, wire: Wire) -> None:
    provider.answer(Reply(204))
    assert await api(provider.url, idPath=None).send(wire, message(), Exchange()) == Accepted("msg_1")


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "ftp://x.example"},
        {"url": "https://{{to}}.example/send"},
        {"url": "https://x.example/{{too}}"},
        {"body": '{"to": {{to}}}'},
        {"body": '{"to": "{{secret}}"}'},
        {"body": "[]", "encoding": "FORM"},
        {"auth": "BASIC"},
        {"authSecret": None},
        {"auth": "HEADER", "authName": "X Key"},
        {"auth": "HEADER", "authName": "Transfer-Encoding"},
        {"idempotencyHeader": "content-length"},
        {"headers": "no colon"},
        {"headers": "Host: x"},
        {"headers": "X: a\rY: b\x00"},
        {"successPath": "status"},
        {"transientStatuses": "5xx"},
        {"idPath": "a..b"},
        {"maxTextLength": 0},
    ],
)
def test_a_configuration_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        api(**changes)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "answer", "status"),
    [
        ({}, Reply(200), CheckStatus.OK),
        ({}, Reply(401), CheckStatus.ERROR),
        ({"checkUrl": None}, Reply(500), CheckStatus.WARNING),
    ],
)
async def test_verification_asks_its_check_url(
    provider: ProviderServer, wire: Wire, changes: dict[str, Any], answer: Reply, status: CheckStatus
) -> None:
    provider.on("GET", "/check", answer)
    [check] = await api(provider.url, **changes).verify(wire)
    assert check.status is status
    assert len(provider.requests) == (0 if changes else 1)


def called(body: Any, **headers: str) -> Callback:
    return Callback("POST", "https://gw.example/hook", headers, orjson.dumps(body), AT)


def test_a_status_is_taken_with_its_token_only() -> None:
    channel = api(callbackToken="callback-token")
    channel.authenticate(called({}, authorization="Bearer callback-token"))
    with pytest.raises(CallbackRefusedError) as error:
        channel.authenticate(called({}, authorization="Bearer other"))
    assert error.value.refusal is Refusal.NOT_AUTHENTIC
    [report] = channel.receive(called({"id": "m-1", "status": "failed", "error": "no such user"})).reports
    assert (report.provider_id, report.status) == ("m-1", DeliveryStatus.FAILED)
    assert report.failure is not None and report.failure.provider_message == "no such user"
    for body in ({"id": "m-1", "status": "gone"}, {"status": "sent"}, []):
        with pytest.raises(CallbackRefusedError) as malformed:
            channel.receive(called(body))
        assert malformed.value.refusal is Refusal.MALFORMED
