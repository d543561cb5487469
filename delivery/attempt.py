"""One attempt: hand a message to its provider and see what comes of it."""

from __future__ import annotations

import asyncio
import time
import uuid

import structlog
from structlog.typing import FilteringBoundLogger

from channels.base import Accepted, Outbound, Provider
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.wire import Wire
from delivery.metrics import due_at, seconds
from delivery.verdict import Outcome
from models.base import now
from models.queue import Claim
from models.underway import Sendable

LIMIT_SECONDS = 30.0

log = structlog.get_logger()


async def hand_over(provider: Provider, wire: Wire, message: Outbound) -> Outcome:
    """Call the provider. What nobody foresaw is an outcome nobody knows; only cancellation gets out, and only before
    anything has left."""
    links = (message.unsubscribe_url,) if message.unsubscribe_url else ()  # which a mail server may quote as it refuses
    exchange = Exchange((*provider.hidden, *wire.secrets), (*message.texts(), *links))
    started = time.perf_counter()
    result: Accepted | SendError
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            result = await provider.send(wire, message, exchange)
    except SendError as error:
        result = error
    except TimeoutError:
        result = _timed_out(exchange)
    except asyncio.CancelledError:
        if not exchange.sent:
            raise
        text = "The process stopped before the provider had answered."
        result = SendError(FailureKind.UNKNOWN_OUTCOME, "WORKER_STOPPED", text)
    except Exception:
        result = _broken(message)
    return Outcome(result, exchange, round((time.perf_counter() - started) * 1000, 3))


def write_line(log: FilteringBoundLogger, claim: Claim, message: Sendable, outcome: Outcome) -> None:
    """`queue_wait_ms` runs from when the message was due, so that a later attempt's has the earlier ones in it."""
    result = outcome.result
    waited = 1000 * seconds(due_at(message), now()) - (outcome.duration_ms or 0)
    failure = {"kind": result.kind.value, "code": result.code} if isinstance(result, SendError) else {}
    log.info(
        "attempt",
        message_id=claim.message_id,
        workspace_id=claim.workspace_id,
        connector_id=claim.connector_id,
        attempt=claim.attempt,
        outcome="refused" if failure else "accepted",
        queue_wait_ms=round(max(0.0, waited), 3),
        duration_ms=outcome.duration_ms,
        provider_status=outcome.exchange.provider_status,
        **failure,
    )


def _timed_out(exchange: Exchange) -> SendError:
    said = f"The provider did not finish within {LIMIT_SECONDS:.0f} s."
    if exchange.sent:
        return SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", said)
    return SendError(FailureKind.TRANSIENT, "PROVIDER_TIMEOUT", said)


def _broken(message: Outbound) -> SendError:
    error_id = uuid.uuid4().hex
    log.exception("attempt_broken", message_id=message.id, attempt=message.attempt, error_id=error_id)
    return SendError(FailureKind.UNKNOWN_OUTCOME, "INTERNAL", f"An internal error broke the attempt (error {error_id}).")
