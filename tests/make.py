"""What tests plug in, send and look at, in one line each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from models.base import Base
from tests.harness import Gateway, eventually

Json = Any

ERRORS = """userErrors { code message field httpStatus
  ... on ConflictError { conflictingId }
  ... on DeliveryError { providerCode providerMessage stage deliveryTimeMs } }"""
CONNECTOR = """id workspaceId name description channelType provider priority enabled routingKey conversational isVerified
  verifiedAt config revision createdAt updatedAt template { ref } throttle { perSecond }
  status { ready reasons checks { results { name status assertions { name status message } } }
           channel { status stage errorMessage } }
  channel { id platform identifier status stage }"""
RESULTS = {
    "connectorCreate": f"connector {{ {CONNECTOR} }} isReplay",
    "connectorUpdate": f"connector {{ {CONNECTOR} }}",
    "connectorUpsert": f"connector {{ {CONNECTOR} }} created",
    "connectorVerify": f"connector {{ {CONNECTOR} }}",
    "connectorTest": f"success message deliveryTimeMs testedAt stages {{ name ok detail }} connector {{ {CONNECTOR} }}",
    "connectorDelete": "deletedConnectorId deletedChannelId reroutedMessages failedMessages connectors { id }",
    "messageSend": "message { id status connector { id } }",
    "apiKeyCreate": "apiKey { id name prefix scopes createdBy expiresAt lastUsedAt revokedAt createdAt } key",
    "apiKeyRevoke": "apiKey { id revokedAt }",
    "workspaceCreate": "workspace { id name organizationId willActive retentionDays }",
    "workspaceUpdate": "workspace { name willActive }",
}


def smtp(port: int = 2525, **changes: Json) -> Json:
    """Typed settings of a mail server on this machine."""
    settings = {"smtpHost": "127.0.0.1", "smtpPort": port, "fromAddress": "shop@example.com", "security": "NONE"}
    return {"smtp": {**settings, **changes}}


def twilio(url: str = "http://127.0.0.1:9", **changes: Json) -> Json:
    settings = {
        "accountSid": "AC00000000000000000000000000000000",
        "apiKeySid": "SK00000000000000000000000000000000",
        "apiKeySecret": "twilio-secret",
        "fromNumber": "+15005550006",
        "baseUrl": url,
    }
    return {"twilio": {**settings, **changes}}


def telegram(url: str = "http://127.0.0.1:9", **changes: Json) -> Json:
    return {"telegramBot": {"botToken": "1234567890:ABCdefGHIjklMNOpqrsTUVwxyz012345678", "baseUrl": url, **changes}}


def whatsapp(url: str = "http://127.0.0.1:9", **changes: Json) -> Json:
    settings = {"accessToken": "EAAB-meta", "phoneNumberId": "106540352242922", "businessAccountId": "102290129340398"}
    return {"whatsappCloud": {**settings, "baseUrl": url, **changes}}


async def mutate(gateway: Gateway, field: str, token: str | None = None, select: str | None = None, **input: Json) -> Json:
    """The payload of a mutation that takes one `input`."""
    kind = f"{field[0].upper()}{field[1:]}Input"
    text = f"mutation($input: {kind}!) {{ {field}(input: $input) {{ {select or RESULTS[field]} {ERRORS} }} }}"
    return (await gateway.gql(text, token, input=input))[field]


async def connector(gateway: Gateway, name: str = "Sim", token: str | None = None, **input: Json) -> Json:
    """A connector just plugged in; a simulator unless `config` says otherwise."""
    given = {"name": name, "config": {"simulator": {}}, **input}
    payload = await mutate(gateway, "connectorCreate", token, **given)
    assert payload["userErrors"] == []
    return payload["connector"]


async def api_key(gateway: Gateway, *scopes: str, token: str | None = None, **input: Json) -> tuple[str, str]:
    """The id and the text of a key just made; it opens everything unless scopes are named."""
    payload = await mutate(gateway, "apiKeyCreate", token, name="A key", scopes=list(scopes) or ["*"], **input)
    assert payload["userErrors"] == []
    return payload["apiKey"]["id"], payload["key"]


async def working(gateway: Gateway, name: str = "Sim", token: str | None = None, **input: Json) -> Json:
    """A connector whose checks succeeded."""
    made = await connector(gateway, name, token, **input)
    return await settled(gateway, made["id"], token)


async def settled(gateway: Gateway, connector_id: str, token: str | None = None) -> Json:
    """The connector when its checks have run."""

    async def probe() -> Json:
        found = await read(gateway, connector_id, token)
        return found if found["status"]["channel"]["stage"] != "PROVISIONING" else None

    return await eventually(probe)


async def read(gateway: Gateway, connector_id: str, token: str | None = None) -> Json:
    text = f"query($id: ID!) {{ connector(id: $id) {{ {CONNECTOR} }} }}"
    return (await gateway.gql(text, token, id=connector_id))["connector"]


async def change(gateway: Gateway, connector_id: str, **input: Json) -> Json:
    """The connector after an update that must succeed."""
    payload = await mutate(gateway, "connectorUpdate", id=connector_id, **input)
    assert payload["userErrors"] == []
    return payload["connector"]


async def message(gateway: Gateway, to: str = "delivered", **input: Json) -> Json:
    """A message just accepted; for the simulator unless `channel` or `connectorId` says otherwise."""
    where = {} if "connectorId" in input else {"channel": "SIMULATOR"}
    payload = await mutate(gateway, "messageSend", **{"to": to, "body": "Hello", **where, **input})
    assert payload["userErrors"] == []
    return payload["message"]


async def arrived(gateway: Gateway, message_id: str, status: str, token: str | None = None) -> Json:
    """The message once it has this status."""

    async def probe() -> Json:
        found = (await gateway.gql("query($id: ID!) { message(id: $id) { id status } }", token, id=message_id))["message"]
        return found if found["status"] == status else None

    return await eventually(probe)


async def refused(gateway: Gateway, field: str, **input: Json) -> list[tuple[str, list[str], str]]:
    """Code, path and message of every error of a mutation that must change nothing in the database."""
    before = await counts(gateway)
    payload = await mutate(gateway, field, **input)
    assert await counts(gateway) == before
    return [(error["code"], error["field"], error["message"]) for error in payload["userErrors"]]


async def counts(gateway: Gateway) -> dict[str, int]:
    """How many rows each table that belongs to workspaces has; what workers tell each other, and how
    often a viewer has called what, is left out."""
    found = {}
    async with gateway.read() as session:
        for table in (table for table in Base.metadata.sorted_tables if "workspace_id" in table.columns):
            found[table.name] = await session.scalar(select(func.count()).select_from(table)) or 0
    del found["spending"]
    return found


async def events(gateway: Gateway, subject_id: str) -> list[tuple[str, str | None, str, str]]:
    """Type, previous stage, stage and cause of every event about a connector."""
    text = """query($ids: [ID!]) { events(first: 100, filter: {subjectIds: $ids}) { nodes { type
      ... on ChannelStatusChanged { previousStage cause status { channel { stage } } } } } }"""
    found = (await gateway.gql(text, ids=[subject_id]))["events"]["nodes"]
    return [(e["type"], e["previousStage"], e["status"]["channel"]["stage"], e["cause"]) for e in found]
