"""An organization's WhatsApp line: set once, used by every connector that shares it, the platform's where there is none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tests import lab, make
from tests.harness import Gateway, Json, running, settings_for
from tests.provider_server import ProviderServer, Reply
from tests.sending import send, settled, try_send

PLATFORM, OWN, OTHER = "100", "200", "300"
LINE = "line { whatsappPhoneNumberId usesPlatformDefault platformLineConfigured hasAccessToken }"
READ = f"{{ viewer {{ organization {{ whatsappCloudLine {{ {LINE[7:-2]} }} }} }} }}"
SENT = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.1"}]}
NUMBER = {"display_phone_number": "+1 555", "code_verification_status": "VERIFIED", "quality_rating": "GREEN"}


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Gateway]:
    platform = {"whatsapp_phone_number_id": PLATFORM, "whatsapp_access_token": SecretStr("platform-token")}
    settings = settings_for(tmp_path).model_copy(update=platform)
    async with running(settings, worker=False) as started:
        yield started


@pytest.fixture
async def meta() -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as server:
        for number in (PLATFORM, OWN):
            server.on("GET", f"/v23.0/{number}", Reply(200, {"id": number, **NUMBER}))
            server.on("POST", f"/v23.0/{number}/messages", Reply(200, SENT))
        yield server


async def update(gateway: Gateway, token: str | None = None, **given: Json) -> Json:
    return await make.mutate(gateway, "whatsappCloudLineUpdate", token, LINE, **given)


async def line(gateway: Gateway, token: str | None = None) -> tuple[Json, ...]:
    found = (await gateway.gql(READ, token))["viewer"]["organization"]["whatsappCloudLine"]
    return tuple(found.values())


def last(meta: ProviderServer) -> tuple[str, str]:
    """Where the last message went, and with which token."""
    sent = [request for request in meta.requests if request.method == "POST"][-1]
    return sent.path, sent.headers["authorization"]


async def test_the_line_is_what_messages_go_over(idle: Gateway, meta: ProviderServer) -> None:
    assert await line(idle) == (None, True, True, False)
    connector_id = await lab.verified(idle, "Line", {"whatsappLine": {"baseUrl": meta.url}})
    whatsapp = {"channel": "WHATSAPP", "to": "+447700900123", "body": "Hi"}
    async with lab.working(idle):
        await settled(idle, await send(idle, **whatsapp), "SENT")
        assert last(meta) == (f"/v23.0/{PLATFORM}/messages", "Bearer platform-token")
        changed = await update(idle, whatsappPhoneNumberId=OWN, whatsappAccessToken="own-token")
        assert (tuple(changed["line"].values()), changed["userErrors"]) == ((OWN, False, True, True), [])
        await settled(idle, await send(idle, connectorId=connector_id, to="+447700900123"), "SENT")
        assert last(meta) == (f"/v23.0/{OWN}/messages", "Bearer own-token")
        await update(idle, whatsappAccessToken=None)
        assert await line(idle) == (OWN, False, True, False)
        await settled(idle, await send(idle, connectorId=connector_id, to="+447700900123"), "SENT")
        assert last(meta) == (f"/v23.0/{OWN}/messages", "Bearer platform-token")
        await update(idle, whatsappPhoneNumberId=None)
        await settled(idle, await send(idle, connectorId=connector_id, to="+447700900123"), "SENT")
        assert last(meta) == (f"/v23.0/{PLATFORM}/messages", "Bearer platform-token")
    assert await line(idle) == (None, True, True, False)


async def test_a_number_in_use_tells_nothing_of_whose_it_is(idle: Gateway) -> None:
    other = await idle.workspace("other")
    assert (await update(idle, idle.token(workspace=other), whatsappPhoneNumberId=OTHER))["userErrors"] == []
    for number in (OTHER, PLATFORM):
        (error,) = (await update(idle, whatsappPhoneNumberId=number, whatsappAccessToken="x"))["userErrors"]
        assert (error["code"], error["field"], error["httpStatus"], error["conflictingId"]) == (
            "WHATSAPP_PHONE_NUMBER_ID_IN_USE",
            ["input", "whatsappPhoneNumberId"],
            409,
            None,
        )
        assert error["message"] == "This phone number id is in use."
    assert await line(idle) == (None, True, True, False)
    assert (await update(idle, idle.token(workspace=other), whatsappPhoneNumberId=OTHER))["userErrors"] == []


async def test_the_token_is_sealed_and_never_shown(idle: Gateway) -> None:
    await update(idle, whatsappPhoneNumberId=OWN, whatsappAccessToken="EAAB-very-secret")
    made = await make.connector(idle, "Line", config={"whatsappLine": {}})
    assert made["config"] == {"baseUrl": "https://graph.facebook.com"} | made["config"]
    async with idle.read() as session:
        (kept,) = (await session.execute(text("SELECT whatsapp_access_token FROM organization"))).one()
        (copy,) = (await session.execute(text("SELECT line FROM connector"))).one()
        events = (await session.execute(text("SELECT payload FROM event"))).all()
        changes = (await session.execute(text("SELECT changes FROM audit_entry"))).all()
    assert kept.startswith("v1.") and "very-secret" not in f"{kept}{copy}{events}{changes}{made}"
    assert re.search(r"whatsappAccessToken.*\*\*\*\*", str(changes))


REFUSED = [
    ({}, ["input"]),
    ({"whatsappPhoneNumberId": "+4477"}, ["input", "whatsappPhoneNumberId"]),
    ({"whatsappPhoneNumberId": ""}, ["input", "whatsappPhoneNumberId"]),
    ({"whatsappPhoneNumberId": "1" * 33}, ["input", "whatsappPhoneNumberId"]),
    ({"whatsappAccessToken": "two words"}, ["input", "whatsappAccessToken"]),
    ({"whatsappAccessToken": ""}, ["input", "whatsappAccessToken"]),
]


async def test_what_no_line_can_be_is_refused(idle: Gateway) -> None:
    for given, field in REFUSED:
        (error,) = (await update(idle, **given))["userErrors"]
        assert (error["code"], error["field"]) == ("VALIDATION_ERROR", field)
    reader = idle.token("members:read")
    assert await line(idle, reader) == (None, True, True, False)
    mutation = "mutation { whatsappCloudLineUpdate(input: {whatsappPhoneNumberId: null}) { line { hasAccessToken } } }"
    for query, token, scope in ((mutation, reader, "members:write"), (READ, idle.token("send:*"), "members:read")):
        (error,) = (await idle.post(query, None, token))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["requiredScope"]) == ("FORBIDDEN", scope)


async def test_without_any_line_the_checks_say_so(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        made = await make.working(gateway, "Line", config={"whatsappLine": {}})
        assert made["isVerified"] is False
        assert "Neither the organization nor the platform has a WhatsApp line" in made["status"]["channel"]["errorMessage"]
        assert await line(gateway) == (None, True, False, False)


async def test_whatsapp_can_be_switched_off(tmp_path: Path) -> None:
    settings = settings_for(tmp_path).model_copy(
        update={"whatsapp_cloud_api_enabled": False, "whatsapp_app_secret": SecretStr("app-secret")}
    )
    async with running(settings, worker=False) as gateway:
        before = await make.counts(gateway)
        payload = await try_send(gateway, channel="WHATSAPP", to="+447700900123", body="Hi")
        assert [(e["code"], e["field"]) for e in payload["userErrors"]] == [("CHANNEL_DISABLED", ["input", "channel"])]
        assert await make.counts(gateway) == before
        async with gateway.http.get(f"{gateway.url}/v1/webhooks/whatsapp") as response:
            assert response.status == 404
