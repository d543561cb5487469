"""Customers' webhooks as the world sees them."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterable
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from delivery.webhook_events import EVENT_TYPES, EVENTLESS, FilterKey, Naming, Service
from delivery.webhook_payloads import example
from models import events as event_rows
from models import webhook_deliveries as deliveries
from models import webhooks as rows
from models.events import WEBHOOK
from models.webhook_deliveries import DeliveryStatus
from models.webhooks import WebhookStatus
from resolvers import events as event_cases
from resolvers import watching
from resolvers import webhooks as use_cases
from resolvers.feeds import Feed
from resolvers.pages import PageArguments
from schema.base import Node
from schema.context import Info
from schema.events import Event, Since
from schema.pages import After, Connection, First

Row = strawberry.Parent[rows.WebhookSubscription]
DeliveryRow = strawberry.Parent[deliveries.WebhookDelivery]
EventRow = strawberry.Parent[event_rows.Event]

NO_EVENTS = "There are no events of this service yet: the subscription is kept and hears nothing."


@strawberry.type(description="A type of event that webhooks can be told of.")
class WebhookEventType:
    name: str = strawberry.field(description="Its dotted name.")
    alias: str = strawberry.field(description="The same with underscores, as `naming: UNDERSCORE` has it.")
    service: Service = strawberry.field(description="The part of the platform it belongs to.")
    description: str = strawberry.field(description="When it happens.")
    example: JSON = strawberry.field(description="A body as a receiver gets it.")


@strawberry.type(description="One condition of a subscription.")
class WebhookEventFilter:
    key: FilterKey = strawberry.field(description="What is looked at.")
    value: str = strawberry.field(description="What it must be; letters may be of either case.")


@strawberry.type(description="Somebody who is told of events by HTTP.")
class WebhookSubscription(Node):
    workspace_id: strawberry.ID = strawberry.field(description="Its workspace.")
    service: Service = strawberry.field(description="The part of the platform it hears of.")
    event: str = strawberry.field(description="The event, or a name that ends with * for several.")
    url: str = strawberry.field(description="Where events are sent.")
    naming: Naming = strawberry.field(description="How names are written in `type`.")
    status: WebhookStatus = strawberry.field(description="Whether it is told of what happens.")
    failing_since: dt.datetime | None = strawberry.field(
        description="Since when nothing could be delivered; null while all is well."
    )
    created_at: dt.datetime = strawberry.field(description="When it was made.")
    updated_at: dt.datetime = strawberry.field(description="When it was last changed.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.WebhookSubscription))

    @strawberry.field(description="Its organization.")
    def organization_id(root: Row, info: Info) -> strawberry.ID:
        return strawberry.ID(info.context.call.viewer.organization_id)

    @strawberry.field(description="All of these must hold; several values of one key are alternatives.")
    def event_filters(root: Row) -> list[WebhookEventFilter]:
        return [WebhookEventFilter(key=FilterKey(each["key"]), value=each["value"]) for each in root.event_filters]

    @strawberry.field(description="Why it is not told of anything, in a sentence.")
    def status_reason(root: Row) -> str | None:
        return root.status_reason or (NO_EVENTS if root.service in EVENTLESS else None)


@strawberry.type(description="A page of subscriptions.")
class WebhookSubscriptionConnection(Connection[WebhookSubscription]):
    pass


@strawberry.type(description="One request to a receiver.")
class WebhookAttempt:
    number: int = strawberry.field(description="1 is the first.")
    at: dt.datetime = strawberry.field(description="When it was begun.")
    duration_ms: float = strawberry.field(description="Milliseconds until the answer was there, or given up.")
    status_code: int | None = strawberry.field(description="The status of the answer; null when there was none.")
    error: str | None = strawberry.field(description="Why it does not count as delivered.")
    response_excerpt: str | None = strawberry.field(
        description="The beginning of the answer, 500 characters at most, without keys and without what is private."
    )


@strawberry.type(description="One event on its way to one subscription.")
class WebhookDelivery(Node):
    event_id: strawberry.ID = strawberry.field(description="The event, under the id it has everywhere; also `webhook-id`.")
    event_type: str = strawberry.field(description="Its dotted name.")
    status: DeliveryStatus = strawberry.field(description="Where it stands.")
    status_reason: str | None = strawberry.field(description="Why it is tried again, or was given up.")
    created_at: dt.datetime = strawberry.field(description="When it was made.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, deliveries.WebhookDelivery))

    @strawberry.field(description="Whose it is; null when that was deleted.")
    async def subscription(root: DeliveryRow, info: Info) -> WebhookSubscription | None:
        return await info.context.webhooks.load(root.subscription_id)  # type: ignore[return-value]

    @strawberry.field(description="The event's place in the log; that of a test is where the log stood.")
    def cursor(root: DeliveryRow, info: Info) -> str:
        return event_cases.cursor_of(info.context.call, root.event_seq)

    @strawberry.field(description="Every request made for it, oldest first; the newest 20 are kept.")
    def attempts(root: DeliveryRow) -> list[WebhookAttempt]:
        return [_attempt(each) for each in root.attempts]

    @strawberry.field(description="When it is tried next, if nothing else holds its subscription up; null when it has ended.")
    def next_attempt_at(root: DeliveryRow) -> dt.datetime | None:
        return root.due_at if root.finished_at is None else None


def _attempt(stored: dict[str, Any]) -> WebhookAttempt:
    return WebhookAttempt(**{**stored, "at": dt.datetime.fromisoformat(stored["at"])})


@strawberry.type(description="A page of deliveries.")
class WebhookDeliveryConnection(Connection[WebhookDelivery]):
    pass


@strawberry.input(description="Which deliveries; what is left out does not restrict.")
class WebhookDeliveryFilter:
    subscription_id: strawberry.ID | None = strawberry.field(default=None, description="To this subscription.")
    statuses: list[DeliveryStatus] | None = strawberry.field(default=None, description="Standing here.")


@strawberry.type(description="A delivery to a webhook was made, failed or was given up.")
class WebhookDeliveryUpdated(Event):
    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, event_rows.Event) and value.kind == WEBHOOK

    @strawberry.field(description="The delivery as it is now.")
    async def delivery(root: EventRow, info: Info) -> WebhookDelivery:
        found = await info.context.deliveries.load(root.subject_id)
        return found or deliveries.remembered(root)  # type: ignore[return-value]


@strawberry.type
class WebhookQueries:
    @strawberry.field(description="The workspace's webhook subscriptions, newest first.")
    async def webhook_subscriptions(
        self, info: Info, first: First = None, after: After = None
    ) -> WebhookSubscriptionConnection | None:
        arguments = PageArguments(first=first, after=after)
        return WebhookSubscriptionConnection(content=await use_cases.page(info.context.call, arguments))

    @strawberry.field(description="One subscription; null when the workspace has none of this id.")
    async def webhook_subscription(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> WebhookSubscription | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]

    @strawberry.field(description="Everything webhooks can be told of, each with an example.")
    def webhook_event_types(self) -> list[WebhookEventType] | None:
        return [
            WebhookEventType(
                name=known.name,
                alias=known.alias,
                service=known.service,
                description=known.description,
                example=example(known),  # type: ignore[arg-type]
            )
            for known in EVENT_TYPES
        ]

    @strawberry.field(description="What was sent to webhooks, or is going to be, newest first.")
    async def webhook_deliveries(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[WebhookDeliveryFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> WebhookDeliveryConnection | None:
        arguments, where = PageArguments(first=first, after=after), filter or WebhookDeliveryFilter()
        content = await use_cases.delivery_page(info.context.call, arguments, where.subscription_id, where.statuses)
        return WebhookDeliveryConnection(content=content)


@strawberry.type
class WebhookSubscriptions:
    @strawberry.subscription(description="What comes of deliveries to webhooks, attempt by attempt.")
    def webhook_delivery_updated(
        self,
        info: Info,
        subscription_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only to this webhook subscription.")
        ] = None,
        after: Since = None,
    ) -> AsyncIterable[WebhookDeliveryUpdated]:
        call = info.context.call
        call.require(use_cases.READ)
        where = watching.Webhooks(subscription_id=subscription_id)
        return Feed(call, after, where)  # type: ignore[return-value]
