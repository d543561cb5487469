"""What providers do to the gateway in tests: sign and call, as the real ones would."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import IO
from urllib.parse import urlencode

from sqlalchemy import select

from models.inbound import InboundMessage
from models.receipts import Receipt
from tests import lab, make
from tests.harness import Gateway, Json
from tests.provider_server import Reply

PUBLIC = "https://gw.example"
AUTH_TOKEN = "twilio-auth-token-5f2e"
APP_SECRET = "meta-app-secret-77aa"
FORM = "application/x-www-form-urlencoded"

CONNECTOR = """query($id: ID!) { connector(id: $id) {
  inboundWebhookUrl status { inbound { status stage errorMessage } } } }"""


def twilio_config(provider: lab.Twilio) -> Json:
    numbers = {"incoming_phone_numbers": [{"capabilities": {"sms": True}}]}
    provider.on("GET", f"{lab.ACCOUNT}/IncomingPhoneNumbers.json", Reply(200, numbers))
    config = provider.config
    (key,) = config
    return {key: {**config[key], "authToken": AUTH_TOKEN, "fromNumber": "+15005550006"}}


async def hook(gateway: Gateway, connector_id: str) -> str:
    """The public address of a connector."""
    return str((await gateway.gql(CONNECTOR, id=connector_id))["connector"]["inboundWebhookUrl"])


async def inbound_status(gateway: Gateway, connector_id: str) -> Json:
    return (await gateway.gql(CONNECTOR, id=connector_id))["connector"]["status"]["inbound"]


async def call(
    gateway: Gateway, url: str, body: bytes | IO[bytes] = b"", headers: Mapping[str, str] | None = None, method: str = "POST"
) -> tuple[int, str]:
    """Call a public address as a proxy before the gateway would pass it on."""
    local = url.replace(PUBLIC, gateway.url)
    async with gateway.http.request(method, local, data=body, headers=dict(headers or {})) as response:
        return response.status, await response.text()


def twilio_signature(url: str, fields: Mapping[str, str], token: str = AUTH_TOKEN) -> str:
    signed = url + "".join(name + value for name, value in sorted(fields.items()))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()


async def twilio(gateway: Gateway, url: str, fields: Mapping[str, str], signature: str | None = None) -> tuple[int, str]:
    headers = {"content-type": FORM, "x-twilio-signature": signature or twilio_signature(url, fields)}
    return await call(gateway, url, urlencode(fields).encode(), headers)


async def meta(gateway: Gateway, url: str, content: Json, secret: str = APP_SECRET) -> tuple[int, str]:
    body = json.dumps(content).encode()
    signature = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
    return await call(gateway, url, body, {"content-type": "application/json", "x-hub-signature-256": signature})


def standard_headers(secret: str, body: bytes, event_id: str, at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{event_id}.{timestamp}.".encode() + body, "sha256")).decode()
    return {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1a,x v1,{signature}"}


async def stored(gateway: Gateway) -> tuple[list[Receipt], list[InboundMessage]]:
    """All that providers have told."""
    async with gateway.read() as session:
        receipts = list(await session.scalars(select(Receipt).order_by(Receipt.id)))
        return receipts, list(await session.scalars(select(InboundMessage).order_by(InboundMessage.id)))


async def sent(gateway: Gateway, to: str = "+447700900123", **given: Json) -> Json:
    """An SMS the provider took."""
    made = await accepted(gateway, to, **given)
    await make.arrived(gateway, made["id"], "SENT")
    found = await gateway.gql("query($id: ID!) { message(id: $id) { id externalId } }", id=made["id"])
    return found["message"]


async def accepted(gateway: Gateway, to: str = "+447700900123", **given: Json) -> Json:
    """An SMS that is going to be sent."""
    return await make.message(gateway, to, channel="SMS", senderId=await lab.approve(gateway), **given)
