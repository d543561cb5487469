"""Calls that providers were recorded making, and signatures made with the vendors' own libraries, beside the checkout.

A provider is judged once its SAMPLE says under which name it was recorded; each of those calls must then mean what is said.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from channels import BY_REF
from channels.base import DeliveryStatus, Inbound, Provider, Received, Report
from channels.callbacks import Callback, CallbackRefusedError, Refusal
from channels.errors import FailureKind
from tests.channels.sample import Recorded, samples
from tests.verifiers import golden

Json = Any
AT = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
URL = "https://gw.example/v1/hooks/con_1/key"
LATER = (FailureKind.TRANSIENT, FailureKind.THROTTLED)

RECORDED = {sample.recorded.name: (ref, sample.recorded) for ref, sample in reversed(samples().items()) if sample.recorded}
SIGNED = [recorded for _ref, recorded in RECORDED.values() if recorded.signer]
STATUSES = {
    "sent": DeliveryStatus.SENT,
    "delivered": DeliveryStatus.DELIVERED,
    "read": DeliveryStatus.READ,
    "failed": DeliveryStatus.FAILED,
    "undelivered": DeliveryStatus.FAILED,
    "expired": DeliveryStatus.FAILED,
    "rejected": DeliveryStatus.FAILED,
    "delivery_failed": DeliveryStatus.FAILED,
}


def provider(name: str, **changes: Json) -> Provider:
    ref, recorded = RECORDED[name]
    return BY_REF[ref].model_validate({**recorded.config, **changes})


def called(recorded: Json) -> Callback:
    body, query = recorded.get("body", ""), recorded.get("query")
    text = urlencode(recorded["form"]) if "form" in recorded else body
    url = f"{URL}?{urlencode(query)}" if query else URL
    return Callback(recorded["method"], url, {"content-type": recorded.get("content_type", "")}, text.encode(), AT)


def recordings(name: str) -> list[Json]:
    return [one for one in golden("webhooks.json") if one["provider"] == name]


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_call_means_what_it_should(name: str) -> None:
    found = recordings(name)
    assert found
    for recorded in found:
        judge(provider(name), recorded)


def judge(judged: Provider, recorded: Json) -> None:
    expected, callback = recorded["expect"], called(recorded)
    match expected["kind"]:
        case "status" if "watermark" in expected:
            check_watermark(judged.receive(callback), expected)
        case "status":
            check_reports(judged.receive(callback).reports, expected)
        case "handshake":
            check_handshake(judged, callback, expected)
        case "ignore":
            said = judged.receive(callback)
            assert said == Received(reply=said.reply)
        case kind:
            (inbound,) = judged.receive(callback).inbounds
            check_inbound(inbound, kind, expected)


def check_reports(reports: tuple[Report, ...], expected: Json) -> None:
    pairs = expected.get("many") or [[expected["message_id"], expected["status"]]]
    assert [(report.provider_id, report.detail) for report in reports] == [tuple(pair) for pair in pairs]
    for report, (_, status) in zip(reports, pairs, strict=True):
        assert report.status is STATUSES.get(status, DeliveryStatus.PROCESSING)
        assert (report.failure is not None) == (report.status is DeliveryStatus.FAILED)
        if report.failure is not None:
            assert report.failure.provider_code == expected["error_code"]
            assert (report.failure.kind not in LATER) == expected.get("permanent", report.failure.kind not in LATER)
        if "phone_number_id" in expected:
            assert report.line == expected["phone_number_id"]


def check_watermark(said: Received, expected: Json) -> None:
    [mark] = said.watermarks
    assert (mark.status, round(mark.until.timestamp() * 1000)) == (STATUSES[expected["status"]], expected["watermark"])
    assert [report.provider_id for report in said.reports] == expected.get("message_ids", [])
    assert {report.status for report in said.reports} <= {mark.status}


def check_handshake(judged: Provider, callback: Callback, expected: Json) -> None:
    if expected["answer_status"] >= 400:
        with pytest.raises(CallbackRefusedError) as error:
            judged.authenticate(callback)
        assert error.value.refusal.status == expected["answer_status"]
        return
    if callback.method == "GET":
        judged.authenticate(callback)
    reply, wanted = judged.receive(callback).reply, expected.get("answer_body", "")
    said = json.loads(reply.body) if isinstance(wanted, dict) else reply.body.decode()
    assert (reply.status, said) == (expected["answer_status"], wanted)
    assert (reply.content_type or "").startswith(expected.get("answer_type", ""))


def check_inbound(inbound: Inbound, kind: str, expected: Json) -> None:
    assert inbound.sender.lstrip("+") == expected["from"].lstrip("+")
    if inbound.intent is not None or "text" not in expected:
        assert inbound.intent == kind.upper()
    for name, value in expected.items():
        match name:
            case "text":
                assert inbound.text == value
            case "to":
                assert inbound.to == value
            case "message_id":
                assert inbound.provider_id == value
            case "type":
                assert inbound.kind == value
            case "phone_number_id":
                assert inbound.line == value
            case "payload":
                assert inbound.payload == value
            case "update_id":
                assert inbound.event_id.endswith(f":{value}")
            case "event_id":
                assert inbound.event_id == value


@pytest.mark.parametrize("recorded", SIGNED, ids=lambda recorded: recorded.name)
def test_signatures_of_the_vendors_libraries_hold_and_tampered_ones_do_not(recorded: Recorded) -> None:
    vectors = [one for one in golden("signatures.json") if one["provider"] == recorded.signer]
    assert vectors
    for vector in vectors:
        given, expected = vector["input"], vector["expect"]
        judged = provider(recorded.name, **{recorded.secret: expected.get("public_key", given["secret"])})
        body = given["body"] if "body" in given else urlencode(given["params"])
        headers = {name.lower(): value for name, value in expected["headers"].items()}
        url = expected.get("url", given.get("url", URL))
        judged.authenticate(Callback("POST", url, headers, body.encode(), AT))
        tampered = (
            [(url, body[:-1] + "x"), (url, "")] if recorded.signer != "twilio" else [(f"{url}&x=1", body), (url, body + "1")]
        )
        for other_url, other_body in tampered:
            with pytest.raises(CallbackRefusedError) as error:
                judged.authenticate(Callback("POST", other_url, headers, other_body.encode(), AT))
            assert error.value.refusal is Refusal.NOT_AUTHENTIC
