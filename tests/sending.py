"""What tests of messages say to a gateway, in words: plug in a connector, send, wait, look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from channels.base import Report
from delivery import receipts
from models.connectors import Connector
from models.events import Event
from models.messages import Attempt, Message
from models.queue import Job
from models.workspaces import Workspace
from tests.harness import Gateway, Stream, eventually

Json = Any

CREATE = """mutation($input: ConnectorCreateInput!) {
  connectorCreate(input: $input) { connector { id routingKey } userErrors { code message field } } }"""
UPDATE = """mutation($input: ConnectorUpdateInput!) {
  connectorUpdate(input: $input) { connector { id } userErrors { code message field } } }"""
DELETE = """mutation($id: ID!) {
  connectorDelete(input: {id: $id}) { deletedConnectorId reroutedMessages failedMessages userErrors { code message } } }"""
CONNECTOR = """query($id: ID!) {
  connector(id: $id) { isVerified status { ready reasons channel { stage status errorMessage } } throttle { pausedUntil } } }"""
SEND = """mutation($input: MessageSendInput!) {
  messageSend(input: $input) {
    isReplay message { id status expiresAt scheduledAt } userErrors { code message field httpStatus } } }"""
MESSAGE = """query($id: ID!) { message(id: $id) {
  id status to flow priority externalId sentAt deliveredAt expiresAt scheduledAt createdAt updatedAt segments
  connector { id }
  failure { code kind message providerCode providerMessage isRetryable }
  attempts { number outcome startedAt finishedAt durationMs providerStatus exchange nextAttemptAt connector { id }
    failure { code kind isRetryable } }
  timeline { type status source detail attempt connector { id } cursor eventId occurredAt } } }"""


async def plug(gateway: Gateway, name: str = "sim", token: str | None = None, **given: Json) -> Json:
    """A connector whose checks are done; a simulator unless another `config` is given."""
    given.setdefault("config", {"simulator": {}})
    made = (await gateway.gql(CREATE, token, input={"name": name, **given}))["connectorCreate"]
    assert made["userErrors"] == [], made

    async def checked() -> bool:
        found = (await gateway.gql(CONNECTOR, token, id=made["connector"]["id"]))["connector"]
        return bool(found["status"]["channel"]["stage"] != "PROVISIONING")

    await eventually(checked)
    return made["connector"]


async def change(gateway: Gateway, connector_id: str, **given: Json) -> None:
    changed = (await gateway.gql(UPDATE, input={"id": connector_id, **given}))["connectorUpdate"]
    assert changed["userErrors"] == [], changed


async def try_send(gateway: Gateway, token: str | None = None, **given: Json) -> Json:
    """The whole payload of one `messageSend`."""
    return (await gateway.gql(SEND, token, input=given))["messageSend"]


async def send(gateway: Gateway, to: str = "delivered", token: str | None = None, **given: Json) -> str:
    """The id of an accepted message, to the SIMULATOR channel unless told otherwise."""
    if not given.keys() & {"connectorId", "routingKey", "channel"}:
        given["channel"] = "SIMULATOR"
    payload = await try_send(gateway, token, **{"to": to, "body": "Hello", **given})
    assert payload["userErrors"] == [], payload
    return str(payload["message"]["id"])


async def message(gateway: Gateway, message_id: str, token: str | None = None) -> Json:
    return (await gateway.gql(MESSAGE, token, id=message_id))["message"]


async def settled(gateway: Gateway, message_id: str, *statuses: str, token: str | None = None, seconds: float = 10) -> Json:
    """The message, once it stands at one of `statuses`."""

    async def there() -> Json:
        found = await message(gateway, message_id, token)
        return found if found["status"] in statuses else None

    return await eventually(there, seconds)


def script(*steps: str | Json, receipts: Sequence[tuple[int, str]] = (), latency: int = 0) -> Json:
    """Metadata that tells the simulator what to do; a step is an outcome, or an outcome with its details."""
    told = [{"outcome": step} if isinstance(step, str) else step for step in steps]
    later = [{"afterMs": after, "status": status} for after, status in receipts]
    return {"simulator": {"steps": told or [{"outcome": "accept"}], "receipts": later, "latencyMs": latency}}


async def stored(gateway: Gateway) -> dict[str, int]:
    """How many rows there are of what a refusal must not leave behind."""
    async with gateway.read() as session:
        return {
            table.__tablename__: await session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Message, Job, Attempt)
        }


async def log_of(gateway: Gateway, workspace: Workspace | None = None) -> list[Event]:
    """A workspace's whole event log."""
    mine = Event.workspace_id == (workspace or gateway.demo).id
    async with gateway.read() as session:
        return list(await session.scalars(select(Event).where(mine).order_by(Event.seq)))


async def frames(stream: Stream, count: int, seconds: float = 10) -> list[Json]:
    return [await stream.next(seconds) for _ in range(count)]


async def hear(gateway: Gateway, connector: Connector, report: Report) -> None:
    """Have a receipt stored and applied."""
    database = gateway.application.database
    async with database.write() as session:
        names = await receipts.keep(session, [(connector, report)])
    await receipts.catch_up(database, names)
