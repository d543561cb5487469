"""Customers' webhooks: look at subscriptions, and at what came of their deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from models import webhook_deliveries as deliveries
from models import webhooks as rows
from models.webhook_deliveries import DeliveryStatus, Filter, WebhookDelivery
from models.webhooks import WebhookSubscription
from resolvers.call import Call, digest
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, UserErrorCode

READ, WRITE = "webhooks:read", "webhooks:write"


async def page(call: Call, arguments: PageArguments) -> Page[WebhookSubscription]:
    call.require(READ)
    scope = f"webhooks|{call.workspace_id}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id)

    return cut(found, window, arguments, lambda row: call.means.cursors.seal(scope, (row.id,)), total)


async def get(call: Call, subscription_id: str) -> WebhookSubscription | None:
    call.require(READ)
    async with call.read() as session:
        return await rows.get(session, call.workspace_id, subscription_id)


async def delivery_page(
    call: Call, arguments: PageArguments, subscription_id: str | None, statuses: Sequence[DeliveryStatus] | None
) -> Page[WebhookDelivery]:
    call.require(READ)
    where = Filter(subscription_id=subscription_id, statuses=statuses)
    scope = f"webhook-deliveries|{call.workspace_id}|{digest([subscription_id, statuses])}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await deliveries.page(session, call.workspace_id, where, window)

    async def total() -> int:
        async with call.read() as session:
            return await deliveries.count(session, call.workspace_id, where)

    return cut(found, window, arguments, lambda row: call.means.cursors.seal(scope, (row.id,)), total)


async def delivery(call: Call, delivery_id: str) -> WebhookDelivery | None:
    call.require(READ)
    async with call.read() as session:
        return await deliveries.get(session, call.workspace_id, delivery_id)


async def held(session: AsyncSession, call: Call, subscription_id: str, name: str = "id") -> WebhookSubscription:
    """A subscription, held until the transaction ends. Raises WEBHOOK_NOT_FOUND, blaming the input `name`."""
    found = await rows.lock(session, call.workspace_id, subscription_id)
    if found is None:
        raise missing(name)
    return found


def missing(name: str = "id") -> Problem:
    return Problem(UserErrorCode.WEBHOOK_NOT_FOUND, "There is no such webhook subscription or delivery.", ["input", name])
