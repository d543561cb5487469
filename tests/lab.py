"""What tests of the dispatcher play with: a Twilio on loopback that counts what it is sent, and workers made to measure."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bench.installation import SENDER, approved_sender
from delivery.circuit import Circuits
from delivery.worker import LEASE, Worker
from models import queue, senders, underway
from models.connectors import CircuitState, Connector
from tests import make
from tests.harness import Gateway, Json, eventually
from tests.provider_server import ProviderServer, Recorded, Reply

ACCOUNT = "/2010-04-01/Accounts/AC00000000000000000000000000000000"
BATCH = """mutation($input: MessageSendBatchInput!) {
  messageSendBatch(input: $input) { batch { id } userErrors { code message field } } }"""
COUNTS = "query($id: ID!) { batch(id: $id) { counts { status count } } }"


class Twilio(ProviderServer):
    """`answers` decides what becomes of a message; unless told otherwise it is taken after `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.arrivals: list[tuple[float, str]] = []
        self.taken: list[str] = []
        self.answers: Callable[[str], Reply | None] = lambda _body: None
        self.on("GET", f"{ACCOUNT}.json", Reply(200, {"status": "active"}))
        self.on("POST", f"{ACCOUNT}/Messages.json", self._take)

    @property
    def bodies(self) -> list[str]:
        return [body for _at, body in self.arrivals]

    @property
    def config(self) -> Json:
        return make.twilio(self.url, fromNumber="Shop")

    def most_within(self, seconds: float) -> int:
        """The most messages that came within any span of time."""
        times = [at for at, _body in self.arrivals]
        return max((sum(begin <= at < begin + seconds for at in times) for begin in times), default=0)

    def _take(self, request: Recorded) -> Reply:
        body = dict(request.form())["Body"]
        self.arrivals.append((time.monotonic(), body))
        refused = self.answers(body)
        if refused is None:
            self.taken.append(body)
        return refused or Reply(201, {"sid": f"SM{len(self.arrivals):032x}", "status": "queued"}, delay=self.delay)


def refusal(status: int, code: int = 20503, **headers: str) -> Reply:
    return Reply(status, {"code": code, "message": "no"}, headers=headers)


UNAUTHORIZED = refusal(401, 20003)


def worker_for(
    gateway: Gateway, concurrency: int = 100, circuits: Circuits | None = None, lease: dt.timedelta = LEASE
) -> Worker:
    """A worker with limits of the test's choice, which does nothing yet."""
    app = gateway.application
    given = (app.database, app.providers, app.router, app.bell, app.meters)
    return Worker(*given, concurrency, app.database.is_sqlite, lease, circuits)


@asynccontextmanager
async def working(
    gateway: Gateway, concurrency: int = 100, circuits: Circuits | None = None, lease: dt.timedelta = LEASE
) -> AsyncIterator[Worker]:
    """A worker beside a gateway that has none."""
    worker = worker_for(gateway, concurrency, circuits, lease)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def abandoned(gateway: Gateway, connector_id: str, count: int = 1) -> list[str]:
    """The messages of so many jobs, left as a process leaves them that dies in mid-send."""
    async with gateway.application.database.write() as session:
        claims = await queue.claim(session, connector_id, "gone", count, count, LEASE)
        taken = [claim.message_id for claim in claims]
        await underway.begin(session, taken)
    assert len(taken) == count
    return taken


async def verified(gateway: Gateway, name: str, config: Json | None = None, **given: Json) -> str:
    """The id of a connector whose checks have succeeded, also where no worker runs."""
    select = "connector { id isVerified }"
    await approve(gateway)
    made = await make.mutate(gateway, "connectorCreate", select=select, name=name, config=config or SIMULATOR, **given)
    assert made["userErrors"] == [], made
    connector_id = str(made["connector"]["id"])
    checked = await make.mutate(gateway, "connectorVerify", select=select, id=connector_id)
    assert checked["connector"]["isVerified"], checked
    return connector_id


SIMULATOR: Json = {"simulator": {}}


async def send_batch(gateway: Gateway, messages: Sequence[Json]) -> str:
    """The id of a batch that was accepted whole."""
    payload = (await gateway.gql(BATCH, input={"messages": list(messages)}))["messageSendBatch"]
    assert payload["userErrors"] == [], payload["userErrors"][:3]
    return str(payload["batch"]["id"])


def sms(body: str, to: str = "+15005550006", **given: Json) -> Json:
    return {"to": to, "channel": "SMS", "body": body, "senderId": SENDER, **given}


async def approve(gateway: Gateway, value: str = "Shop", sender_id: str = SENDER) -> str:
    """The id of an approved sender ID of the demo workspace, whoever asked for it first."""
    async with gateway.application.database.write() as session:
        if await senders.get(session, gateway.demo.id, sender_id) is None:
            session.add(approved_sender(gateway.demo.id, value, sender_id))
    return sender_id


async def counts(gateway: Gateway, batch_id: str) -> dict[str, int]:
    """How many messages of a batch stand where."""
    found = (await gateway.gql(COUNTS, id=batch_id))["batch"]["counts"]
    return {row["status"]: row["count"] for row in found if row["count"]}


async def drained(gateway: Gateway, batch_id: str, expected: dict[str, int], seconds: float = 30) -> None:
    async def there() -> bool:
        return await counts(gateway, batch_id) == expected

    try:
        await eventually(there, seconds)
    except TimeoutError:
        assert await counts(gateway, batch_id) == expected


def twice(bodies: Sequence[str]) -> list[str]:
    """What came more than once."""
    return [body for body, count in Counter(bodies).items() if count > 1]


async def circuit(gateway: Gateway, connector_id: str, state: CircuitState) -> None:
    """Set a circuit by hand."""
    async with gateway.application.database.write() as session:
        found = await session.get_one(Connector, connector_id)
        await Circuits().change(session, found, state)
