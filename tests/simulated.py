"""Simulated connectors and messages, through the API."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from models.base import Base
from models.migrate import METADATA
from tests.harness import Gateway, Json, eventually

CREATE = """mutation($input: ConnectorCreateInput!) {
  connectorCreate(input: $input) { connector { id } userErrors { code message field } }
}"""
VERIFY = "mutation($id: ID!) { connectorVerify(input: {id: $id}) { connector { isVerified } userErrors { code } } }"
SEND = """mutation($input: MessageSendInput!) {
  messageSend(input: $input) { message { id status } userErrors { code message field } }
}"""
MESSAGE = """query($id: ID!) { message(id: $id) {
  id status to subject body html template metadata media { url } clientReference externalId priority batchId
  failure { code kind message providerCode providerMessage } attempts { number outcome exchange failure { code message } }
  timeline { type status source detail } scheduledAt expiresAt sentAt redactedAt createdAt connector { id } } }"""


async def plug(gateway: Gateway, name: str = "Sim", token: str | None = None, **config: Any) -> str:
    """The id of a verified simulator."""
    created = await gateway.gql(CREATE, token, input={"name": name, "config": {"simulator": config}})
    assert created["connectorCreate"]["userErrors"] == []
    connector_id: str = created["connectorCreate"]["connector"]["id"]
    verified = await gateway.gql(VERIFY, token, id=connector_id)
    assert verified["connectorVerify"]["connector"] == {"isVerified": True}
    return connector_id


async def send(gateway: Gateway, **given: Any) -> str:
    """The id of an accepted message."""
    sent = (await gateway.gql(SEND, input={"to": "ada", "channel": "SIMULATOR", "body": "Hello", **given}))["messageSend"]
    assert sent["userErrors"] == []
    message_id: str = sent["message"]["id"]
    return message_id


async def message_of(gateway: Gateway, message_id: str) -> Json:
    return (await gateway.gql(MESSAGE, id=message_id))["message"]


async def until(gateway: Gateway, message_id: str, *statuses: str) -> Json:
    """The message, as soon as it stands in one of `statuses`."""

    async def there() -> Json:
        found = await message_of(gateway, message_id)
        return found if found["status"] in statuses else None

    return await eventually(there)


async def count(gateway: Gateway, table: type[Base], *where: Any) -> int:
    async with gateway.read() as session:
        return await session.scalar(select(func.count()).select_from(table).where(*where)) or 0


async def everything(gateway: Gateway) -> str:
    """The whole content of the database, to search in."""
    found = []
    async with gateway.read() as session:
        for table in METADATA.sorted_tables:
            found += [(table.name, *row) for row in await session.execute(select(table))]
    return "\n".join(repr(row) for row in found)
