"""`make demo`: a mail server, a gateway and a client of it, all on this machine, and ten e-mails that travel between them.

Nothing is faked and nothing stays: the gateway has a temporary folder, and the client speaks its public API.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import aiohttp
from aiosmtpd.smtp import SMTP, Envelope
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway import keys, logs
from gateway.auth import mint
from gateway.serve import serve
from gateway.settings import Settings, SettingsError
from gateway.storage import prepare

NAMES = ("Ada", "Alan", "Barbara", "Claude", "Edsger", "Grace", "Hedy", "Katherine", "Radia", "Vint")
LIMIT_SECONDS = 60
COLORS = {"": "", "QUEUED": "yellow", "PROCESSING": "cyan", "SENT": "green"}

CREATE = """mutation ($input: ConnectorCreateInput!) {
  connectorCreate(input: $input) { connector { id name } userErrors { message } }
}"""
CHANNEL = """subscription ($ids: [ID!]) {
  channelStatusChanged(connectorIds: $ids) { cursor status { ready reasons channel { stage errorMessage } } }
}"""
TEST = """mutation ($input: ConnectorTestInput!) {
  connectorTest(input: $input) { message deliveryTimeMs stages { name durationMs } userErrors { message } }
}"""
SEND = """mutation ($input: MessageSendInput!) {
  messageSend(input: $input) { message { id } userErrors { message } }
}"""
DELIVERIES = """subscription ($ids: [ID!], $after: String) {
  deliveryUpdated(connectorIds: $ids, after: $after) { status detail message { to subject } }
}"""

console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """What went wrong, in a sentence."""


class Inbox:
    """What the mail server does with a mail: keeps its subject."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.subjects.append(str(mail["subject"]))
        return "250 2.0.0 taken"


class Client:
    """Speaks GraphQL over HTTP, and over a websocket where it watches."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = f"{url}/graphql"
        self._credentials = {"authorization": f"Bearer {token}"}

    async def run(self, mutation: str, **given: Any) -> Any:
        """The payload of a mutation with this input."""
        body = {"query": mutation, "variables": {"input": given}}
        async with self._http.post(self._url, json=body, headers=self._credentials) as response:
            payload = _only(await response.json())
        if payload["userErrors"]:
            raise DemoError(payload["userErrors"][0]["message"])
        return payload

    async def watch(self, subscription: str, **variables: Any) -> AsyncIterator[Any]:
        """Every event of a subscription."""
        async with self._http.ws_connect(self._url, protocols=("graphql-transport-ws",)) as socket:
            await socket.send_json({"type": "connection_init", "payload": self._credentials})
            request = {"query": subscription, "variables": variables}
            async for text in socket:
                frame = text.json()
                if frame["type"] == "connection_ack":
                    await socket.send_json({"id": "1", "type": "subscribe", "payload": request})
                elif frame["type"] == "ping":
                    await socket.send_json({"type": "pong"})
                elif frame["type"] == "next":
                    yield _only(frame["payload"])
                else:
                    raise DemoError(f"The subscription ended: {frame.get('payload')}")
        raise DemoError(f"The server closed the websocket with {socket.close_code}.")


def _only(answer: dict[str, Any]) -> Any:
    """The only root field of an answer."""
    if "errors" in answer:
        raise DemoError(answer["errors"][0]["message"])
    (value,) = answer["data"].values()
    return value


@asynccontextmanager
async def mail_server(inbox: Inbox) -> AsyncIterator[int]:
    """A mail server on a free port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, hostname="mail.demo", loop=loop), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def private_settings(folder: Path) -> Settings:
    """A gateway of its own in `folder`: whatever the environment says of a real one does not reach it."""
    apart = {"secret_keys": None, "jwt_secret": None, "jwt_jwks_url": None, "jwt_algorithms": "HS256", "bus_url": "memory://"}
    place = {"data_dir": folder, "database_url": f"sqlite:///{folder}/patchbay.db", "host": "127.0.0.1", "port": 0}
    settings, _ = keys.provide(Settings.model_validate({**place, **apart, "allow_private_addresses": True}))
    return settings


async def plug_in(client: Client, port: int) -> tuple[str, str]:
    """Make a connector to the mail server and wait for its checks; its id, and the cursor of the moment it was ready."""
    smtp = {"smtpHost": "127.0.0.1", "smtpPort": port, "security": "NONE", "fromAddress": "hello@demo.example"}
    connector = (await client.run(CREATE, name="Demo mail", config={"smtp": smtp}))["connector"]
    async for event in client.watch(CHANNEL, ids=[connector["id"]]):
        channel = event["status"]["channel"]
        console.print(f"Connector [bold]{connector['name']}[/] is {channel['stage']}")
        if event["status"]["ready"]:
            return connector["id"], event["cursor"]
        if channel["errorMessage"]:
            raise DemoError(channel["errorMessage"])
    raise DemoError("The connector's checks never ended.")


async def test(client: Client, connector_id: str) -> None:
    payload = await client.run(TEST, id=connector_id, testDestination="test@example.com")
    steps = ", ".join(f"{stage['name'].lower()} {stage['durationMs']:.1f} ms" for stage in payload["stages"])
    console.print(f"{payload['message']} ({steps})")


async def send(client: Client) -> None:
    for name in NAMES:
        body = f"Hello {name}, your first message came through Patchbay."
        await client.run(SEND, channel="EMAIL", to=f"{name.lower()}@example.com", subject=f"Welcome, {name}", body=body)


async def show(client: Client, connector_id: str, after: str) -> None:
    """Print every delivery update as it arrives, above a table of where each message stands, until all are sent."""
    stands = {f"{name.lower()}@example.com": "" for name in NAMES}
    with Live(_table(stands), console=console, transient=True) as live:
        async for update in client.watch(DELIVERIES, ids=[connector_id], after=after):
            to, status = update["message"]["to"], update["status"]
            if status not in COLORS:
                raise DemoError(f"The message to {to} is {status}: {update['detail']}")
            console.print(f"  {to:24} {status}", style=COLORS[status])
            stands[to] = status
            live.update(_table(stands))
            if set(stands.values()) == {"SENT"}:
                return


def _table(stands: dict[str, str]) -> Table:
    table = Table("Recipient", "Status", title="Deliveries")
    for to, status in stands.items():
        table.add_row(to, status, style=COLORS[status])
    return table


async def run(folder: Path) -> None:
    """Serve a gateway for as long as the demo lasts."""
    settings = private_settings(folder)
    workspace = await prepare(settings, "demo")
    token = mint(settings, workspace.id, "demo", ["*"], dt.timedelta(minutes=5))
    inbox = Inbox()

    async def started(url: str) -> None:
        async with mail_server(inbox) as port, aiohttp.ClientSession() as http:
            console.print(f"Mail server on port {port}, gateway on {url}")
            await tour(Client(http, url, token), port)
        signal.raise_signal(signal.SIGTERM)

    await serve(settings, True, started)
    console.print("The mail server received:")
    for subject in inbox.subjects:
        console.print(f"  {subject}", markup=False)
    if missing := {f"Welcome, {name}" for name in NAMES} - set(inbox.subjects):
        raise DemoError(f"{len(missing)} e-mails did not arrive.")


async def tour(client: Client, port: int) -> None:
    connector_id, cursor = await plug_in(client, port)
    await test(client, connector_id)
    console.print(f"Sending {len(NAMES)} e-mails; each update as it arrives by subscription:")
    await asyncio.gather(send(client), show(client, connector_id, cursor))


def main() -> None:
    logs.configure("warning")
    try:
        with tempfile.TemporaryDirectory(prefix="patchbay-demo-") as folder:
            asyncio.run(asyncio.wait_for(run(Path(folder)), LIMIT_SECONDS))
    except TimeoutError:
        raise SystemExit(f"The demo was not over after {LIMIT_SECONDS} s.") from None
    except (DemoError, SettingsError, ValidationError, aiohttp.ClientError, OSError) as error:
        raise SystemExit(f"The demo failed: {error}") from None


if __name__ == "__main__":
    main()
