"""One attempt: hand a message to its provider, and write down what came of it.

accepted         SENT, then whatever receipts overtook the answer
RECIPIENT, CONTENT, CONFIGURATION
                 FAILED; a CONFIGURATION failure also marks the connector
TRANSIENT        back to QUEUED for a later try, FAILED when the policy gives up
THROTTLED        back to QUEUED and the connector pauses; the try is not held against the message
UNKNOWN_OUTCOME  UNKNOWN, unless the provider deduplicates: then tried again
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Accepted, Media, Outbound, Provider
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.wire import Wire
from delivery import receipts, retry
from models import connectors, messages, queue
from models.base import now
from models.connectors import ComponentStatus, Connector, Stage
from models.messages import Message, MessageStatus
from models.queue import Claim
from models.timeline import TimelineSource, channel_changed, message_changed

LIMIT_SECONDS = 30.0
FINAL_KINDS = frozenset({FailureKind.RECIPIENT, FailureKind.CONTENT, FailureKind.CONFIGURATION})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt, and how long it took in milliseconds."""

    result: Accepted | SendError
    exchange: Exchange
    duration_ms: float | None


async def hand_over(provider: Provider, wire: Wire, message: Outbound) -> Outcome:
    """Call the provider. Never raises: what nobody foresaw is an outcome nobody knows."""
    exchange = Exchange(provider.secrets(), message.texts())
    started = time.perf_counter()
    result: Accepted | SendError
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            result = await provider.send(wire, message, exchange)
    except SendError as error:
        result = error
    except TimeoutError:
        result = _timed_out(exchange)
    except Exception:
        result = _broken(message)
    return Outcome(result, exchange, round((time.perf_counter() - started) * 1000, 3))


def _timed_out(exchange: Exchange) -> SendError:
    said = f"The provider did not finish within {LIMIT_SECONDS:.0f} s."
    if exchange.sent:
        return SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", said)
    return SendError(FailureKind.TRANSIENT, "PROVIDER_TIMEOUT", said)


def _broken(message: Outbound) -> SendError:
    error_id = uuid.uuid4().hex
    log.exception("attempt_broken", message_id=message.id, attempt=message.attempt, error_id=error_id)
    return SendError(FailureKind.UNKNOWN_OUTCOME, "INTERNAL", f"An internal error broke the attempt (error {error_id}).")


def outbound(message: Message, attempt: int) -> Outbound:
    """The message as an adapter sees it."""
    left = (message.expires_at - now()).total_seconds() if message.expires_at else None
    return Outbound(
        id=message.id,
        to=message.to,
        attempt=attempt,
        flow=message.flow,
        sender=message.sender,
        subject=message.subject,
        body=message.body,
        html=message.html,
        template=message.template,
        media=tuple(Media(item["url"], item.get("content_type"), item.get("filename")) for item in message.media),
        metadata=message.details or {},
        validity_seconds=max(1, int(left)) if left is not None else None,
    )


async def settle(session: AsyncSession, claim: Claim, message: Message, connector: Connector, outcome: Outcome) -> None:
    """Write down an outcome. Also when the lease was lost meanwhile: a late truth is still the truth."""
    result = outcome.result
    if isinstance(result, Accepted):
        await _accepted(session, claim, message, result, outcome)
    elif result.kind in FINAL_KINDS:
        await _failed(session, claim, message, result, outcome)
        if result.kind is FailureKind.CONFIGURATION:
            await _blame(session, connector, result)
    elif result.kind is FailureKind.UNKNOWN_OUTCOME:
        await _unknown(session, claim, message, result, outcome)
    else:
        await _again(session, claim, message, result, outcome)


async def _accepted(session: AsyncSession, claim: Claim, message: Message, accepted: Accepted, outcome: Outcome) -> None:
    await queue.finish(session, claim)
    await _close(session, claim, outcome, "SENT")
    values: dict[str, Any] = {"status": accepted.status.value, "external_id": accepted.provider_id, "sent_at": now()}
    if accepted.segments is not None:
        values["segments"] = accepted.segments
    moved = await _move(session, claim, message, values, accepted.detail, TimelineSource.PROVIDER_RESPONSE)
    if moved is not None:
        await receipts.catch_up(session, moved)


async def _failed(session: AsyncSession, claim: Claim, message: Message, error: SendError, outcome: Outcome) -> None:
    await queue.finish(session, claim)
    await _close(session, claim, outcome, "FAILED", error)
    values = {"status": MessageStatus.FAILED, "failure": receipts.failure_of(error)}
    await _move(session, claim, message, values, error.message, TimelineSource.PROVIDER_RESPONSE)


async def _unknown(session: AsyncSession, claim: Claim, message: Message, error: SendError, outcome: Outcome) -> None:
    """The provider may or may not have it: only a receipt or a person can tell, and it is not sent again."""
    await queue.finish(session, claim)
    await _close(session, claim, outcome, "UNKNOWN", error)
    values = {"status": MessageStatus.UNKNOWN, "failure": receipts.failure_of(error)}
    await _move(session, claim, message, values, error.message, TimelineSource.DISPATCHER)


async def give_up(session: AsyncSession, claim: Claim) -> None:
    """An attempt whose process is gone. Does nothing when somebody finished it after all."""
    message = await messages.get(session, claim.workspace_id, claim.message_id)
    if message is not None:
        text = "The process that was sending this stopped; the provider may or may not have the message."
        error = SendError(FailureKind.UNKNOWN_OUTCOME, "WORKER_LOST", text)
        await _unknown(session, claim, message, error, Outcome(error, Exchange(), None))


async def _again(session: AsyncSession, claim: Claim, message: Message, error: SendError, outcome: Outcome) -> None:
    throttled = error.kind is FailureKind.THROTTLED
    due = await _due(session, claim, message, error)
    if due is None:
        await _failed(session, claim, message, error, outcome)
        return
    if message.expires_at is not None and due >= message.expires_at:
        await queue.finish(session, claim)
        await _close(session, claim, outcome, "FAILED", error)
        await expire(session, message, claim.attempt)
        return
    held = await queue.put_back(session, claim, due, counts=not throttled)
    await _close(session, claim, outcome, "THROTTLED" if throttled else "RETRY", error, due)
    if held:
        values = {"status": MessageStatus.QUEUED}
        await _move(session, claim, message, values, error.message, TimelineSource.DISPATCHER, [MessageStatus.PROCESSING])


async def _due(session: AsyncSession, claim: Claim, message: Message, error: SendError) -> dt.datetime | None:
    at = now()
    if error.kind is not FailureKind.THROTTLED:
        return retry.next_try(message.flow, claim.tries + 1, message.created_at, at)
    until = at + retry.pause(error.retry_after)
    await queue.pause_lane(session, claim.workspace_id, claim.connector_id, until)
    return until if until < message.created_at + retry.POLICIES[message.flow].age else None


async def expire(session: AsyncSession, message: Message, attempt: int | None = None) -> None:
    """It was not sent in its time, and is not sent any more."""
    error = SendError(FailureKind.EXPIRED, "MESSAGE_EXPIRED", "The message was not sent within its validity.")
    waiting = [MessageStatus.SCHEDULED, MessageStatus.QUEUED, MessageStatus.PROCESSING]
    values = {"status": MessageStatus.EXPIRED, "failure": receipts.failure_of(error)}
    moved = await messages.move(session, message.workspace_id, message.id, waiting, values)
    if moved is not None:
        message_changed(session, moved, message.status, TimelineSource.DISPATCHER, detail=error.message, attempt=attempt)


async def _move(
    session: AsyncSession,
    claim: Claim,
    message: Message,
    values: dict[str, Any],
    detail: str | None,
    source: TimelineSource,
    allowed: list[str] | None = None,
) -> Message | None:
    allowed = allowed if allowed is not None else messages.below(values["status"])
    moved = await messages.move(session, claim.workspace_id, claim.message_id, allowed, values)
    if moved is not None:
        message_changed(session, moved, message.status, source, detail=detail, attempt=claim.attempt)
    return moved


async def _close(
    session: AsyncSession,
    claim: Claim,
    outcome: Outcome,
    word: str,
    error: SendError | None = None,
    next_attempt_at: dt.datetime | None = None,
) -> None:
    values = {
        "finished_at": now(),
        "duration_ms": outcome.duration_ms,
        "outcome": word,
        "provider_status": outcome.exchange.provider_status,
        "exchange": outcome.exchange.record or None,
        "failure": receipts.failure_of(error) if error else None,
        "next_attempt_at": next_attempt_at,
    }
    await messages.finish_attempt(session, claim.workspace_id, claim.message_id, claim.attempt, values)


async def _blame(session: AsyncSession, connector: Connector, error: SendError) -> None:
    values = {
        "stage": Stage.INACTIVE,
        "component_status": ComponentStatus.ERROR,
        "status_error": error.message[:1000],
        "is_verified": False,
    }
    if connector.component_status == ComponentStatus.ERROR:
        return
    changed = await connectors.set_status(session, connector.workspace_id, connector.id, connector.config_revision, values)
    if changed is not None:
        channel_changed(session, changed, "updated", connector.stage, "delivery")
