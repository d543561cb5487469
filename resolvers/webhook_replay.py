"""Deliver again: one delivery, or everything since a place in the log or a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from delivery.webhooks import HINT, entries_of
from models import events
from models import webhook_deliveries as deliveries
from models import webhooks as rows
from models.webhooks import WebhookStatus, WebhookSubscription
from resolvers import audit
from resolvers.call import Call
from resolvers.events import resync, seq_of
from resolvers.problems import Problem, UserErrorCode
from resolvers.webhook_rules import require_sight
from resolvers.webhooks import WRITE, missing

MOST = 10_000
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A delivery, or a subscription and a range of the log: past `after` or since a time, until another."""

    delivery_id: str | None = None
    subscription_id: str | None = None
    after: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries are on their way again; `seq` is the last event that was looked at."""

    count: int
    seq: int | None = None
    is_complete: bool = True


async def replay(call: Call, asked: Replay) -> Replayed:
    """Receivers know what they had by its webhook-id, which is the event's."""
    call.require(WRITE)
    _check(asked)
    replayed = await (_one(call, asked.delivery_id) if asked.delivery_id is not None else _range(call, asked))
    async with call.write() as session:
        done = {"replayed": replayed.count}
        audit.record(call, session, "webhookReplay", asked.delivery_id or asked.subscription_id, after=done)
    call.means.bell.ring(HINT)
    return replayed


def _check(asked: Replay) -> None:
    given = {"subscriptionId": asked.subscription_id, "afterCursor": asked.after, "since": asked.since, "until": asked.until}
    if asked.delivery_id is not None:
        for name, value in given.items():
            if value is not None:
                raise _invalid(name, f"Give deliveryId or {name}, not both.")
        return
    if asked.subscription_id is None:
        raise _invalid("subscriptionId", "Give deliveryId, or subscriptionId with afterCursor or since.")
    if (asked.after is None) == (asked.since is None):
        raise _invalid("since", "Give afterCursor or since, one of them.")
    if asked.since is not None and asked.until is not None and asked.until < asked.since:
        raise _invalid("until", "until must not come before since.")


def _invalid(name: str, message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name])


async def _one(call: Call, delivery_id: str) -> Replayed:
    async with call.write() as session:
        delivery = await deliveries.get(session, call.workspace_id, delivery_id)
        found = await rows.get(session, call.workspace_id, delivery.subscription_id) if delivery else None
        _check_subscription(call, found, "deliveryId")
        await deliveries.again_one(session, call.workspace_id, delivery_id)
    return Replayed(1)


def _check_subscription(call: Call, found: WebhookSubscription | None, name: str) -> WebhookSubscription:
    if found is None:
        raise missing(name)
    require_sight(call, found.service, found.event)
    if found.status != WebhookStatus.ACTIVE:
        raise Problem(UserErrorCode.INVALID_STATE, "The subscription is inactive; activate it first.", ["input", name])
    return found


async def _range(call: Call, asked: Replay) -> Replayed:
    async with call.read() as session:
        found = await rows.get(session, call.workspace_id, asked.subscription_id or "")
        subscription = _check_subscription(call, found, "subscriptionId")
        head, oldest = await events.head(session, call.workspace_id), await events.oldest(session, call.workspace_id)
        first = await events.after(session, call.workspace_id, oldest - 1, 1)
    seq = oldest - 1 if asked.after is None else seq_of(call, asked.after, ["input", "afterCursor"])
    forgotten = asked.since is not None and oldest > 1 and (not first or asked.since < first[0].occurred_at)
    if seq < oldest - 1 or forgotten:
        raise resync(call, oldest, ["input", "afterCursor" if asked.since is None else "since"])
    count = 0
    while seq < head and count < MOST:
        seq, more = await _some(call, subscription, seq, head, asked)
        count += more
    return Replayed(count, seq, seq >= head)


async def _some(call: Call, subscription: WebhookSubscription, seq: int, head: int, asked: Replay) -> tuple[int, int]:
    """Replay the next events past `seq`: where that ends, and how many deliveries it made."""
    async with call.write() as session:
        found = await events.after(session, call.workspace_id, seq, EVENTS_AT_ONCE)
        wanted = [event for event in found if event.seq <= head and _is_within(event.occurred_at, asked)]
        entries = await entries_of(session, call.workspace_id, [subscription], wanted)
        await deliveries.again(session, call.workspace_id, entries)
    return (min(found[-1].seq, head) if found else head), len(entries)


def _is_within(at: dt.datetime, asked: Replay) -> bool:
    return (asked.since is None or at >= asked.since) and (asked.until is None or at <= asked.until)
