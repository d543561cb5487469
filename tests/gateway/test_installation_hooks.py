"""The addresses of the whole installation: one Meta app for many numbers, and SMS centres that know only our JSON."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import logs
from tests import lab, make
from tests.gateway import calls
from tests.harness import Gateway, Json, running, settings_for
from tests.provider_server import ProviderServer, Reply

DLR_TOKEN, TEXT_TOKEN, VERIFY = "dlr-token-0123456789", "text-token-0123456789", "meta-verify-token"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SETTINGS: Json = {
    "public_url": calls.PUBLIC,
    "sms_dlr_token": DLR_TOKEN,
    "sms_provider_secret": SECRET,
    "sms_inbound_opt_out_token": TEXT_TOKEN,
    "whatsapp_verify_token": VERIFY,
    "whatsapp_app_secret": calls.APP_SECRET,
}
WHATSAPP, SMS = "/v1/webhooks/whatsapp", "/v1/webhooks/sms"
BODIES = "{ inboundMessages { nodes { body from to } } }"
ORPHANS = "{ orphanReceipts { nodes { externalId status connector { id } } } }"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path, **SETTINGS)) as started:
        yield started


@pytest.fixture
async def provider() -> AsyncIterator[lab.Twilio]:
    async with lab.Twilio() as started:
        yield started


@pytest.fixture
async def meta() -> AsyncIterator[ProviderServer]:
    """Meta, as far as the checks of a connector ask it."""
    number = {"id": "106540352242922", "code_verification_status": "VERIFIED"}
    async with ProviderServer(default=Reply(200, {**number, "data": [number]})) as started:
        yield started


def whatsapp(meta: ProviderServer, **more: Json) -> Json:
    config = {"accessToken": "EAAB", "phoneNumberId": "106540352242922", "businessAccountId": "1", "baseUrl": meta.url}
    return {"whatsappCloud": {**config, **more}}


def told(text: str, number: str = "106540352242922") -> Json:
    message = {"from": "447700900123", "id": f"wamid.{text}", "timestamp": "1", "type": "text", "text": {"body": text}}
    value = {"metadata": {"phone_number_id": number, "display_phone_number": "15550783881"}, "messages": [message]}
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]}


async def bodies(gateway: Gateway, token: str | None = None) -> list[str]:
    return [one["body"] for one in (await gateway.gql(BODIES, token))["inboundMessages"]["nodes"]]


async def post(gateway: Gateway, path: str, content: Json, **headers: str) -> tuple[int, str]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await calls.call(gateway, f"{calls.PUBLIC}{path}", body, headers)


# ------------------------------------------------------------------ Meta


async def test_meta_introduces_itself(gateway: Gateway) -> None:
    url = f"{calls.PUBLIC}{WHATSAPP}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    assert await calls.call(gateway, url + VERIFY, method="GET") == (200, "1158201444")
    assert await calls.call(gateway, url + "wrong", method="GET") == (403, "The verify token is wrong.\n")
    assert (await calls.call(gateway, f"{calls.PUBLIC}{WHATSAPP}", method="GET"))[0] == 403


async def test_meta_tells_the_connector_with_the_number(gateway: Gateway, meta: ProviderServer) -> None:
    await make.connector(gateway, "wa", config=whatsapp(meta))
    assert await calls.meta(gateway, f"{calls.PUBLIC}{WHATSAPP}", told("Hi")) == (200, "")
    assert await calls.meta(gateway, f"{calls.PUBLIC}{WHATSAPP}", told("Hi")) == (200, "")
    assert await calls.meta(gateway, f"{calls.PUBLIC}{WHATSAPP}", told("Lost", "999")) == (200, "")
    assert (await gateway.gql(BODIES))["inboundMessages"]["nodes"] == [
        {"body": "Hi", "from": "+447700900123", "to": "+15550783881"}
    ]


async def test_a_call_meta_did_not_sign_stores_nothing(gateway: Gateway, meta: ProviderServer) -> None:
    made = await make.connector(gateway, "wa", config=whatsapp(meta, appSecret="another-secret"))
    for url in (f"{calls.PUBLIC}{WHATSAPP}", await calls.hook(gateway, made["id"])):
        assert (await calls.meta(gateway, url, told("Hi"), "a guess"))[0] == 401
        assert (await calls.call(gateway, url, json.dumps(told("Hi")).encode()))[0] == 401
    assert await calls.stored(gateway) == ([], [])


async def test_a_number_that_two_workspaces_claim_is_told_to_who_holds_the_secret(
    gateway: Gateway, meta: ProviderServer
) -> None:
    token = gateway.token(workspace=await gateway.workspace("other"))
    await make.connector(gateway, "wa", config=whatsapp(meta))
    await make.connector(gateway, "wa", token, config=whatsapp(meta, appSecret=calls.APP_SECRET))
    assert (await calls.meta(gateway, f"{calls.PUBLIC}{WHATSAPP}", told("Hi")))[0] == 200
    assert (await bodies(gateway), await bodies(gateway, token)) == ([], ["Hi"])


async def test_an_address_of_a_connector_tells_of_its_own_number_only(gateway: Gateway, meta: ProviderServer) -> None:
    made = await make.connector(gateway, "wa", config=whatsapp(meta, appSecret=calls.APP_SECRET))
    url = await calls.hook(gateway, made["id"])
    assert (await calls.meta(gateway, url, told("Theirs", "999")))[0] == 200
    assert (await calls.meta(gateway, url, told("Mine")))[0] == 200
    assert await bodies(gateway) == ["Mine"]


async def test_a_body_that_is_no_json_is_malformed(gateway: Gateway) -> None:
    for content in ([], {"entry": 1}, "x"):
        assert (await calls.meta(gateway, f"{calls.PUBLIC}{WHATSAPP}", content)) == (400, "The body cannot be read.\n")


# ------------------------------------------------------------------ SMS centres


async def test_a_receipt_in_our_json_moves_the_message(gateway: Gateway, provider: lab.Twilio) -> None:
    connector_id = await lab.verified(gateway, "sms", calls.twilio_config(provider))
    first, second, third = [await calls.sent(gateway) for _ in range(3)]
    path = f"{SMS}/dlr?token={DLR_TOKEN}"
    assert await post(gateway, path, {"messageId": first["externalId"], "status": "DELIVRD"}) == (200, "")
    failed = {"messageId": second["id"], "status": "undelivered", "errorCode": "27", "errorMessage": "absent"}
    named = {"id": third["externalId"], "status": "delivered", "connectorId": connector_id}
    odd = {"messageId": third["externalId"], "status": "pondering"}
    assert (await post(gateway, path, {"reports": [failed, named, odd]}))[0] == 200
    await make.arrived(gateway, first["id"], "DELIVERED")
    await make.arrived(gateway, second["id"], "FAILED")
    await make.arrived(gateway, third["id"], "DELIVERED")
    text = "query($id: ID!) { message(id: $id) { failure { code providerCode providerMessage } } }"
    found = (await gateway.gql(text, id=second["id"]))["message"]["failure"]
    assert found == {"code": "UNDELIVERED", "providerCode": "27", "providerMessage": "absent"}


async def test_a_receipt_for_nobody_is_shown_to_platform_administrators(gateway: Gateway) -> None:
    path = f"{SMS}/dlr?token={DLR_TOKEN}"
    assert (await post(gateway, path, {"messageId": "nobody's", "status": "delivered"}))[0] == 200
    assert (await gateway.gql(ORPHANS))["orphanReceipts"]["nodes"] == []
    (orphan,) = (await gateway.gql(ORPHANS, gateway.token(admin=True)))["orphanReceipts"]["nodes"]
    assert orphan == {"externalId": "nobody's", "status": "DELIVERED", "connector": None}


@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong", "?token=" + DLR_TOKEN[:-1], f"?tok={DLR_TOKEN}"])
async def test_a_wrong_token_stores_nothing(gateway: Gateway, token: str) -> None:
    content = {"messageId": "a", "status": "delivered"}
    assert (await post(gateway, f"{SMS}/dlr{token}", content))[0] == 401
    assert (await post(gateway, f"{SMS}/inbound-opt-out{token}", content))[0] == 401
    assert await calls.stored(gateway) == ([], [])


async def test_a_signed_receipt_counts_once_and_only_while_it_is_fresh(gateway: Gateway) -> None:
    body = json.dumps({"messageId": "SM1", "status": "delivered"}).encode()

    async def call(headers: dict[str, str], content: bytes = body) -> int:
        return (await post(gateway, f"{SMS}/provider", content, **headers))[0]

    now = time.time()
    right = calls.standard_headers(SECRET, body, "evt_1")
    for headers in (
        {},
        {**right, "webhook-signature": "v1,AAAA"},
        {**right, "webhook-id": "evt_2"},
        calls.standard_headers(SECRET, body, "evt_1", now - 301),
        calls.standard_headers(SECRET, body, "evt_1", now + 360),
        calls.standard_headers("whsec_" + "A" * 32, body, "evt_1"),
    ):
        assert await call(headers) == 401
    assert await call(right, body + b" ") == 401
    assert await calls.stored(gateway) == ([], [])
    assert [await call(right) for _ in range(3)] == [200] * 3
    (receipt,) = (await calls.stored(gateway))[0]
    assert receipt.event_id == "evt_1:0"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"nonsense", {}, {"messageId": "a"}, {"messageId": "", "status": "sent"}, {"reports": [{}]}]
)
async def test_what_is_no_receipt_is_malformed(gateway: Gateway, content: Json) -> None:
    assert (await post(gateway, f"{SMS}/dlr?token={DLR_TOKEN}", content)) == (400, "The body cannot be read.\n")
    assert await calls.stored(gateway) == ([], [])


async def test_a_text_goes_to_who_has_written_to_that_phone(gateway: Gateway, provider: lab.Twilio) -> None:
    await lab.verified(gateway, "sms", calls.twilio_config(provider))
    path = f"{SMS}/inbound-opt-out?token={TEXT_TOKEN}"
    text = {"from": "447700900123", "to": "+15005550006", "text": "Hello", "messageId": "mo1"}
    assert (await post(gateway, path, text))[0] == 200
    assert await calls.stored(gateway) == ([], [])
    await calls.sent(gateway)
    assert [(await post(gateway, path, text))[0] for _ in range(2)] == [200, 200]
    assert await bodies(gateway) == ["Hello"]
    other = gateway.token(workspace=await gateway.workspace("other"))
    assert await bodies(gateway, other) == []


async def test_a_text_goes_to_who_has_written_to_that_phone_and_forgotten_it(gateway: Gateway, provider: lab.Twilio) -> None:
    await lab.verified(gateway, "sms", calls.twilio_config(provider))
    message = await calls.sent(gateway)
    await make.mutate(gateway, "messageDelete", select="message { id }", id=message["id"])
    path = f"{SMS}/inbound-opt-out?token={TEXT_TOKEN}"
    for sender in ("447700900123", "447700900124"):
        text = {"from": sender, "to": "+15005550006", "text": "STOP", "messageId": sender}
        assert (await post(gateway, path, text))[0] == 200
    assert await bodies(gateway) == ["STOP"]
    found = await gateway.gql("{ optOuts { nodes { recipient } } }")
    assert found["optOuts"]["nodes"] == [{"recipient": "+447700900123"}]


# ------------------------------------------------------------------ off unless switched on


async def test_nothing_is_there_that_is_not_configured(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path / "plain")) as plain:
        for path in (WHATSAPP, f"{SMS}/dlr?token=", f"{SMS}/provider", f"{SMS}/inbound-opt-out?token=x"):
            async with plain.http.post(plain.url + path, data=b"{}") as response:
                assert response.status == 404


async def test_no_token_or_key_is_logged(gateway: Gateway, provider: lab.Twilio) -> None:
    connector_id = await lab.verified(gateway, "sms", calls.twilio_config(provider))
    url = await calls.hook(gateway, connector_id)
    logs.configure("debug", "json", stream=(lines := io.StringIO()))
    try:
        await calls.twilio(gateway, url, {"MessageSid": "SM1"}, "wrong")
        await calls.twilio(gateway, f"{url}x", {"MessageSid": "SM1"})
        await post(gateway, f"{SMS}/dlr?token={DLR_TOKEN}", b"nonsense")
        await post(gateway, f"{SMS}/dlr?token=wrong-{TEXT_TOKEN}", {})
        text = {"from": "+447700900199", "text": "STOP", "messageId": "1"}
        await post(gateway, f"{SMS}/inbound-opt-out?token={TEXT_TOKEN}", text)
    finally:
        logs.configure("info", "console")
    ours = [line for line in lines.getvalue().splitlines() if "uvicorn.access" not in line]  # which no server of ours writes
    assert sum("callback_refused" in line for line in ours) == 4
    for secret in (DLR_TOKEN, TEXT_TOKEN, url.rpartition("/")[2], calls.AUTH_TOKEN, "447700900199"):
        assert not any(secret in line for line in ours)
