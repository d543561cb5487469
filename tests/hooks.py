"""Customers' webhooks in tests: subscriptions, receivers on loopback, and what came of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from delivery.webhook_attempts import Courier, Policy
from delivery.webhooks import Webhooks
from tests import make
from tests.harness import Gateway, Json, eventually
from tests.provider_server import ProviderServer, Recorded

SUBSCRIPTION = """id organizationId workspaceId service event eventFilters { key value } url naming status statusReason
  failingSince createdAt updatedAt"""
DELIVERY = """id eventId cursor eventType status statusReason nextAttemptAt createdAt subscription { id }
  attempts { number at durationMs statusCode error responseExcerpt }"""
RESULTS = {
    "webhookSubscriptionCreate": f"webhookSubscription {{ {SUBSCRIPTION} }} signingKey",
    "webhookSubscriptionUpdate": f"webhookSubscription {{ {SUBSCRIPTION} }}",
    "webhookSubscriptionDelete": "deletedWebhookSubscriptionId",
    "webhookSubscriptionTest": f"delivery {{ {DELIVERY} }}",
    "webhookSigningKeyRotate": "signingKey validUntilOfOldKey",
    "webhookReplay": "replayed isComplete endCursor",
}
make.RESULTS.update(RESULTS)


async def payload(gateway: Gateway, field: str, token: str | None = None, select: str | None = None, **input: Json) -> Json:
    """What a mutation that must succeed answered."""
    answered = await make.mutate(gateway, field, token, select, **input)
    assert answered["userErrors"] == [], answered["userErrors"]
    return answered


async def subscribe(gateway: Gateway, url: str, event: str = "*", service: str = "MESSAGES", **input: Json) -> Json:
    """A subscription, with its signing key under `signingKey`."""
    made = await payload(gateway, "webhookSubscriptionCreate", service=service, event=event, url=url, **input)
    return {**made["webhookSubscription"], "signingKey": made["signingKey"]}


async def subscription(gateway: Gateway, id: str, token: str | None = None) -> Json:
    text = f"query($id: ID!) {{ webhookSubscription(id: $id) {{ {SUBSCRIPTION} }} }}"
    return (await gateway.gql(text, token, id=id))["webhookSubscription"]


async def deliveries(gateway: Gateway, subscription_id: str | None = None, *statuses: str) -> list[Json]:
    """Oldest first."""
    text = f"""query($where: WebhookDeliveryFilter) {{
      webhookDeliveries(first: 100, filter: $where) {{ nodes {{ {DELIVERY} }} }} }}"""
    where: Json = {"subscriptionId": subscription_id, "statuses": list(statuses) or None}
    found = (await gateway.gql(text, where=where))["webhookDeliveries"]
    return list(reversed(found["nodes"]))


async def standing(gateway: Gateway, subscription_id: str, *expected: str, seconds: float = 20) -> list[Json]:
    """The deliveries of a subscription once their statuses, oldest first, are these."""
    found: list[Json] = []

    async def probe() -> bool:
        found[:] = await deliveries(gateway, subscription_id)
        return [each["status"] for each in found] == list(expected)

    try:
        await eventually(probe, seconds)
    except TimeoutError:
        assert [each["status"] for each in found] == list(expected), found
    return found


async def came(server: ProviderServer, count: int, seconds: float = 20) -> list[Recorded]:
    """The requests a receiver got, once there are so many."""

    async def probe() -> bool:
        return len(server.requests) >= count

    await eventually(probe, seconds)
    assert len(server.requests) == count
    return server.requests


QUICK = Policy(waits=(0.05, 0.1, 0.2), patience=100, lease=timedelta(seconds=5))


@asynccontextmanager
async def working(
    gateway: Gateway, policy: Policy = QUICK, concurrency: int = 50, retention_days: float = 30
) -> AsyncIterator[Webhooks]:
    """A dispatcher beside a gateway that has none, with a policy of the test's choice."""
    app = gateway.application
    courier = app.means.courier
    mine = Courier(app.means.vault, courier.receivers, courier.cursor_of, policy)
    dispatcher = Webhooks(app.database, mine, app.bell, app.meters, concurrency, timedelta(days=retention_days))
    async with running(dispatcher):
        yield dispatcher


@asynccontextmanager
async def running(dispatcher: Webhooks) -> AsyncIterator[None]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        await dispatcher.stop(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
