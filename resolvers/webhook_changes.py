"""Customers' webhooks: subscribe, change, unsubscribe, change keys, try one out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from delivery.webhook_attempts import Attempted, settle, switched_off
from delivery.webhook_events import Naming, Service
from delivery.webhook_payloads import test_payload
from models import events, ids, sealing, workspaces
from models import webhook_deliveries as deliveries
from models import webhooks as rows
from models.base import now
from models.events import Event
from models.webhook_deliveries import TEST, WebhookDelivery
from models.webhooks import WebhookStatus, WebhookSubscription
from resolvers import audit
from resolvers.call import Call
from resolvers.problems import Problem, Problems, UserErrorCode, collected
from resolvers.webhook_rules import Filters, check_url, event_filters, event_name, require_sight, signing_key
from resolvers.webhooks import WRITE, held, missing

MOST_SUBSCRIPTIONS = 100
MOST_KEYS = 5
LONGEST_OVERLAP = 168


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    service: Service
    event: str
    url: str
    filters: Filters = ()
    signing_key: str | None = None
    naming: Naming = Naming.DOTTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is None stays as it is."""

    id: str
    event: str | None = None
    url: str | None = None
    filters: Filters | None = None
    status: WebhookStatus | None = None
    naming: Naming | None = None


async def create(call: Call, new: NewSubscription) -> tuple[WebhookSubscription, str]:
    """The subscription, and its signing key, which is not shown again."""
    call.require(WRITE)
    problems: list[Problem] = []
    with collected(problems):
        event = event_name(new.service, new.event)
        require_sight(call, new.service, event)
    with collected(problems):
        filters = event_filters(new.service, new.filters)
    with collected(problems):
        key = signing_key(new.signing_key)
    with collected(problems):
        await check_url(call, new.url)
    if problems:
        raise Problems(problems)
    async with call.write() as session:
        await workspaces.lock(session, call.workspace_id)
        if await rows.count(session, call.workspace_id) >= MOST_SUBSCRIPTIONS:
            message = f"A workspace has at most {MOST_SUBSCRIPTIONS} webhook subscriptions."
            raise Problem(UserErrorCode.INVALID_STATE, message, ["input"])
        at = now()
        subscription = WebhookSubscription(
            id=ids.new_id(ids.WEBHOOK),
            workspace_id=call.workspace_id,
            service=new.service,
            event=event,
            event_filters=filters,
            url=new.url,
            naming=new.naming,
            status=WebhookStatus.ACTIVE,
            since_seq=await events.head(session, call.workspace_id),
            created_at=at,
            updated_at=at,
        )
        subscription.signing_keys = [_sealed(call, subscription, key)]
        await rows.add(session, call.workspace_id, subscription)
        audit.record(call, session, "webhookSubscriptionCreate", subscription.id, after=audit.of_webhook(subscription))
    return subscription, key


def _sealed(call: Call, subscription: WebhookSubscription, key: str) -> dict[str, Any]:
    key_id = ids.new_id("key")
    context = sealing.of_webhook(subscription.workspace_id, subscription.id, key_id)
    return {"id": key_id, "sealed": call.means.vault.seal(key, *context), "until": None}


async def update(call: Call, change: Change) -> WebhookSubscription:
    call.require(WRITE)
    if change.url is not None:
        await check_url(call, change.url)
    async with call.write() as session:
        subscription = await held(session, call, change.id)
        before = audit.of_webhook(subscription)
        values = await _values(session, call, subscription, change)
        changed = await _changed(session, call, subscription.id, values)
        audit.record(call, session, "webhookSubscriptionUpdate", changed.id, before, audit.of_webhook(changed))
    return changed


async def _changed(session: AsyncSession, call: Call, subscription_id: str, values: dict[str, Any]) -> WebhookSubscription:
    """A subscription that the caller holds, changed."""
    changed = await rows.change(session, call.workspace_id, subscription_id, {**values, "updated_at": now()})
    if changed is None:
        raise missing()
    return changed


async def _values(session: AsyncSession, call: Call, subscription: WebhookSubscription, change: Change) -> dict[str, Any]:
    service, values, problems = Service(subscription.service), dict[str, Any](), list[Problem]()
    with collected(problems):
        values["event"] = subscription.event if change.event is None else event_name(service, change.event)
        if _aims(change):
            require_sight(call, service, values["event"])
    if change.filters is not None:
        with collected(problems):
            values["event_filters"] = event_filters(service, change.filters)
    if problems:
        raise Problems(problems)
    if change.naming is not None:
        values["naming"] = change.naming
    if change.url is not None:
        values |= {"url": change.url, **_well()}
    if change.status is WebhookStatus.INACTIVE and subscription.status != WebhookStatus.INACTIVE:
        values |= switched_off(f"Switched off by {call.viewer.subject}.", now())
    if change.status is WebhookStatus.ACTIVE and subscription.status != WebhookStatus.ACTIVE:
        since = await events.head(session, call.workspace_id)
        values |= {"status": WebhookStatus.ACTIVE, "status_reason": None, "since_seq": since, **_well()}
    return values


def _aims(change: Change) -> bool:
    """Whether it has events sent that were not, or elsewhere."""
    given = (change.event, change.url, change.filters)
    return change.status is WebhookStatus.ACTIVE or any(value is not None for value in given)


def _well() -> dict[str, Any]:
    """The columns of a subscription whose receiver is not known to fail."""
    return {"failures": 0, "failing_since": None, "rests_until": None}


async def delete(call: Call, subscription_id: str) -> None:
    call.require(WRITE)
    async with call.write() as session:
        subscription = await held(session, call, subscription_id)
        await rows.remove(session, call.workspace_id, subscription_id)
        audit.record(call, session, "webhookSubscriptionDelete", subscription_id, audit.of_webhook(subscription))


async def rotate(call: Call, subscription_id: str, overlap_hours: int, given: str | None) -> tuple[str, dt.datetime]:
    """A new signing key, and until when the old ones sign as well."""
    call.require(WRITE)
    if not 0 <= overlap_hours <= LONGEST_OVERLAP:
        message = f"overlapHours must be from 0 to {LONGEST_OVERLAP}."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "overlapHours"])
    key, at = signing_key(given), now()
    until = at + dt.timedelta(hours=overlap_hours)
    async with call.write() as session:
        subscription = await held(session, call, subscription_id)
        old = [{**kept, "until": _earlier(kept["until"], until)} for kept in subscription.signing_keys]
        live = [kept for kept in old if dt.datetime.fromisoformat(kept["until"]) > at]
        if len(live) >= MOST_KEYS:
            message = f"{MOST_KEYS} keys sign already; wait until one ends, or let overlapHours be 0."
            raise Problem(UserErrorCode.INVALID_STATE, message, ["input", "overlapHours"])
        before, keys = audit.of_webhook(subscription), [_sealed(call, subscription, key), *live]
        changed = await _changed(session, call, subscription_id, {"signing_keys": keys})
        audit.record(call, session, "webhookSigningKeyRotate", subscription_id, before, audit.of_webhook(changed))
    return key, until


def _earlier(known: str | None, until: dt.datetime) -> str:
    return until.isoformat() if known is None else min(dt.datetime.fromisoformat(known), until).isoformat()


async def test(call: Call, subscription_id: str) -> WebhookDelivery:
    """Send a `webhook.test` now, once; the delivery with what came of it. Stored before it is sent."""
    call.require(WRITE)
    await call.spend("webhookSubscriptionTest")
    courier = call.means.courier
    async with call.write() as session:
        subscription = await held(session, call, subscription_id)
        made = await _test_delivery(session, call, subscription, courier.policy.lease)
    begun = now()
    payload = test_payload(made, subscription, courier.cursor_of(call.workspace_id, made.event_seq))
    outcome = await courier.hand_over(made, subscription, payload)
    async with call.write() as session:
        (settled,) = await settle(session, [Attempted(made, subscription, outcome, begun)], courier.policy)
    if settled is None:
        raise missing()
    call.means.meters.webhook(settled.status, outcome.duration_ms, None)
    return settled


async def _test_delivery(
    session: AsyncSession, call: Call, subscription: WebhookSubscription, lease: dt.timedelta
) -> WebhookDelivery:
    """A delivery that is in our hands. It is not in the log, so its cursor is where the log stands."""
    at, event_id = now(), ids.new_id(ids.EVENT)
    seq = await events.head(session, call.workspace_id)
    about = Event(id=event_id, workspace_id=call.workspace_id, seq=seq, type=TEST, subject_id=event_id)
    made = WebhookDelivery(**{**deliveries.entry(subscription.id, about, at), "fence": 1, "lease_until": at + lease})
    session.add(made)
    await session.flush()
    return made
