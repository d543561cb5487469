"""Mutations of customers' webhooks: what they take and what they answer."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from delivery.webhook_events import FilterKey, Naming, Service
from models.webhooks import WebhookStatus
from resolvers import events as event_cases
from resolvers import webhook_changes as use_cases
from resolvers import webhook_replay
from resolvers.webhook_changes import Change, NewSubscription
from resolvers.webhook_replay import Replay
from schema.base import THE_INPUT, UserError, answering, no_errors
from schema.context import Info
from schema.webhooks import WebhookDelivery, WebhookSubscription

OVERLAP_HOURS = 24


@strawberry.input(description="A condition on events.")
class WebhookEventFilterInput:
    key: FilterKey = strawberry.field(description="What is looked at; each service has its own keys.")
    value: str = strawberry.field(description="What it must be; letters may be of either case.")


@strawberry.input(description="Somebody who wants to be told of events.")
class WebhookSubscriptionCreateInput:
    service: Service = strawberry.field(description="The part of the platform to hear of.")
    event: str = strawberry.field(
        description="A name or alias of `webhookEventTypes`, `*`, or a name ending with `.*`; `message.sent` is of any channel."
    )
    url: str = strawberry.field(description="Where to: https, at a host with a domain name.")
    event_filters: list[WebhookEventFilterInput] | None = strawberry.field(
        default=None, description="All must hold; several values of one key are alternatives. 20 at most."
    )
    signing_key: str | None = strawberry.field(
        default=None, description="`whsec_` and the base64 of 24 to 64 bytes; left out, one is made. Kept sealed."
    )
    naming: Naming | None = strawberry.field(default=Naming.DOTTED, description="How names are written in `type`.")


@strawberry.input(description="Changes of a subscription. What is left out stays.")
class WebhookSubscriptionUpdateInput:
    id: strawberry.ID = strawberry.field(description="The subscription.")
    event: str | None = strawberry.field(default=None, description="Another event of its service.")
    url: str | None = strawberry.field(default=None, description="Another place; what is waiting goes there too.")
    event_filters: list[WebhookEventFilterInput] | None = strawberry.field(
        default=strawberry.UNSET, description="Other conditions; null or an empty list takes all away."
    )
    status: WebhookStatus | None = strawberry.field(
        default=None, description="INACTIVE stops it; ACTIVE goes on with what was waiting, and with what happens from now on."
    )
    naming: Naming | None = strawberry.field(default=None, description="How names are written in `type`.")


@strawberry.input(description="A subscription to delete.")
class WebhookSubscriptionDeleteInput:
    id: strawberry.ID = strawberry.field(description="The subscription.")


@strawberry.input(description="A subscription to try out.")
class WebhookSubscriptionTestInput:
    id: strawberry.ID = strawberry.field(description="The subscription.")


@strawberry.input(description="A new signing key.")
class WebhookSigningKeyRotateInput:
    id: strawberry.ID = strawberry.field(description="The subscription.")
    overlap_hours: int | None = strawberry.field(
        default=OVERLAP_HOURS, description="For so many hours the old keys sign as well: 0 to 168."
    )
    signing_key: str | None = strawberry.field(default=None, description="The new key; left out, one is made.")


@strawberry.input(description="What to deliver again: one delivery, or a subscription's events since a cursor or a time.")
class WebhookReplayInput:
    delivery_id: strawberry.ID | None = strawberry.field(default=None, description="This delivery.")
    subscription_id: strawberry.ID | None = strawberry.field(default=None, description="Of this subscription.")
    after_cursor: str | None = strawberry.field(default=None, description="Everything past this cursor of the log.")
    since: dt.datetime | None = strawberry.field(default=None, description="Everything that happened then or later.")
    until: dt.datetime | None = strawberry.field(default=None, description="And not after this.")


@strawberry.type(description="What came of `webhookSubscriptionCreate`.")
class WebhookSubscriptionCreatePayload:
    webhook_subscription: WebhookSubscription | None = strawberry.field(default=None, description="The subscription.")
    signing_key: str | None = strawberry.field(default=None, description="Its signing key. It is not shown again.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `webhookSubscriptionUpdate`.")
class WebhookSubscriptionUpdatePayload:
    webhook_subscription: WebhookSubscription | None = strawberry.field(default=None, description="As it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `webhookSubscriptionDelete`.")
class WebhookSubscriptionDeletePayload:
    deleted_webhook_subscription_id: strawberry.ID | None = strawberry.field(default=None, description="What was deleted.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `webhookSubscriptionTest`.")
class WebhookSubscriptionTestPayload:
    delivery: WebhookDelivery | None = strawberry.field(
        default=None, description="The delivery of a `webhook.test`, with its only attempt."
    )
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `webhookSigningKeyRotate`.")
class WebhookSigningKeyRotatePayload:
    signing_key: str | None = strawberry.field(default=None, description="The new key. It is not shown again.")
    valid_until_of_old_key: dt.datetime | None = strawberry.field(default=None, description="Until then old keys sign too.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `webhookReplay`.")
class WebhookReplayPayload:
    replayed: int = strawberry.field(default=0, description="How many deliveries are on their way again.")
    is_complete: bool = strawberry.field(
        default=False, description="The whole range was gone through; otherwise go on with `endCursor` as `afterCursor`."
    )
    end_cursor: str | None = strawberry.field(default=None, description="How far a range was gone through.")
    user_errors: list[UserError] = no_errors()


Filters = list[WebhookEventFilterInput] | None


def _pairs(given: Filters) -> list[tuple[FilterKey, str]]:
    return [(each.key, each.value) for each in given or ()]


@strawberry.type
class WebhookMutations:
    @strawberry.mutation(description="Have events sent to a URL, signed after Standard Webhooks.")
    @answering(lambda errors: WebhookSubscriptionCreatePayload(user_errors=errors))
    async def webhook_subscription_create(
        self, info: Info, input: Annotated[WebhookSubscriptionCreateInput, THE_INPUT]
    ) -> WebhookSubscriptionCreatePayload | None:
        new = NewSubscription(
            service=input.service,
            event=input.event,
            url=input.url,
            filters=_pairs(input.event_filters),
            signing_key=input.signing_key,
            naming=input.naming or Naming.DOTTED,
        )
        made, key = await use_cases.create(info.context.call, new)
        return WebhookSubscriptionCreatePayload(webhook_subscription=made, signing_key=key)  # type: ignore[arg-type]

    @strawberry.mutation(description="Change a subscription, or switch it on or off.")
    @answering(lambda errors: WebhookSubscriptionUpdatePayload(user_errors=errors))
    async def webhook_subscription_update(
        self, info: Info, input: Annotated[WebhookSubscriptionUpdateInput, THE_INPUT]
    ) -> WebhookSubscriptionUpdatePayload | None:
        change = Change(
            id=input.id,
            event=input.event,
            url=input.url,
            filters=None if input.event_filters is strawberry.UNSET else _pairs(input.event_filters),
            status=input.status,
            naming=input.naming,
        )
        changed = await use_cases.update(info.context.call, change)
        return WebhookSubscriptionUpdatePayload(webhook_subscription=changed)  # type: ignore[arg-type]

    @strawberry.mutation(description="Delete a subscription. What is waiting for it is given up.")
    @answering(lambda errors: WebhookSubscriptionDeletePayload(user_errors=errors))
    async def webhook_subscription_delete(
        self, info: Info, input: Annotated[WebhookSubscriptionDeleteInput, THE_INPUT]
    ) -> WebhookSubscriptionDeletePayload | None:
        await use_cases.delete(info.context.call, input.id)
        return WebhookSubscriptionDeletePayload(deleted_webhook_subscription_id=input.id)

    @strawberry.mutation(description="Send a `webhook.test` now, once, and see what the receiver answers.")
    @answering(lambda errors: WebhookSubscriptionTestPayload(user_errors=errors))
    async def webhook_subscription_test(
        self, info: Info, input: Annotated[WebhookSubscriptionTestInput, THE_INPUT]
    ) -> WebhookSubscriptionTestPayload | None:
        return WebhookSubscriptionTestPayload(delivery=await use_cases.test(info.context.call, input.id))  # type: ignore[arg-type]

    @strawberry.mutation(description="Sign with a new key; for a while also with the old ones, so that receivers can follow.")
    @answering(lambda errors: WebhookSigningKeyRotatePayload(user_errors=errors))
    async def webhook_signing_key_rotate(
        self, info: Info, input: Annotated[WebhookSigningKeyRotateInput, THE_INPUT]
    ) -> WebhookSigningKeyRotatePayload | None:
        hours = OVERLAP_HOURS if input.overlap_hours is None else input.overlap_hours
        key, until = await use_cases.rotate(info.context.call, input.id, hours, input.signing_key)
        return WebhookSigningKeyRotatePayload(signing_key=key, valid_until_of_old_key=until)

    @strawberry.mutation(description="Deliver again. Receivers know by its id what they had; at most 10,000 at a time.")
    @answering(lambda errors: WebhookReplayPayload(user_errors=errors))
    async def webhook_replay(self, info: Info, input: Annotated[WebhookReplayInput, THE_INPUT]) -> WebhookReplayPayload | None:
        asked = Replay(
            delivery_id=input.delivery_id,
            subscription_id=input.subscription_id,
            after=input.after_cursor,
            since=input.since,
            until=input.until,
        )
        call = info.context.call
        done = await webhook_replay.replay(call, asked)
        end = None if done.seq is None else event_cases.cursor_of(call, done.seq)
        return WebhookReplayPayload(replayed=done.count, is_complete=done.is_complete, end_cursor=end)
