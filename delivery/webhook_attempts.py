"""One delivery to a customer's webhook: sign it, hand it over, and decide what follows. Policy is data."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from delivery.receivers import Outcome, Receivers
from delivery.webhook_payloads import Payload, private_texts
from delivery.webhook_signatures import signed
from models import sealing, webhook_deliveries, webhook_queue, webhooks
from models.base import now
from models.vault import SecretError, Vault
from models.webhook_deliveries import TEST, DeliveryStatus, WebhookDelivery
from models.webhooks import WebhookStatus, WebhookSubscription

MOST_LOGGED = 20
NOT_KEPT = Outcome(0.0, error="What happened is not kept any more.", is_ours=True, is_final=True)
NOT_TOLD = Outcome(0.0, error="An internal error kept it from being told.", is_ours=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`waits` are the seconds before each further attempt, times a random 0.8 to 1.2; when they are used up a delivery is
    dead, and so is one that waited for `give_up_after`. After `patience` failures in a row a receiver rests for `rest` seconds,
    twice as long with each further one up to `longest_rest`, and is then tried with a single delivery. One that failed for
    `disable_after` is told of nothing any more."""

    waits: Sequence[float] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    patience: int = 5
    rest: float = 30
    longest_rest: float = 900
    disable_after: dt.timedelta = dt.timedelta(days=3)
    give_up_after: dt.timedelta = dt.timedelta(days=4)
    lease: dt.timedelta = dt.timedelta(seconds=25)

    def wait(self, tries: int, retry_after: float | None) -> float | None:
        """Seconds before the next attempt, when `tries` have failed; None when it is time to give up."""
        if tries > len(self.waits):
            return None
        return max(random.uniform(0.8, 1.2) * self.waits[tries - 1], retry_after or 0)

    def resting(self, failures: int) -> float | None:
        """Seconds a receiver rests after so many failures in a row."""
        if failures < self.patience:
            return None
        return min(self.longest_rest, self.rest * 2.0 ** min(failures - self.patience, 30))


POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of a claim. Without an `outcome` it was interrupted, and counts for nothing."""

    delivery: WebhookDelivery
    subscription: WebhookSubscription
    outcome: Outcome | None
    at: dt.datetime
    occurred_at: dt.datetime | None = None


class Courier:
    """Hands deliveries over; `cursor_of` writes a place in a workspace's log as the API does."""

    def __init__(
        self, vault: Vault, receivers: Receivers, cursor_of: Callable[[str, int], str], policy: Policy = POLICY
    ) -> None:
        self.policy = policy
        self.receivers = receivers
        self.cursor_of = cursor_of
        self._vault = vault

    async def hand_over(self, delivery: WebhookDelivery, subscription: WebhookSubscription, payload: Payload) -> Outcome:
        """One attempt. Never raises but when it is cancelled."""
        begun = time.perf_counter()
        try:
            keys = self._keys(subscription)
        except SecretError:
            return Outcome(0.0, error="The signing key does not open any more; rotate it.", is_ours=True)
        body = orjson.dumps(payload)
        headers = signed(keys, delivery.event_id, int(time.time()), body)
        try:
            return await self.receivers.post(subscription.url, body, headers, keys, private_texts(payload["data"]))
        except Exception as error:  # whatever a receiver's answer breaks is this delivery's failure, and no other's
            return Outcome((time.perf_counter() - begun) * 1000, error=f"It could not be sent ({type(error).__name__}).")

    def _keys(self, subscription: WebhookSubscription) -> list[str]:
        at = now()
        live = [
            key for key in subscription.signing_keys if key["until"] is None or dt.datetime.fromisoformat(key["until"]) > at
        ]
        return [
            self._vault.open(key["sealed"], *sealing.of_webhook(subscription.workspace_id, subscription.id, key["id"]))
            for key in live
        ]


async def settle(session: AsyncSession, done: Sequence[Attempted], policy: Policy) -> list[WebhookDelivery | None]:
    """Write down what came of claims, in the order of their subscriptions so that two workers cannot deadlock; the deliveries
    as they are now, None where the lease was lost."""
    settled: dict[str, WebhookDelivery | None] = {}
    for each in sorted(done, key=lambda each: (each.subscription.id, each.delivery.event_seq)):
        settled[each.delivery.id] = await _settle(session, each, policy)
    return [settled[each.delivery.id] for each in done]


async def _settle(session: AsyncSession, each: Attempted, policy: Policy) -> WebhookDelivery | None:
    previous, outcome = each.delivery.status, each.outcome
    if outcome is None:
        return await webhook_queue.settle(session, each.delivery, {})
    settled = await webhook_queue.settle(session, each.delivery, _values(each, outcome, policy))
    if settled is None:
        return None
    webhook_deliveries.changed(session, settled, previous)
    if settled.event_type != TEST and not outcome.is_ours:
        await _heed(session, each.subscription, outcome, policy)
    if settled.status == DeliveryStatus.RETRYING:
        await webhook_queue.postpone_line(session, settled, settled.due_at)
    return settled


def _values(each: Attempted, outcome: Outcome, policy: Policy) -> dict[str, Any]:
    """A delivery's columns after an attempt."""
    delivery, at = each.delivery, now()
    number = delivery.attempts[-1]["number"] + 1 if delivery.attempts else 1
    entry = {
        "number": number,
        "at": each.at.isoformat(),
        "duration_ms": outcome.duration_ms,
        "status_code": outcome.status_code,
        "error": outcome.error,
        "response_excerpt": outcome.excerpt,
    }
    log = {"attempts": [*delivery.attempts, entry][-MOST_LOGGED:]}
    if outcome.error is None:
        return {**log, "status": DeliveryStatus.DELIVERED, "status_reason": None, "finished_at": at}
    tries = delivery.tries + 1
    wait = None if outcome.is_final or delivery.event_type == TEST else policy.wait(tries, outcome.retry_after)
    if wait is None:
        return {**log, "status": DeliveryStatus.DEAD, "status_reason": outcome.error, "tries": tries, "finished_at": at}
    due = at + dt.timedelta(seconds=wait)
    return {**log, "status": DeliveryStatus.RETRYING, "status_reason": outcome.error, "tries": tries, "due_at": due}


async def _heed(session: AsyncSession, subscription: WebhookSubscription, outcome: Outcome, policy: Policy) -> None:
    """What an outcome says of the receiver as such."""
    mine, at = (subscription.workspace_id, subscription.id), now()
    if outcome.error is None:
        if subscription.failures or subscription.rests_until is not None:
            await webhooks.recovered(session, *mine)
        return
    if outcome.is_final:
        await webhooks.change(session, *mine, switched_off(outcome.error, at))
        return
    failing = await webhooks.failed(session, *mine, at)
    if failing is None:
        return
    since = failing.failing_since or at
    if at - since >= policy.disable_after:
        reason = f"Nothing could be delivered since {since:%Y-%m-%d %H:%M} UTC. {outcome.error}"
        await webhooks.change(session, *mine, switched_off(reason, at))
    rest = max(policy.resting(failing.failures) or 0, (outcome.retry_after or 0) if outcome.status_code == 429 else 0)
    if rest:
        await webhooks.rest(session, *mine, at + dt.timedelta(seconds=rest))


def switched_off(reason: str, at: dt.datetime) -> dict[str, Any]:
    """A subscription's columns when it is told of nothing any more."""
    return {"status": WebhookStatus.INACTIVE, "status_reason": reason[:500], "updated_at": at}
