"""Write down what came of attempts, many at once: a handful of statements for however many messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from channels import BY_REF
from channels.base import Accepted
from channels.errors import SendError
from channels.exchange import Exchange
from delivery import fallback, optouts, retry, route
from delivery.circuit import Circuits
from delivery.fallback import through
from delivery.metrics import Meters
from delivery.optouts import OPTED_OUT, Wish
from delivery.outbound import outbound
from delivery.route import Candidates, Route, Router
from delivery.verdict import BREAKDOWNS, POISON, Finished, Verdict, decide, failure_of, is_poison
from models import connectors, lanes, messages, queue, redaction
from models.base import now
from models.connectors import CircuitState, ComponentStatus, Connector, Stage
from models.messages import RANK, MessageStatus
from models.optouts import OptOutSource
from models.queue import Again
from models.timeline import TimelineSource, channel_changed, message_changed

log = structlog.get_logger()


@dataclass(slots=True)
class Writing:
    """What one transaction is going to write; `standing` is each message's status before."""

    standing: dict[str, str]
    done: list[str] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    anew: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    fallen: list[Finished] = field(default_factory=list)
    candidates: dict[tuple[str, str], Candidates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written: the verdict on each attempt, and what providers now know our messages by: (connector, its id) of each.

    Receipts may have come for those already; the caller has them taken once this is committed (`receipts.catch_up`).
    """

    verdicts: Sequence[Verdict]
    sent: Sequence[tuple[str, str]]


async def settle(session: AsyncSession, router: Router, circuits: Circuits, finished: Sequence[Finished]) -> Settled:
    """One transaction's worth. Also for attempts whose lease was lost meanwhile: a late truth is still the truth, but only
    the holder of the lease decides what happens to the job."""
    at = now()
    held = await queue.held(session, [item.claim for item in finished])
    writing = Writing(await messages.statuses(session, [item.claim.message_id for item in finished]))
    verdicts = await _decide_all(session, finished, at)
    late = [item.claim.message_id for item in finished if item.claim.message_id not in held]
    forgotten = await redaction.redacted(session, late) if late else set()
    for item, verdict in zip(finished, verdicts, strict=True):
        if item.claim.message_id in forgotten:
            item, verdict = _wordless(item, verdict)
        writing.attempts.append(_attempt(item, verdict))
        if item.claim.message_id in held:
            await _decide_job(session, router, item, verdict, writing)
        else:
            _late(session, item, verdict, writing)
    await _write(session, writing)
    await _tell_of_connectors(session, circuits, finished, verdicts)
    for item in finished:
        if isinstance(item.outcome.result, SendError) and item.outcome.result.code == OPTED_OUT.code:
            await _remember_opt_out(session, item)
    for item in writing.fallen:
        message = await messages.get(session, item.message.workspace_id, item.message.id)
        if message is not None:
            await fallback.take_next(session, router, message)
    return Settled(verdicts, writing.sent)


def report(meters: Meters, finished: Sequence[Finished], settled: Settled) -> None:
    """What was settled is committed: count it, and tell of every message that nobody will try again because we break on it."""
    for item, verdict in zip(finished, settled.verdicts, strict=True):
        meters.attempt(item, verdict)
        if is_poison(verdict):
            claim = item.claim
            log.error(
                "message_poisoned",
                message_id=claim.message_id,
                workspace_id=claim.workspace_id,
                connector_id=claim.connector_id,
                attempt=claim.attempt,
                code=POISON,
            )


async def _remember_opt_out(session: AsyncSession, item: Finished) -> None:
    """The provider keeps this recipient from us: the next message need not go there to find that out."""
    message, channel_type = item.message, item.connector.channel_type
    await optouts.add(session, Wish(message.workspace_id, channel_type, message.to, OptOutSource.PROVIDER))


async def _decide_all(session: AsyncSession, finished: Sequence[Finished], at: dt.datetime) -> list[Verdict]:
    broken = [item.message.id for item in finished if _broke(item) and _deduplicates(item)]
    before = await messages.breakdowns(session, broken, BREAKDOWNS) if broken else {}
    return [decide(item, at, _deduplicates(item), before.get(item.message.id, 0) + _broke(item)) for item in finished]


def _broke(item: Finished) -> bool:
    result = item.outcome.result
    return isinstance(result, SendError) and result.code in BREAKDOWNS


def _deduplicates(item: Finished) -> bool:
    provider = BY_REF.get(item.connector.template_ref)
    return provider is not None and provider.about.capabilities.deduplicates


async def _decide_job(session: AsyncSession, router: Router, item: Finished, verdict: Verdict, writing: Writing) -> None:
    if RANK[writing.standing[item.message.id]] > RANK[MessageStatus.PROCESSING]:
        writing.done.append(item.message.id)  # a receipt of an earlier hand-over was quicker: the message has arrived
        _rise(session, item, verdict, writing)
        return
    way = await _elsewhere(session, router, item, writing) if verdict.elsewhere and not item.message.is_pinned else None
    if way is not None and way.chosen is not None:
        _move_elsewhere(session, item, verdict, way, way.chosen, writing)
        return
    if verdict.again_at is not None:
        tries = item.claim.tries + (1 if verdict.counts else 0)
        again = Again(
            message_id=item.message.id,
            lane_id=item.connector.id,
            run_at=verdict.again_at,
            tries=tries,
            is_suspect=verdict.suspects,
        )
        writing.again.append(again)
    else:
        writing.done.append(item.message.id)
    _move(session, item, verdict, writing)


def _late(session: AsyncSession, item: Finished, verdict: Verdict, writing: Writing) -> None:
    """The lease was lost. While nobody knew what had become of the message, its job was finished: what did not leave is
    queued anew. Where the message went on meanwhile, nothing but an acceptance that makes its next try needless counts."""
    accepted = isinstance(item.outcome.result, Accepted)
    nobody_knew = writing.standing[item.message.id] == MessageStatus.UNKNOWN
    if verdict.again_at is not None and nobody_knew:
        writing.anew.append(_entry(item, verdict.again_at))
        _move(session, item, verdict, writing)
    elif nobody_knew or (accepted and _deduplicates(item)):
        _rise(session, item, verdict, writing)
    else:
        _remember(item, verdict, writing)


def _wordless(item: Finished, verdict: Verdict) -> tuple[Finished, Verdict]:
    """Of a message that was redacted meanwhile: what became of it, without its words. Nothing is left to try again with."""
    external_id, error = verdict.values.get("external_id"), verdict.error
    values = {
        **verdict.values,
        **({"external_id": messages.alias(external_id)} if external_id else {}),
        **({"failure": redaction.wordless(verdict.values["failure"])} if verdict.values.get("failure") else {}),
    }
    if error is not None:
        error = SendError(error.kind, error.code, redaction.FORGOTTEN, provider_code=error.provider_code)
    outcome = replace(item.outcome, exchange=Exchange())
    return replace(item, outcome=outcome), replace(verdict, detail=None, values=values, error=error, again_at=None)


def _entry(item: Finished, due: dt.datetime) -> dict[str, Any]:
    message, claim = item.message, item.claim
    return queue.entry(
        message.workspace_id,
        message.id,
        item.connector.id,
        queue.urgency(message.flow, message.priority),
        run_at=due,
        expires_at=message.expires_at,
        is_pinned=message.is_pinned,
        attempts=claim.attempt,
    )


async def _elsewhere(session: AsyncSession, router: Router, item: Finished, writing: Writing) -> Route | None:
    message = item.message
    key = message.workspace_id, message.channel_type
    if key not in writing.candidates:
        writing.candidates[key] = await route.candidates(session, *key)
    if len(writing.candidates[key].connectors) < 2:
        return None
    tried = await messages.tried_connectors(session, message.workspace_id, message.id)
    return router.among(writing.candidates[key], outbound(message), tried)


def _move_elsewhere(
    session: AsyncSession, item: Finished, verdict: Verdict, way: Route, other: Connector, writing: Writing
) -> None:
    message = item.message
    writing.again.append(Again(message_id=message.id, lane_id=other.id, run_at=None, tries=0))
    writing.messages.append({**through(message, way), "status": MessageStatus.QUEUED.value})
    message.status, message.connector_id = MessageStatus.QUEUED, other.id
    detail = f"{verdict.detail} Going on through {other.name}."
    previous, source = MessageStatus.PROCESSING, TimelineSource.DISPATCHER
    message_changed(session, message, previous, source, detail=detail, attempt=item.claim.attempt)


def _rise(session: AsyncSession, item: Finished, verdict: Verdict, writing: Writing) -> None:
    """Move a message up, never down; remember in any case what its provider calls it."""
    if RANK[verdict.status] > RANK[writing.standing[item.message.id]]:
        _move(session, item, verdict, writing)
    else:
        _remember(item, verdict, writing)


def _remember(item: Finished, verdict: Verdict, writing: Writing) -> None:
    external_id = verdict.values.get("external_id")
    if external_id is not None:
        writing.sent.append((item.connector.id, external_id))


def _move(session: AsyncSession, item: Finished, verdict: Verdict, writing: Writing) -> None:
    message, accepted = item.message, isinstance(item.outcome.result, Accepted)
    previous = writing.standing[message.id]
    message.status = verdict.status.value
    row = {"id": message.id, "status": verdict.status.value, **verdict.values}
    if accepted or verdict.status is MessageStatus.UNKNOWN:
        row["fallback_at"] = fallback.due(message)
    writing.messages.append(row)
    detail, number = verdict.detail, item.claim.attempt
    message_changed(session, message, previous, verdict.source, detail=detail, attempt=number)
    _remember(item, verdict, writing)
    if verdict.status is MessageStatus.FAILED and message.fallbacks:
        writing.fallen.append(item)


async def _write(session: AsyncSession, writing: Writing) -> None:
    await queue.finish(session, writing.done)
    await queue.put_back(session, writing.again)
    if writing.anew:
        await queue.enqueue_all(session, writing.anew)
    await messages.write_attempts(session, writing.attempts)
    await messages.write_all(session, writing.messages)


def _attempt(item: Finished, verdict: Verdict) -> dict[str, Any]:
    outcome = item.outcome
    return {
        "message_id": item.claim.message_id,
        "number": item.claim.attempt,
        "finished_at": outcome.ended_at,
        "duration_ms": outcome.duration_ms,
        "outcome": verdict.word,
        "external_id": verdict.values.get("external_id"),
        "provider_status": outcome.exchange.provider_status,
        "exchange": outcome.exchange.record or None,
        "failure": failure_of(verdict.error) if verdict.error else None,
        "next_attempt_at": verdict.again_at,
    }


async def _tell_of_connectors(
    session: AsyncSession, circuits: Circuits, finished: Sequence[Finished], verdicts: Sequence[Verdict]
) -> None:
    """Pauses, broken circuits and connectors that turned out not to work: each told once for the whole batch."""
    states: dict[str, tuple[Connector, CircuitState]] = {}
    pauses: dict[str, dt.datetime] = {}
    blamed: dict[str, tuple[Connector, SendError]] = {}
    for item, verdict in zip(finished, verdicts, strict=True):
        state = circuits.next_state(item)
        if state is not None:
            states[item.connector.id] = (item.connector, state)
        if verdict.pause_until is not None:
            pauses[item.connector.id] = max(verdict.pause_until, pauses.get(item.connector.id, verdict.pause_until))
        if verdict.blames and verdict.error is not None:
            blamed[item.connector.id] = (item.connector, verdict.error)
    if states or pauses:
        await lanes.lock(session, {*states, *pauses})
    for _, (connector, state) in sorted(states.items()):
        await circuits.change(session, connector, state)
    for _, (connector, error) in sorted(blamed.items()):
        await _blame(session, connector, error)
    for lane_id, until in sorted(pauses.items()):
        await lanes.pause(session, lane_id, until, until + (until - now()) * retry.BULK_RESTS_LONGER)


async def _blame(session: AsyncSession, connector: Connector, error: SendError) -> None:
    """What waits for the connector is kept back until it works again, rather than refused one by one."""
    values = {
        "stage": Stage.INACTIVE,
        "component_status": ComponentStatus.ERROR,
        "status_error": error.message[:1000],
        "is_verified": False,
    }
    changed = await connectors.hold(session, connector.workspace_id, connector.id, connector.config_revision, values)
    if changed is not None:
        log.warning("connector_held", connector_id=connector.id, workspace_id=connector.workspace_id, code=error.code)
        channel_changed(session, changed, "updated", connector.stage, "delivery")
