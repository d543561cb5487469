"""What follows from the outcome of an attempt. Decided here, for every provider alike, and written down by `settle`.

accepted         SENT
RECIPIENT, CONTENT
                 FAILED
CONFIGURATION    the connector is to blame: another connector gets the message, or it is FAILED
TRANSIENT        tried again later; elsewhere when this connector has had its chances or there is no time to wait; FAILED
                 when the policy gives up
THROTTLED        tried again when the provider's pause is over; the try is not held against the message
UNKNOWN_OUTCOME  UNKNOWN, unless the provider deduplicates: then as TRANSIENT, at the same connector, and FAILED as POISON
                 when we break on it again and again; before the last time it becomes a suspect, and is sent while no other
                 is
not_sent         we gave up before the message had left: it goes back as it was
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any

from channels.base import Accepted
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from delivery import retry
from models.base import now
from models.connectors import Connector
from models.messages import MessageStatus
from models.queue import Claim
from models.timeline import TimelineSource
from models.underway import Sendable

MOST_BREAKDOWNS = 3
WORKER_LOST, INTERNAL, POISON = "WORKER_LOST", "INTERNAL", "POISON"
BREAKDOWNS = frozenset({WORKER_LOST, INTERNAL})
RELEASED = frozenset({"WORKER_STOPPED", "WORKER_DELAYED"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt, and how long it took in milliseconds."""

    result: Accepted | SendError
    exchange: Exchange
    duration_ms: float | None = None
    ended_at: dt.datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt whose outcome is to be written down."""

    claim: Claim
    message: Sendable
    connector: Connector
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`word` is the attempt's outcome, `status` the message's. `again_at` puts the job back, `suspects` for a last chance;
    `elsewhere` says that another connector should get it, if there is one; `pause_until` rests the connector; `blames` marks it
    as not working."""

    word: str
    status: MessageStatus
    source: TimelineSource
    detail: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    error: SendError | None = None
    again_at: dt.datetime | None = None
    counts: bool = False
    elsewhere: bool = False
    pause_until: dt.datetime | None = None
    blames: bool = False
    suspects: bool = False


def decide(finished: Finished, at: dt.datetime, deduplicates: bool = False, breakdowns: int = 0) -> Verdict:
    """Pure: the same outcome of the same attempt has the same consequence, but for the jitter of a retry.

    `deduplicates` says that the provider takes a message it knows only once; `breakdowns` how often we broke on this one.
    """
    result = finished.outcome.result
    if isinstance(result, Accepted):
        return _accepted(result, at)
    if is_released(result):
        return _again("RELEASED", result, at)
    if result.kind is FailureKind.EXPIRED:
        return _expired(result)
    if result.kind is FailureKind.THROTTLED:
        return _throttled(finished, result, at)
    if result.kind is FailureKind.TRANSIENT:
        return _transient(finished, result, at)
    if result.kind is FailureKind.UNKNOWN_OUTCOME:
        return _retried(finished, result, at, breakdowns) if deduplicates else _unknown(result)
    blames = result.kind is FailureKind.CONFIGURATION
    return _failed(result, elsewhere=blames, blames=blames)


def _accepted(accepted: Accepted, at: dt.datetime) -> Verdict:
    values: dict[str, Any] = {"external_id": accepted.provider_id, "sent_at": at, "failure": None}
    if accepted.segments is not None:
        values["segments"] = accepted.segments
    return Verdict(
        word="SENT",
        status=MessageStatus(accepted.status.value),
        source=TimelineSource.PROVIDER_RESPONSE,
        detail=accepted.detail,
        values=values,
    )


def _failed(
    error: SendError, *, elsewhere: bool = False, blames: bool = False, pause_until: dt.datetime | None = None
) -> Verdict:
    return Verdict(
        word="FAILED",
        status=MessageStatus.FAILED,
        source=TimelineSource.PROVIDER_RESPONSE,
        detail=error.message,
        values={"failure": failure_of(error)},
        error=error,
        elsewhere=elsewhere,
        blames=blames,
        pause_until=pause_until,
    )


def _transient(finished: Finished, error: SendError, at: dt.datetime, may_move: bool = True) -> Verdict:
    message, tries = finished.message, finished.claim.tries + 1
    due = retry.next_try(message.flow, tries, begun(message), at)
    if due is None:
        return _failed(error, elsewhere=may_move)
    if message.expires_at is not None and due >= message.expires_at:
        return _expired(error, elsewhere=may_move)
    elsewhere = may_move and tries >= retry.POLICIES[message.flow].patience
    return _again("RETRY", error, due, counts=True, elsewhere=elsewhere)


def begun(message: Sendable) -> dt.datetime:
    """Since when it may be sent: what was scheduled has not grown old by waiting for its time."""
    return max(message.created_at, message.scheduled_at or message.created_at)


def is_too_old(message: Sendable, at: dt.datetime) -> bool:
    """Whether its policy gives it up, however its connector fares."""
    return at >= begun(message) + retry.POLICIES[message.flow].age


def _throttled(finished: Finished, error: SendError, at: dt.datetime) -> Verdict:
    message = finished.message
    until = at + retry.pause(error.retry_after)
    if is_too_old(message, until):
        return _failed(error, elsewhere=True, pause_until=until)
    if message.expires_at is not None and until >= message.expires_at:
        return _expired(error, elsewhere=True, pause_until=until)
    return _again("THROTTLED", error, until, pause_until=until)


def _retried(finished: Finished, error: SendError, at: dt.datetime, breakdowns: int) -> Verdict:
    if breakdowns >= MOST_BREAKDOWNS:
        text = f"We broke {breakdowns} times while sending this message; it is not tried again."
        return _failed(SendError(FailureKind.UNKNOWN_OUTCOME, POISON, text))
    verdict = _transient(finished, error, at, may_move=False)
    return replace(verdict, suspects=breakdowns == MOST_BREAKDOWNS - 1)


def _unknown(error: SendError) -> Verdict:
    return Verdict(
        word="UNKNOWN",
        status=MessageStatus.UNKNOWN,
        source=TimelineSource.DISPATCHER,
        detail=error.message,
        values={"failure": failure_of(error)},
        error=error,
    )


def _again(
    word: str,
    error: SendError,
    due: dt.datetime,
    *,
    counts: bool = False,
    elsewhere: bool = False,
    pause_until: dt.datetime | None = None,
) -> Verdict:
    return Verdict(
        word=word,
        status=MessageStatus.QUEUED,
        source=TimelineSource.DISPATCHER,
        detail=error.message,
        error=error,
        again_at=due,
        counts=counts,
        elsewhere=elsewhere,
        pause_until=pause_until,
    )


def _expired(error: SendError, *, elsewhere: bool = False, pause_until: dt.datetime | None = None) -> Verdict:
    return Verdict(
        word="FAILED",
        status=MessageStatus.EXPIRED,
        source=TimelineSource.DISPATCHER,
        detail=EXPIRED.message,
        values={"failure": failure_of(EXPIRED)},
        error=error,
        elsewhere=elsewhere,
        pause_until=pause_until,
    )


EXPIRED = SendError(FailureKind.EXPIRED, "MESSAGE_EXPIRED", "The message was not sent within its validity.")


def not_sent(code: str, text: str) -> Outcome:
    """We gave up before the message had left; `code` is one of RELEASED."""
    return Outcome(SendError(FailureKind.TRANSIENT, code, text), Exchange())


def is_poison(verdict: Verdict) -> bool:
    """Whether the message was given up because we broke on it too often."""
    return verdict.error is not None and verdict.error.code == POISON


def is_released(result: SendError) -> bool:
    return result.kind is FailureKind.TRANSIENT and result.code in RELEASED


def failure_of(error: SendError) -> dict[str, Any]:
    """A failure as it is stored with a message and an attempt."""
    return {
        "code": error.code,
        "kind": error.kind.value,
        "message": error.message,
        "provider_code": error.provider_code,
        "provider_message": error.provider_message,
        "is_retryable": error.kind in (FailureKind.TRANSIENT, FailureKind.THROTTLED),
    }
